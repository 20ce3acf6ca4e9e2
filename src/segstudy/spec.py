"""Read study files; all problems are reported at once, with line and key."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from segstudy.document import Problems, apply_setting, parse_yaml
from segstudy.errors import DataError, SpecError, listing, nearest
from segstudy.explanations import explain
from segstudy.files import read_text
from segstudy.references import check_references
from segstudy.study import Study

DATA_VARIABLE = "SEGSTUDY_DATA"


def packaged_studies() -> dict[str, Path]:
    """Studies that come with the package, by name."""
    folder = Path(str(resources.files("segstudy") / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_study(study: str | os.PathLike[str], settings: Iterable[str] = ()) -> Study:
    """Read a study file, or a study that comes with the package by its name.

    Parameters
    ----------
    study
        Path of a YAML file, or a name such as ``review`` or ``demo``.
    settings
        ``key=value`` strings that replace values of the file, checked like the file: ``recipe.epochs=10``.

    Raises
    ------
    SpecError
        With every problem, its line and key.

    """
    packaged = packaged_studies()
    path = packaged.get(str(study), Path(study))
    try:
        text = read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        hint = nearest(str(study), packaged)
        raise SpecError(
            f"{study}: no such file, and segstudy has no study of that name ({listing(packaged)}){hint}"
        ) from None
    except IsADirectoryError:
        hint = f"; this one's is {study}/study.yaml" if (path / "study.yaml").is_file() else ""
        raise SpecError(f"{study}: is a folder; give a study file{hint}") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{study}: cannot be read as UTF-8 text ({error})") from None
    folder = "" if str(study) in packaged else str(path.resolve().parent)
    return parse_study(text, source=path.name if folder == "" else str(study), folder=folder, settings=settings)


def parse_study(text: str, source: str = "study", folder: str = "", settings: Iterable[str] = ()) -> Study:
    """Check the YAML ``text`` of a study; raises :class:`SpecError` with every problem in it."""
    problems = Problems(source)
    tree = parse_yaml(text, (), problems)
    problems.stop()
    if not isinstance(tree, dict):
        raise SpecError(f"{source}: a study is a mapping of keys to values (name, data, recipe, experiments ...)")
    for setting in settings:
        apply_setting(tree, setting, problems)
    problems.stop()
    try:
        study = Study.model_validate({**tree, "<source>": source, "<folder>": folder}, context={"folder": folder})
    except ValidationError as error:
        for detail in error.errors():
            path = tuple(part for part in detail["loc"] if part not in ("[key]", "<named>", "<spelled>"))
            problems.add(path, explain(dict(detail), path, tree, Study, folder))
    else:
        check_references(study, problems)
    problems.stop()
    return study


def find_path(given: str, what: str, data_root: Path | None, study_folder: str) -> Path:
    """Find a file or folder that a study names.

    An absolute path is taken as it is. A relative one is looked for in ``data_root`` (``--data``), in the folder
    of the environment variable ``SEGSTUDY_DATA``, next to the study file, and in the current folder.

    Raises
    ------
    DataError
        With every place that was searched.

    """
    path = Path(given)
    with contextlib.suppress(RuntimeError):  # "~name" of an unknown user
        path = path.expanduser()
    roots = [data_root, os.environ.get(DATA_VARIABLE), study_folder, Path.cwd()]
    places = [path] if path.is_absolute() else list(dict.fromkeys(Path(root) / path for root in roots if root))
    for place in places:
        with contextlib.suppress(OSError):  # a name that no file can have
            if place.exists():
                return place.resolve()
    looked = "\n".join(f"  {place}" for place in places)
    raise DataError(
        f"{what}: '{given}' was not found; searched\n{looked}\n"
        f"Set the folder of the datasets with --data DIR or the environment variable {DATA_VARIABLE}, or correct the path."
    )
