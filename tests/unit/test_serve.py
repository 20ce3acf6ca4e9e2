"""The page on which a run segments images: what its function gives, and how it is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from segstudy.cli import app
from segstudy.data.core import open_image
from segstudy.errors import SegstudyError, StoreError, WeightsError
from segstudy.plan import Run
from segstudy.predict import predict_images
from segstudy.serve import make_page, open_page, segment_with
from segstudy.store import RunFolder
from served import finished


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, RunFolder]:
    folder = tmp_path_factory.mktemp("served")
    return folder, *finished(folder)


def test_the_page_shows_what_predict_writes(made: tuple[Path, Run, RunFolder], tmp_path: Path) -> None:
    folder, run, runs = made
    given = folder / "shapes/images/scene05.jpg"
    predict_images(run, runs, [given], tmp_path / "masks")
    labels = np.asarray(Image.open(tmp_path / "masks/scene05.png"))
    laid, mask, rows = segment_with(run, runs)(Image.open(given).convert("RGB"))
    assert laid.size == mask.size == (48, 40)
    colours = np.array(runs.record().palette, np.uint8)
    np.testing.assert_array_equal(np.asarray(mask), colours[labels])
    share = (labels == 1).mean()
    assert rows == [["ground", f"{1 - share:.1%}"], ["spot", f"{share:.1%}"]]


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png"])
def test_predict_names_images_with_an_orientation_tag(
    made: tuple[Path, Run, RunFolder], tmp_path: Path, suffix: str
) -> None:
    """The mask has the pixels as stored: 48 wide and 40 high, whatever the tag."""
    folder, run, runs = made
    stored, exif = open_image(folder / "shapes/images/scene05.jpg"), Image.Exif()
    exif[274] = 6
    stored.save(tmp_path / f"a{suffix}", **({"tiffinfo": {274: 6}} if suffix == ".tif" else {"exif": exif}))
    stored.save(tmp_path / "b.png")
    found = predict_images(run, runs, [tmp_path / f"a{suffix}", tmp_path / "b.png"], tmp_path / "masks")
    assert found.turned == ("a",)
    assert [open_image(path).size for path in found.masks] == [(48, 40)] * 2
    if suffix != ".jpg":
        assert found.masks[0].read_bytes() == found.masks[1].read_bytes()


def test_without_gradio_the_message_says_what_to_install(
    made: tuple[Path, Run, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    with pytest.raises(WeightsError, match=r"needs Gradio .*pip install .segstudy\[serve\]"):
        make_page(*made[1:])


def test_a_port_that_is_taken_is_said() -> None:
    class Page:
        def launch(self, **_: object) -> None:
            raise OSError("Cannot find empty port")

    with pytest.raises(SegstudyError, match="--port 80: the page cannot be served there"):
        open_page(Page(), 80)


def test_an_unfinished_run_and_damaged_weights_are_refused(made: tuple[Path, Run, RunFolder]) -> None:
    folder, _, runs = made
    at = ["--out", str(folder / "out")]
    with pytest.raises(StoreError, match="tiny/seed2: is not trained yet"):
        CliRunner().invoke(app, ["serve", f"{folder / 'study.yaml'}:tiny/seed2", *at], catch_exceptions=False)
    content = runs.best.read_bytes()
    runs.best.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match=r"best.safetensors: changed since its sum was taken"):
        CliRunner().invoke(app, ["serve", f"{folder / 'study.yaml'}:tiny/seed1", *at], catch_exceptions=False)
    runs.best.write_bytes(content)
