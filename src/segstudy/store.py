"""The output folder of a study: the only module that knows its paths, and the only state there is.

What has been done is read off the files, never noted elsewhere.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from filelock import FileLock, Timeout

from segstudy.errors import StoreError, listing
from segstudy.files import SUMS, read_json, read_meta, read_yaml, write_text, write_yaml
from segstudy.records import Cost, Environment, Epoch, Record, RunRecord

Known = TypeVar("Known", bound=Record)
State = Literal["missing", "partial", "trained", "done", "failed", "stale", "running"]
REPORTABLE = ("test", "val")  # the split that a dataset is reported on, unless the study names one


def _parsed(kind: type[Known], path: Path, data: Any) -> Known:
    """Plain data as a typed record; what cannot be is a :class:`StoreError` that names the file."""
    try:
        return kind.parse(data)
    except ValueError as error:
        raise StoreError(f"{path}: cannot be read back ({error}); restore it, or move its folder away") from None


@dataclass(frozen=True)
class RunFolder:
    """Paths and state of one run: ``runs/<experiment>/seed<k>``."""

    path: Path

    @property
    def config(self) -> Path:
        """What the run is: resolved configuration, identity, environment."""
        return self.path / "run.yaml"

    @property
    def metrics(self) -> Path:
        """A line of JSON per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def last(self) -> Path:
        """Everything needed to go on after the last whole epoch; gone once training has ended."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """Weights of the chosen epoch; there once training has ended."""
        return self.path / "best.safetensors"

    @property
    def cost(self) -> Path:
        """Time, memory, parameters, operations."""
        return self.path / "cost.json"

    @property
    def failure(self) -> Path:
        """Why the last attempt stopped, if it did."""
        return self.path / "failure.txt"

    @property
    def trained(self) -> bool:
        """Whether training has ended, here or, for an imported checkpoint, elsewhere."""
        return self.best.is_file() and self.config.is_file()

    def best_of_epoch(self, epoch: int) -> Path:
        """Weights of the best epoch so far, while training goes on."""
        return self.path / f"best-epoch{epoch}.safetensors"

    def evaluation(self, dataset: str, split: str) -> Path:
        """Counts on ``split`` of ``dataset``."""
        return self.path / "evaluations" / f"{dataset}-{split}.npz"

    def predictions(self, dataset: str, split: str) -> Path:
        """Folder of predicted masks on ``split`` of ``dataset``."""
        return self.path / "predictions" / f"{dataset}-{split}"

    def read_record(self) -> RunRecord | None:
        """What the run recorded of itself; None before it began."""
        return _parsed(RunRecord, self.config, read_yaml(self.config)) if self.config.is_file() else None

    def read_cost(self) -> Cost | None:
        """What the run cost; None before that was measured."""
        return _parsed(Cost, self.cost, read_json(self.cost)) if self.cost.is_file() else None

    def read_failure(self) -> str:
        """Why the last attempt stopped; empty if it did not."""
        try:
            return self.failure.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def read_epochs(self) -> list[Epoch]:
        """Records of the epochs so far; a line cut off by a crash is left out."""
        return [_parsed(Epoch, self.metrics, record) for record in self.read_metrics()]

    def read_metrics(self) -> list[dict[str, Any]]:
        """Epoch records so far; a line cut off by a crash is left out."""
        records: list[dict[str, Any]] = []
        if self.metrics.is_file():
            for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    records.append(json.loads(line))
        return records

    def find_evaluation(self, dataset: str, split: str | None, evaluation_hash: str = "") -> Path | None:
        """Counts on ``dataset``, of ``split`` or else of whichever split is reported there; None if there are none.

        Counts that answer another question than ``evaluation_hash`` (another label map, say) are not found.
        """
        for path in (self.evaluation(dataset, name) for name in ([split] if split else REPORTABLE)):
            if path.is_file() and evaluation_hash == (meta := read_meta(path)).get(
                "evaluation_hash", meta.get("asked", "")
            ):
                return path
        return None

    def state(self, identity: str, scored_on: Iterable[tuple[str, str | None, str]]) -> State:
        """Where the run stands, read off its files."""
        if not self.config.is_file():
            return "running" if self.locked() else "missing"
        if self.locked():
            return "running"
        if read_yaml(self.config).get("identity") != identity:
            return "stale"
        if self.failure.is_file():
            return "failed"
        if not self.best.is_file():
            return "partial"
        whole = all(self.find_evaluation(*names) for names in scored_on)
        return "done" if whole and (self.path / SUMS).is_file() else "trained"

    def locked(self) -> bool:
        """Whether a living process works on this run."""
        if not (self.path / "lock").is_file():
            return False
        try:
            with FileLock(self.path / "lock", timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # somebody else's folder, which may only be read
            return False

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the system lets go of it however the process ends."""
        lock = FileLock(self.path / "lock", timeout=2)  # a glance by another process passes at once
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise StoreError(f"{self.path}: another process is working on this run; wait for it or stop it") from None
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from None
        try:
            yield
        finally:
            lock.release()

    def set_aside(self) -> Path:
        """Move the run's folder to a free name beside it, so that nothing is lost, and return that name."""
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.old{number}")).exists():
            number += 1
        try:
            self.path.rename(aside)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be moved to {aside.name} ({error.strerror})") from None
        return aside


@dataclass(frozen=True)
class Store:
    """The output folder of one study; ``root`` may be given as text."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    def run(self, experiment: str, seed: int) -> RunFolder:
        """Folder of one run."""
        return RunFolder(self.root / "runs" / experiment / f"seed{seed}")

    @property
    def cache(self) -> Path:
        """Decoded and resized images."""
        return self.root / "cache"

    @property
    def data(self) -> Path:
        """Synthetic datasets that this study draws for itself."""
        return self.root / "data"

    @property
    def report(self) -> Path:
        """Tables, figures, the page."""
        return self.root / "report"

    @property
    def results(self) -> Path:
        """Every number in long form."""
        return self.report / "results.csv"

    @property
    def page(self) -> Path:
        """The report's HTML page."""
        return self.report / "index.html"

    def read_environment(self) -> Environment | None:
        """Versions and hardware of the store's runs; None where they were not recorded."""
        note = self.root / "environment.json"
        return _parsed(Environment, note, read_json(note)) if note.is_file() else None

    def archive(self, name: str) -> Path:
        """The study packed into one file."""
        return self.root / f"{name}-archive.zip"

    def prepare(self, study: Mapping[str, Any]) -> None:
        """Make the folder, refusing one that belongs to something else, and write the study into it."""
        note = self.root / "study.yaml"
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"{self.root}: is a file; choose a folder with --out")
        if self.root.is_dir() and not note.is_file():
            foreign = self._foreign()
            if foreign:
                raise StoreError(
                    f"{self.root}: exists and is not a study's output (it holds {listing(foreign, 4)}); choose another --out"
                )
        if note.is_file() and (other := read_yaml(note).get("name")) != study["name"]:
            raise StoreError(f"{self.root}: holds the study '{other}', not '{study['name']}'; choose another --out")
        write_yaml(note, dict(study))

    def _foreign(self) -> list[str]:
        try:
            names = sorted(path.name for path in self.root.iterdir())
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be read ({error.strerror}); choose another --out") from None
        ours = ("data", "cache")
        return [name for name in names if name not in ours and not (name.startswith(".") and name.endswith(".tmp"))]

    def read_memo(self) -> dict[str, str]:
        """Content hashes of files seen before; none when they cannot be read, as they can be taken again."""
        try:
            memo = json.loads((self.cache / "fingerprints.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return memo if isinstance(memo, dict) else {}

    def write_memo(self, memo: Mapping[str, str]) -> None:
        """Remember content hashes for the next call."""
        write_text(self.cache / "fingerprints.json", json.dumps(memo))
