"""Runs as tasks of a Ray cluster, whose nodes may share the store's folder or not.

A node that shares it works there, as any other worker. Elsewhere a task gets the study file and what the run has so far, works
in a folder of its own, and sends the run's folder back; this process holds the run's claim meanwhile.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import NonNegativeInt, PositiveFloat

from segstudy.doors import source_files
from segstudy.errors import SegstudyError, SpecError
from segstudy.files import CLAIM, SUMS, write_text
from segstudy.launch.crew import last_words
from segstudy.launch.launchers import Job, Work, do_work
from segstudy.plan import Run, open_plan
from segstudy.results import due
from segstudy.stopping import Stopped
from segstudy.store import HeldError, RunFolder, Store

POLL_S = 1.0
REACH_S = 5.0  # for an address to answer
SAVING_S = 60.0  # for tasks to save when work is stopped


def run_on_ray(
    job: Job,
    *,
    address: str | None = None,
    cpus: PositiveFloat = 1,
    gpus: float | None = None,
    retries: NonNegativeInt = 5,
    shared: Literal["auto", "yes", "no"] = "auto",
    data: str | None = None,
) -> None:
    """Give each run to a task, so many at a time as the cluster has room for; the others stay free for other workers.

    Parameters
    ----------
    job
        What is to be done.
    address
        ``ray://HOST:PORT`` of Ray's client server, or ``HOST:PORT`` of a cluster that this machine belongs to. By default
        the one that Ray finds here (RAY_ADDRESS), else one is started on this machine.
    cpus, gpus
        Of each task; by default one GPU where the cluster has any.
    retries
        How often a task is begun again when its node is lost.
    shared
        Whether all nodes see the output folder; ``auto`` asks them.
    data
        Where datasets lie on the nodes, if elsewhere than here.

    """
    ray = _connected(address)
    try:
        devices = job.work.devices or 1
        resources = ray.cluster_resources()
        need = {"CPU": cpus, "GPU": (devices if resources.get("GPU") else 0) if gpus is None else gpus}
        slots = _slots(resources, need)
        together = shared == "yes" or (shared == "auto" and _shared(ray, job.store))
        work = job.work if data is None else replace(job.work, data=Path(data))
        workers = min(slots, job.workers or slots)
        job.progress.say(f"Ray: up to {workers} tasks, {'in the store' if together else 'each sends its run back'}")
        parcel = None if together else _parcel(job)
        task = ray.remote(num_cpus=cpus, num_gpus=need["GPU"], max_retries=retries, max_calls=1)(_do_run)
        _Queue(job, ray, task, work, parcel, workers).empty()
        if parcel is not None:
            _on_every_node(ray, _forget, parcel.place)
    finally:
        ray.shutdown()


def _connected(address: str | None) -> Any:
    try:
        import ray
    except ImportError:
        raise SpecError("--on ray: needs Ray; install it with: pip install 'segstudy[ray]'") from None
    if address is not None and address != "auto":
        parts = urlsplit(address if "://" in address else f"//{address}")
        try:
            with socket.create_connection((parts.hostname or "", parts.port or 10001), REACH_S):
                pass
        except (OSError, ValueError) as error:
            raise SpecError(
                f"--on ray: nothing answers at {address} ({error}); give HOST:PORT of a cluster's head, as in ray://head:10001"
            ) from None
    variables = {name: os.environ[name] for name in ("SEGSTUDY_DATA",) if name in os.environ}
    try:
        ray.init(
            address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": variables} if variables else None,
        )
    except Exception as error:  # Ray raises errors of many kinds, of other versions of Python or Ray among them
        raise SpecError(f"--on ray: no connection to {address or 'Ray'}: {str(error).splitlines()[0]}") from None
    return ray


def _slots(resources: dict[str, float], need: dict[str, float]) -> int:
    for kind, number in need.items():
        if number > resources.get(kind, 0):
            raise SpecError(
                f"--on ray: a task needs {number:g} {kind}s, the cluster has {resources.get(kind, 0):g}; lower --with "
                f"{kind.lower()}s, or start nodes that have them"
            )
    return max(1, int(min(resources[kind] / number for kind, number in need.items() if number)))


@dataclass(frozen=True)
class Parcel:
    """The files that a node without the store needs: the study's file, files next to it, and a name for its own folder."""

    study: str
    files: dict[str, bytes]
    place: str


def _parcel(job: Job) -> Parcel:
    folder, files = job.plan.study.folder, {}
    if not folder:  # it comes with the package
        return Parcel(job.work.study, {}, uuid.uuid4().hex)
    study = Path(job.work.study)
    files[study.name] = study.read_bytes()
    named = {Path(each["path"]) for each in job.plan.files.values()}
    sources = {path for run in job.plan.runs for name, _ in run.sources for path in source_files(name, folder)}
    for path in named | sources:
        if path.resolve().is_relative_to(Path(folder).resolve()):
            files[path.resolve().relative_to(Path(folder).resolve()).as_posix()] = path.read_bytes()
    return Parcel(study.name, files, uuid.uuid4().hex)


def _on_every_node(ray: Any, function: Any, *arguments: Any) -> list[Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    where = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    task = ray.remote(num_cpus=0, max_retries=0)(function)
    found = []
    for ref in [task.options(scheduling_strategy=each).remote(*arguments) for each in where]:
        with contextlib.suppress(ray.exceptions.RayError):  # a node that is lost meanwhile
            found.append(ray.get(ref))
    return found


def _shared(ray: Any, store: Store) -> bool:
    """Whether every node sees the store's folder."""
    token, probe = uuid.uuid4().hex, store.root / f".ray-{os.getpid()}.tmp"
    write_text(probe, token)
    try:
        return all(_on_every_node(ray, _reads, str(probe), token))
    finally:
        probe.unlink(missing_ok=True)


def _reads(path: str, token: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(path).read_text() == token
    return False


def _forget(place: str) -> None:
    shutil.rmtree(_own_folder(place), ignore_errors=True)


def _own_folder(place: str) -> Path:
    return Path(tempfile.gettempdir()) / f"segstudy-{place}"


def _do_run(work: Work, parcel: Parcel | None, former: bytes) -> bytes | None:
    """A task: work on one run in the store, or in a folder of this node's own, whose content is sent back."""
    if parcel is None:
        _do(work)
        return None
    place = _own_folder(parcel.place)
    for name, content in parcel.files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
            temporary.write_bytes(content)
            temporary.replace(file)
    study = str(place / parcel.study) if parcel.files else parcel.study
    plan, store = open_plan(study, place / "out", work.settings, work.data)
    store.prepare(plan.study.model_dump(mode="json", exclude_unset=True))
    assert work.seed is not None
    folder = store.run(work.only[0], work.seed)
    shutil.rmtree(folder.path, ignore_errors=True)
    _unpack(former, folder.path)
    _do(replace(work, study=study, out=store.root))
    content = _packed(folder.path)
    shutil.rmtree(folder.path, ignore_errors=True)
    return content


def _do(work: Work) -> None:
    if (work.devices or 1) == 1:
        with contextlib.suppress(Stopped):
            do_work(work)
        return
    done = subprocess.run(work.command(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SegstudyError(last_words(done.stderr.splitlines(), done.returncode))


def _packed(folder: Path) -> bytes:
    """A folder's files without claims and leftovers."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != CLAIM and not path.name.endswith(".tmp"):
                archive.add(path, path.relative_to(folder).as_posix())
    return whole.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def take_in(content: bytes, folder: RunFolder) -> None:
    """Put a run's folder that was sent back in the place of what the store has of it; its sums come last."""
    with tempfile.TemporaryDirectory(prefix=".sent-", suffix=".tmp", dir=folder.path.parent) as scratch:
        _unpack(content, Path(scratch))
        names = sorted((path.name for path in Path(scratch).iterdir()), key=lambda name: (name == SUMS, name))
        if not names:
            return
        (folder.path / SUMS).unlink(missing_ok=True)
        for path in folder.path.iterdir():
            if path.name != CLAIM:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in names:
            (Path(scratch) / name).replace(folder.path / name)


@dataclass
class _Queue:
    """Runs that wait for room in the cluster, and tasks that work on one."""

    job: Job
    ray: Any
    task: Any
    work: Work
    parcel: Parcel | None
    slots: int
    todo: list[Run] = field(default_factory=list)
    flying: dict[Any, tuple[Run, contextlib.ExitStack]] = field(default_factory=dict)

    def empty(self) -> None:
        """Do everything."""
        self.todo, known, done = list(self.job.runs), set(), 0
        try:
            while self.todo or self.flying:
                self._submit()
                for ref in self.ray.wait(list(self.flying), timeout=POLL_S)[0] if self.flying else ():
                    self._finish(ref)
                    done += 1
                    self.job.progress.say(f"{done} of {len(self.job.runs)} runs have ended")
                if not self.todo and not self.flying:  # seeds may be due that were not
                    known |= {run.name for run in self.job.runs}
                    plan = due(self.job.plan, self.job.store).select(self.work.only, self.work.seed)
                    further = [run for run in plan.runs if run.name not in known]
                    self.todo, known = list(further), known | {run.name for run in further}
        except Stopped:
            self._stop()
            raise

    def _submit(self) -> None:
        while self.todo and len(self.flying) < self.slots:
            run = self.todo.pop(0)
            folder, held = self.job.store.run(run.experiment, run.seed), contextlib.ExitStack()
            former = b""
            if self.parcel is not None:
                try:
                    held.enter_context(folder.lock())
                except HeldError as error:
                    self.job.progress.say(f"{error}; the other process keeps it")
                    continue
                former = _packed(folder.path)
            work = replace(self.work, only=(run.experiment,), seed=run.seed)
            self.flying[self.task.remote(work, self.parcel, former)] = run, held

    def _finish(self, ref: Any) -> None:
        run, held = self.flying.pop(ref)
        with held:
            try:
                sent = self.ray.get(ref)
            except self.ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None) or error
                self.job.ended.append(f"{run.name}: {next(iter(str(cause).splitlines()), type(cause).__name__)}")
            else:
                if sent is not None:
                    with self.job.stop.steps():
                        take_in(sent, self.job.store.run(run.experiment, run.seed))

    def _stop(self) -> None:
        """Let tasks save, then end them."""
        for ref in self.flying:
            self.ray.cancel(ref)
        self.ray.wait(list(self.flying), num_returns=len(self.flying), timeout=SAVING_S)
        for ref, (_, held) in self.flying.items():
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.cancel(ref, force=True)
            held.close()
