"""The output folder of a study: the only module that knows its paths. What has been done is read off the files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from filelock import LeaseCompromise, SoftFileLease, Timeout

from segstudy.errors import StoreError, listing
from segstudy.files import (
    CLAIM,
    LEASE_S,
    SUMS,
    claim_on,
    file_sha256,
    open_regular,
    read_json,
    read_meta,
    read_sealed,
    read_sums,
    read_yaml,
    write_json,
    write_sealed,
    write_yaml,
)
from segstudy.records import Cost, Environment, Epoch, EvaluationRecord, Record, RunRecord, parse_epochs

Known = TypeVar("Known", bound=Record)
State = Literal["missing", "partial", "trained", "done", "failed", "stale", "running"]
PICTURES = ("predictions/", "probabilities/")  # too many to be read whenever a run is looked at
HELD_S = 2.0  # how long a claim is tried for: another process that only looks lets go at once
REPORTABLE = ("test", "val")  # the split that a dataset is reported on, unless the study names one


class HeldError(StoreError):
    """Another living process works on this run."""


def _parsed(kind: type[Known], path: Path, data: Any) -> Known:
    """Plain data as a typed record; what cannot be is a :class:`StoreError` that names the file."""
    try:
        return kind.parse(data)
    except ValueError as error:
        raise StoreError(f"{path}: cannot be read back ({error}); restore it, or move its folder away") from None


@dataclass(frozen=True)
class Standing:
    """The state of a run, its record, and the files of its counts."""

    state: State
    record: RunRecord | None = None
    counts: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RunFolder:
    """Paths and state of one run: ``runs/<experiment>/seed<k>``."""

    path: Path

    @property
    def config(self) -> Path:
        """The run's resolved configuration, identity and environment."""
        return self.path / "run.yaml"

    @property
    def metrics(self) -> Path:
        """A line of JSON per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def last(self) -> Path:
        """Everything needed to go on with training; gone once it has ended."""
        return self.path / "last.ckpt"

    @property
    def former(self) -> Path:
        """The ``last.ckpt`` before the last, in case that is damaged."""
        return self.path / "former.ckpt"

    @property
    def best(self) -> Path:
        """The scored network: weights of the chosen epoch, or the note of a network that was not trained here."""
        return self.foreign if self.foreign.is_file() else self.path / "best.safetensors"

    @property
    def foreign(self) -> Path:
        """Which network is scored without training, and how it was declared."""
        return self.path / "network.json"

    @property
    def seen(self) -> Path:
        """Sum, size and times of the weights when they were last read."""
        return self.path / ".best-seen.json"

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
        return self.begun and self.best.is_file()

    @property
    def begun(self) -> bool:
        """Whether there is a record of the run; False as well where it must not be looked for."""
        with contextlib.suppress(OSError):
            return self.config.is_file()
        return False

    def best_of_epoch(self, epoch: int) -> Path:
        """Weights of the best epoch so far, while training goes on."""
        return self.path / f"best-epoch{epoch}.safetensors"

    def evaluation(self, dataset: str, split: str) -> Path:
        """Counts on ``split`` of ``dataset``."""
        return self.path / "evaluations" / f"{dataset}-{split}.npz"

    def predictions(self, dataset: str, split: str) -> Path:
        """Folder of predicted masks on ``split`` of ``dataset``."""
        return self.path / "predictions" / f"{dataset}-{split}"

    def probabilities(self, dataset: str, split: str) -> Path:
        """Folder of probabilities on ``split`` of ``dataset``, where the study keeps them."""
        return self.path / "probabilities" / f"{dataset}-{split}"

    @property
    def decision(self) -> Path:
        """Temperature and threshold, where they were chosen on the split that selects."""
        return self.path / "decision.json"

    def record(self) -> RunRecord:
        """The run's record; it exists once the run has begun."""
        return _parsed(RunRecord, self.config, read_yaml(self.config))

    def read_record(self) -> RunRecord | None:
        """The run's record; None before it began."""
        return self.record() if self.config.is_file() else None

    def read_cost(self) -> Cost | None:
        """The run's cost; None before it was measured."""
        return _parsed(Cost, self.cost, read_json(self.cost)) if self.cost.is_file() else None

    def read_failure(self) -> str:
        """Why the last attempt stopped; empty if it did not."""
        try:
            return self.failure.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def read_epochs(self) -> list[Epoch]:
        """Records of the epochs so far; a line cut off by a crash is left out."""
        return [epoch for _, epoch in self._epochs()]

    def read_metrics(self) -> list[dict[str, Any]]:
        """Epoch records so far; a line cut off by a crash, or that is not a record of an epoch, is left out."""
        return [record for record, _ in self._epochs()]

    def _epochs(self) -> list[tuple[dict[str, Any], Epoch]]:
        with contextlib.suppress(OSError), open_regular(self.metrics) as file:
            return parse_epochs(file.read().decode("utf-8", "replace"))
        return []

    def find_counts(self, record: RunRecord, dataset: str, split: str | None, evaluation_hash: str = "") -> Path | None:
        """Counts on ``dataset``, of ``split`` or else of whichever split is reported there; None if there are none.

        Counts that answer another question than ``evaluation_hash`` (another label map, say), or that are not of the very
        run and weights of ``record``, are not found.
        """
        for path in (self.evaluation(dataset, name) for name in ([split] if split else REPORTABLE)):
            found = read_evaluation_record(path) if path.is_file() else None
            if found is not None and found.evaluation_hash == evaluation_hash:
                known = found.weights_sha256 is not None and record.best_sha256 is not None
                other = known and found.weights_sha256 != record.best_sha256
                return None if other or found.identity not in ("", record.identity) else path
        return None

    def damaged(self, record: RunRecord | None = None) -> list[str]:
        """Names of results that differ from their sums; predicted masks and probabilities are not read, as they are many.

        The weights are read only if their size or times changed since they were last read.
        """
        record, sums = record or self.read_record(), read_sums(self.path)
        names = [
            name
            for name, digest in sums.items()
            if name != self.best.name and not name.startswith(PICTURES) and self._differs(name, digest)
        ]
        if record is not None and (known := sums.get(self.best.name)) is not None:
            names += [self.best.name] if record.best_sha256 not in (None, known) or self._best_differs(known) else []
        return names

    def check_results(self, record: RunRecord | None = None) -> None:
        """Refuse results of a finished run that are not what they were; the :class:`StoreError` names each of them."""
        if damaged := self.damaged(record):
            raise StoreError(self.damage(damaged))

    def damage(self, names: Sequence[str]) -> str:
        """Advice about results that :meth:`damaged` named."""
        return (
            f"{self.path}: {listing(names)} changed since the run was finished; restore a copy, or call segstudy run, "
            "which makes again what can be made"
        )

    def _best_differs(self, known: str) -> bool:
        """Whether the weights are others than those of the SHA-256 ``known``; what was read once is remembered."""
        try:
            found = self.best.stat()
            seen = [known, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
            with contextlib.suppress(StoreError):
                if self.seen.is_file() and read_json(self.seen) == seen:
                    return False
        except OSError:
            return True
        if self._differs(self.best.name, known):
            return True
        with contextlib.suppress(StoreError):  # a folder that may only be read: the weights are read again next time
            write_json(self.seen, seen)
        return False

    def _differs(self, name: str, digest: str) -> bool:
        try:
            return file_sha256(self.path / name) != digest
        except (StoreError, ValueError):  # ValueError: a name that no file can have
            return True

    def check_best(self) -> None:
        """Refuse weights, or a record or decision that says how they predict, that are not those that training left."""
        known = read_sums(self.path)
        says = [path.name for path in (self.config, self.decision) if path.name in known]
        if changed := [name for name in says if self._differs(name, known[name])]:
            raise StoreError(self.damage(changed))
        sums = {known.get(self.best.name), self.record().best_sha256} - {None}
        if sums and file_sha256(self.best) not in sums:
            raise StoreError(
                f"{self.best}: changed since its sum was taken, so it is damaged; restore a copy, or delete it and call "
                "segstudy run to train this run again"
            )

    def state(self, identity: str, scored_on: Iterable[tuple[str, str | None, str]]) -> State:
        """The state of the run, read off its files."""
        return self.standing(identity, scored_on).state

    def standing(
        self, identity: str, scored_on: Iterable[tuple[str, str | None, str]], held: bool | None = None
    ) -> Standing:
        """The state of the run, and what was read to find it; ``held`` by another process or not, if known."""
        try:
            return self._standing(identity, scored_on, held)
        except OSError as error:
            raise StoreError(f"{error.filename or self.path}: cannot be read ({error.strerror or error})") from None

    def _standing(self, identity: str, scored_on: Iterable[tuple[str, str | None, str]], held: bool | None) -> Standing:
        held = self.locked() if held is None else held
        record = self.read_record()
        if record is None:
            return Standing("running" if held else "missing")
        if record.identity != identity:
            return Standing("running" if held else "stale", record)
        counts = tuple(self.find_counts(record, *names) for names in scored_on)
        state: State = "done" if all(counts) and (self.path / SUMS).is_file() else "trained"
        if held:
            state = "running"
        elif self.failure.is_file():
            state = "failed"
        elif not self.best.is_file():
            state = "partial"
        return Standing(state, record, tuple(path for path in counts if path is not None))

    def locked(self) -> bool:
        """Whether a living process works on this run."""
        marker = self.path / CLAIM
        if not marker.is_file():
            return False
        with contextlib.suppress(OSError):  # of another machine, and long forgotten: the next worker takes it over
            if time.time() - marker.stat().st_mtime > 10 * LEASE_S:
                return False
        try:
            with claim_on(marker).acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # somebody else's folder, which may only be read
            return False

    def claim(self, lost: Callable[[LeaseCompromise], None] | None = None) -> SoftFileLease:
        """The claim on this run, not yet held; keep it to wait for a claim of another machine to run out."""
        return claim_on(self.path / CLAIM, lost)

    @contextlib.contextmanager
    def lock(self, claim: SoftFileLease | None = None, wait_s: float = HELD_S) -> Iterator[None]:
        """Hold the run for this process; others see at once, or soon, that a dead process holds it no more.

        A claim that others hold is tried for ``wait_s``.

        Raises
        ------
        HeldError
            When another living process works on this run.

        """
        claim = claim or self.claim()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            claim.acquire(timeout=wait_s)
        except Timeout:
            owner = getattr(claim, "owner", None)
            where = f" (process {owner.pid} on {owner.hostname})" if owner else ""
            raise HeldError(
                f"{self.path}: another process{where} is working on this run; wait for it or stop it"
            ) from None
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the disk may be gone; the claim then runs out by itself
                claim.release()

    def empty(self) -> Path | None:
        """Move results that no ``run.yaml`` vouches for into a folder next to this one; returns it, None if there were none."""
        keep = {CLAIM, "lock", SUMS}
        found = [path for path in self.path.iterdir() if path.name not in keep and not path.name.startswith(".")]
        if not found:
            return None
        aside = self._free_name()
        try:
            aside.mkdir()
            for path in found:
                path.rename(aside / path.name)
            (self.path / SUMS).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be moved to {aside.name} ({error.strerror})") from None
        return aside

    def _free_name(self) -> Path:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.old{number}")).exists():
            number += 1
        return aside

    def archive(self) -> Path:
        """Move the run's folder to a free name next to it, so that nothing is lost, and return that name."""
        aside = self._free_name()
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

    @contextlib.contextmanager
    def writing_report(self) -> Iterator[None]:
        """Hold the report for this process; another that is to write it waits, and then reports what is there then."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            claim = claim_on(self.root / ".report.lock")
            claim.acquire()
        except OSError as error:
            raise StoreError(
                f"{self.root}: the report cannot be written ({error.strerror}); copy this folder to a place "
                "that can be written, and name it with --out"
            ) from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                claim.release()

    @property
    def results(self) -> Path:
        """Every number in long form."""
        return self.report / "results.csv"

    @property
    def page(self) -> Path:
        """The report's HTML page."""
        return self.report / "index.html"

    @property
    def pdf(self) -> Path:
        """The report on paper."""
        return self.report / "report.pdf"

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
            if foreign and not self._is_store():
                raise StoreError(
                    f"{self.root}: exists and is not a study's output (it holds {listing(foreign, 4)}); choose another --out"
                )
        other = self._noted_name(note)
        if other is not None and other != study["name"]:
            raise StoreError(f"{self.root}: holds the study '{other}', not '{study['name']}'; choose another --out")
        write_yaml(note, dict(study))

    def _noted_name(self, note: Path) -> str | None:
        """The name of the study that the folder holds; None where its note is lost or damaged, as it is written again."""
        try:
            return str(read_yaml(note).get("name")) if note.is_file() else None
        except StoreError:
            if self._is_store():
                return None
            raise

    def _is_store(self) -> bool:
        """Whether there are runs here, which stand for the study when its note is lost."""
        return any(any(self.root.glob(f"runs/*/*/{name}")) for name in ("run.yaml", CLAIM))

    def _foreign(self) -> list[str]:
        try:
            names = sorted(path.name for path in self.root.iterdir())
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be read ({error.strerror}); choose another --out") from None
        ours = ("data", "cache", ".report.lock")
        return [name for name in names if name not in ours and not (name.startswith(".") and name.endswith(".tmp"))]

    def read_memo(self) -> dict[str, str]:
        """Content hashes of files seen before; none when they cannot be read or were altered, as they can be taken again."""
        return read_sealed(self.memo)

    def write_memo(self, memo: Mapping[str, str]) -> None:
        """Remember content hashes for the next call."""
        write_sealed(self.memo, memo)

    @property
    def memo(self) -> Path:
        """Content hashes of files by path, size and times."""
        return self.cache / "fingerprints.json"

    @property
    def verdicts(self) -> Path:
        """The verdicts that were last shown, and a hash of what they rest on."""
        return self.cache / "verdicts.json"


def read_evaluation_record(path: Path) -> EvaluationRecord | None:
    """The metadata of counts; None for a file that is damaged or altered."""
    try:
        return EvaluationRecord.parse(read_meta(path))
    except ValueError:
        return None
