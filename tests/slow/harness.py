"""Break a study in every way that can be thought of, let it go on, and compare every number with an unbroken one.

Run as a program, ``python tests/slow/harness.py --kills 200 --table docs/explanation/promises.md`` makes the table of that
page. Every try is a forked child of one process that has torch loaded, so a try costs a study's seconds, not torch's.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import errno
import gc
import importlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
import segstudy.cli
import segstudy.launch.work
import segstudy.report.build
from fakes import fake_folder
from segstudy.errors import SegstudyError
from segstudy.files import read_arrays
from segstudy.networks.build import import_smp
from segstudy.plan import open_plan
from segstudy.report.long import results_frame
from segstudy.results import read_results

STUDY = """
name: broken
protocol: held-out
data:
  a: {reader: folder, root: A, classes: [background, thing], test_fraction: 0.3, holdout_fraction: 0.3}
recipe: {epochs: 2, batch_size: 3, input_size: 32, precision: float32, optimizer: {lr: 5.0e-3}}
experiments:
  whole: {data: a, model: {arch: linknet, encoder: tu-test_resnet, weights: none}}
  crops: {base: whole, change: {recipe.crop_px: 32, recipe.augment: strong}, confounded: true}
seeds: [1]
"""
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
GOOD = ("identical", "message")
Try = Callable[[], None]


def make_study(root: Path) -> Path:
    """A folder with data and a study file."""
    fake_folder(root / "A", num_images=12, size=(40, 36))
    for mask in (root / "A" / "masks").iterdir():
        Image.fromarray((np.asarray(Image.open(mask)) > 0).astype(np.uint8)).save(mask)
    (root / "study.yaml").write_text(STUDY)
    return root


def command(*arguments: str) -> None:
    """Run segstudy as its command line does."""
    sys.argv = ["segstudy", *arguments]
    try:
        segstudy.cli.main()
    except SystemExit as stop:
        if stop.code:
            raise


def whole_study(root: Path, out: str, report: bool = True) -> Try:
    """Everything that a study does: training, scoring and, with ``report``, report and archive."""

    def go() -> None:
        os.chdir(root)
        command("run", "study.yaml", "--out", out, "--quiet", "--checkpoint-every", "0.001s", "--no-report")
        if report:
            command("archive", "study.yaml", "--out", out)

    return go


def fork(work: Try, prepare: Try | None = None, log: Path | None = None) -> int:
    """Start ``work`` in a child process and return its number; its output goes to ``log``."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, 1)
        os.dup2(target, 2)
        if prepare is not None:
            prepare()
        work()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(pid: int) -> int:
    """Exit code of a child; negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_before(change: int, count_to: Path | None = None) -> Try:
    """Let a process kill itself before its n-th change of the file system; or (0) count them into a file."""

    def prepare() -> None:
        seen = 0

        def hear(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            writes = event == "open" and len(arguments) > 2 and isinstance(arguments[2], int)
            if event in CHANGES or (writes and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                seen += 1
                if count_to is not None and seen % 10 == 0:
                    os.write(counted, f"{seen}\n".encode())
                if seen == change:
                    os.kill(os.getpid(), signal.SIGKILL)

        counted = os.open(count_to, os.O_WRONLY | os.O_CREAT) if count_to is not None else -1
        sys.addaudithook(hear)

    return prepare


def full_disk(room: int) -> Try:
    """Let every write fail with ENOSPC once ``room`` bytes have been written."""

    def prepare() -> None:
        left = [room]
        plain, reserve = io.open, os.posix_fallocate

        class Full:
            def __init__(self, file: Any) -> None:
                self.__dict__["file"] = file

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                self.file.close()

            def __iter__(self) -> Iterator[Any]:
                return iter(self.file)

            def write(self, content: Any) -> int:
                left[0] -= len(content)
                if left[0] < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return int(self.file.write(content))

        def opened(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            found = plain(file, mode, *rest, **more)
            return Full(found) if set(mode) & set("wax+") and file != os.devnull else found

        def reserved(number: int, offset: int, length: int) -> None:
            if length > left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            reserve(number, offset, length)

        io.open = builtins.open = opened  # type: ignore[assignment]
        os.posix_fallocate = reserved

    return prepare


def numbers(out: Path) -> dict[str, Any]:
    """Every number that a store holds, but times and versions."""
    found: dict[str, Any] = {}
    for run in sorted(out.glob("runs/*/seed?")):
        name = f"{run.parent.name}/{run.name}"
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        found[f"{name} epochs"] = [
            [line[key] for key in ("epoch", "loss", "select_miou", "report_miou")] for line in lines
        ]
        found[f"{name} weights"] = (run / "best.safetensors").read_bytes()
        for path in sorted(run.glob("evaluations/*.npz")):
            arrays, _ = read_arrays(path)
            found[f"{name} {path.name}"] = {key: array.tolist() for key, array in arrays.items()}
    return found


def leftovers(out: Path) -> list[str]:
    """What no finished study has: temporary files, checkpoints; but for results that were archived, which is said."""
    names = [path.name for path in out.rglob("*") if not re.search(r"\.old\d+$", path.parent.name)]
    return [name for name in names if name.endswith((".tmp", ".ckpt", ".gone")) or name.startswith("best-epoch")]


def outcome(root: Path, out: str, wanted: dict[str, Any], work: Try, log: Path) -> str:
    """Go on with a broken study, at most three times, and say what came of it."""
    codes = []
    for _ in range(3):
        codes.append(wait(fork(work, log=log)))
        if codes[-1] == 0:
            break
    text = log.read_text(errors="replace") if log.is_file() else ""
    if "Traceback" in text:
        return "TRACEBACK"
    if codes[-1] != 0:
        return "message" if "segstudy: " in text else "NO MESSAGE"
    if numbers(root / out) != wanted:
        return "OTHER NUMBERS"
    return f"LEFT OVER {leftovers(root / out)}" if leftovers(root / out) else "identical"


def kills(root: Path, wanted: dict[str, Any], tries: int, report: bool, seed: int = 0) -> Counter[str]:
    """Kill a study before a random change of the file system, or at a random time, and go on."""
    rng, counted = random.Random(seed), root / "counted"
    began = time.monotonic()
    wait(fork(whole_study(root, "count", report), kill_before(0, counted)))
    seconds, changes = time.monotonic() - began, int(counted.read_text().split()[-1]) + 9
    found: Counter[str] = Counter()
    for number in range(tries):
        out, log = f"kill{number}", root / f"kill{number}.log"
        work = whole_study(root, out, report)
        if number % 5 == 4:
            pid = fork(work)
            time.sleep(rng.uniform(0, seconds))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait(pid)
        else:
            wait(fork(work, kill_before(rng.randint(1, changes))))
        found[outcome(root, out, wanted, work, log)] += 1
        shutil.rmtree(root / out, ignore_errors=True)
    return found


def hold_in_second_epoch(run: Path) -> Try:
    """Let a process stop (SIGSTOP) at its fourth renaming of a file after the first epoch of ``run`` was recorded."""

    def prepare() -> None:
        renamed = 0

        def hear(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal renamed
            if event == "os.rename" and (run / "metrics.jsonl").is_file():
                renamed += 1
                if renamed == 4:
                    os.kill(os.getpid(), signal.SIGSTOP)

        sys.addaudithook(hear)

    return prepare


def states(root: Path, wanted: dict[str, Any]) -> Counter[str]:
    """Kill a study in its second epoch: its run is running, then partial, and its first epoch is not trained again."""
    plan, store = open_plan(str(root / "study.yaml"), root / "states")
    run = plan.runs[0]
    folder, log = store.run(run.experiment, run.seed), root / "states.log"
    work = whole_study(root, "states", False)
    pid = fork(work, hold_in_second_epoch(folder.path), log)
    if not os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]):
        return Counter(["NEVER HELD"])
    found = [folder.state(run.identity, run.scored_on)]
    os.kill(pid, signal.SIGKILL)
    wait(pid)
    found.append(folder.state(run.identity, run.scored_on))
    before = folder.metrics.read_text().splitlines()
    log.unlink()
    came = outcome(root, "states", wanted, work, log)
    if found != ["running", "partial"] or len(before) != 1:
        return Counter([f"{found}, {len(before)} EPOCHS"])
    if folder.metrics.read_text().splitlines()[0] != before[0]:  # with the seconds that it took
        return Counter(["TRAINED AGAIN"])
    return Counter([came])


def signals(root: Path, wanted: dict[str, Any], tries: int, seed: int = 1) -> Counter[str]:
    """Ask a study to stop at a random time; it must say so, and go on with the same numbers."""
    rng, found = random.Random(seed), Counter[str]()
    for number in range(tries):
        out, log = f"signal{number}", root / f"signal{number}.log"
        asked = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
        pid = fork(whole_study(root, out, False), log=log)
        time.sleep(rng.uniform(0.2, 2.0))
        os.kill(pid, asked)
        code, text = wait(pid), log.read_text()
        if code and (
            code != (130 if asked == signal.SIGINT else 143) or "run the same command again to resume" not in text
        ):
            found[f"EXIT {code}"] += 1
            continue
        log.unlink()
        found[outcome(root, out, wanted, whole_study(root, out, False), log)] += 1
        shutil.rmtree(root / out)
    return found


def full_disks(root: Path, wanted: dict[str, Any], sizes: list[int]) -> Counter[str]:
    """Run on a disk that fills after so many bytes: one message, and with room again the same numbers."""
    found: Counter[str] = Counter()
    for number, size in enumerate(sizes):
        out, log = f"full{number}", root / f"full{number}.log"
        code = wait(fork(whole_study(root, out), full_disk(size), log))
        text = log.read_text(errors="replace")
        log.unlink()
        if "Traceback" in text or code < 0:
            found["TRACEBACK"] += 1
        elif code and "segstudy: " not in text:
            found["NO MESSAGE"] += 1
        else:
            found[outcome(root, out, wanted, whole_study(root, out), log)] += 1
        shutil.rmtree(root / out, ignore_errors=True)
    return found


def workers(root: Path, wanted: dict[str, Any], tries: int, num_workers: int = 4, seed: int = 2) -> Counter[str]:
    """Several processes share a study and one of them is killed: the others end well, every run is done once."""
    rng, found = random.Random(seed), Counter[str]()
    for number in range(tries):
        out = f"work{number}"

        def work(out: str = out) -> None:
            os.chdir(root)
            command("work", "study.yaml", "--out", out, "--quiet")

        log = root / f"work{number}.log"
        pids = [fork(work, log=log) for _ in range(num_workers)]
        time.sleep(rng.uniform(0.1, 3.0))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGKILL)
        codes = [wait(pid) for pid in pids]
        if any(codes[1:]) or "Traceback" in log.read_text():
            found[f"EXITS {codes}"] += 1
        else:
            same = numbers(root / out) == wanted and not leftovers(root / out)
            found["identical" if same else "OTHER NUMBERS"] += 1
        shutil.rmtree(root / out, ignore_errors=True)
    return found


DAMAGES: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "flip": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "delete": Path.unlink,
}


def flipped(content: bytes) -> bytes:
    """Content with one bit of its middle byte changed."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :] if content else b"\0"


def read_back(root: Path, out: str, to: Path) -> Try:
    """Say in the file ``to`` what status and report read of a store: states, scores, costs, epochs."""

    def go() -> None:
        os.chdir(root)
        command("status", "study.yaml", "--out", out)
        try:
            plan, store = open_plan("study.yaml", Path(out))
            results = read_results(store, plan)
        except SegstudyError as error:
            print(f"segstudy: {error}")
            sys.exit(2)
        scores = results_frame(plan, results.sets).to_csv(index=False).splitlines()
        rest = [f"{r.run.name} {epoch}" for r in results.runs for epoch in r.epochs]
        rest += [f"{r.run.name} {r.cost}" for r in results.runs if r.cost is not None]
        to.write_text("\n".join([*scores, *rest]))

    return go


Grid = dict[str, dict[str, str]]  # outcome by kind of file and damage


def damages(
    root: Path, wanted: dict[str, Any], state: str, kinds: tuple[str, ...] = tuple(DAMAGES), only: str = ""
) -> Grid:
    """Damage a file of each kind in a store that is finished, or interrupted in training; read it, and go on with it.

    What is read must be what an undamaged store gives, or a message.
    """
    whole, right = root / state, root / "right.txt"
    wait(fork(read_back(root, state, right), log=root / "right.log"))
    names = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    files = {kind_of(name): name for name in names if only in str(name)}
    found: Grid = {}
    for number, (kind, path, name) in enumerate((kind, path, name) for kind, path in files.items() for name in kinds):
        out, log = f"damage-{state}-{number}", root / f"damage{number}.log"
        shutil.copytree(whole, root / out)
        DAMAGES[name](root / out / path)
        result = _read_outcome(root, out, right.read_text(), log)
        if result in GOOD:
            reports = path.parts[0] == "report"
            result = outcome(root, out, wanted, whole_study(root, out, reports), log)
        found.setdefault(kind, {})[name] = result
        log.unlink(missing_ok=True)
        shutil.rmtree(root / out)
    return found


def _read_outcome(root: Path, out: str, right: str, log: Path) -> str:
    """What reading a damaged store gives: the same numbers, a message, or what breaks a promise."""
    read = root / f"{out}.txt"
    code = wait(fork(read_back(root, out, read), log=log))
    said, got = log.read_text(errors="replace"), read.read_text() if read.is_file() else ""
    log.unlink()
    read.unlink(missing_ok=True)
    if "Traceback" in said:
        return "TRACEBACK"
    if code:
        return "message" if "segstudy: " in said else "NO MESSAGE"
    if got == right:
        return "identical"
    left_out = set(got.splitlines()) < set(right.splitlines())  # which status must say: not all is done
    return "message" if left_out and "next: segstudy run" in said else "OTHER NUMBERS READ"


def kind_of(path: Path) -> str:
    """What stands for all files of its kind: its name, or the ending of those that there are many of."""
    if path.parts[0] == "cache" and len(path.parts) > 2:
        size = path.parts[-2].split("-")[-2]
        return f"cache of {'resized images' if size.isdigit() else size}/{path.name}"
    many = path.parts[0] == "report" or path.suffix in (".png", ".svg", ".csv")
    folder = f"{path.parts[0]}/" if len(path.parts) > 1 else ""
    return folder + (f"*{path.suffix}" if many else path.name)


def interrupted(root: Path) -> str:
    """Make the store ``interrupted``, whose first run was stopped in its second epoch."""
    for change in range(60, 400, 10):
        shutil.rmtree(root / "interrupted", ignore_errors=True)
        wait(fork(whole_study(root, "interrupted"), kill_before(change)))
        if (root / "interrupted/runs/whole/seed1/former.ckpt").is_file():
            return "interrupted"
    raise AssertionError("never interrupted with two checkpoints")


def all_faults(root: Path, num_kills: int, quick: bool, only: str = "") -> dict[str, Counter[str] | Grid]:
    """What came of every try of every fault; ``quick`` for the default tests."""
    make_study(root)
    assert wait(fork(whole_study(root, "unbroken", not quick), log=root / "unbroken.log")) == 0, (
        root / "unbroken.log"
    ).read_text()
    wanted = numbers(root / "unbroken")
    faults: dict[str, Callable[[], Counter[str] | Grid]] = {
        "killed in training or scoring": lambda: kills(root, wanted, num_kills if quick else num_kills * 4 // 5, False),
        "killed in its second epoch": lambda: states(root, wanted),
        "asked to stop by a signal": lambda: signals(root, wanted, 2 if quick else 40),
        "one of 4 processes killed": lambda: workers(root, wanted, 1 if quick else 20),
    }
    if not quick:
        sizes = [int(2_000 * 1.35**k) for k in range(25)]
        faults |= {
            "killed anywhere, report and archive included": lambda: kills(root, wanted, num_kills // 5, True, 3),
            "disk full": lambda: full_disks(root, wanted, sizes),
            "file damaged, training interrupted": lambda: damages(root, wanted, interrupted(root)),
        }
    damaged = ("flip",) if quick else tuple(DAMAGES)
    faults["file damaged, study finished"] = lambda: damages(
        root, wanted, "unbroken", damaged, "runs/whole" if quick else ""
    )
    return {name: make() for name, make in faults.items() if only in name}


HEAD = ("| fault | tries | same numbers | message | broken promise |", "|---|---|---|---|---|")
GRID_HEAD = (f"| file | {' | '.join(DAMAGES)} |", "|---" * (1 + len(DAMAGES)) + "|")


def totals(found: Counter[str] | Grid) -> Counter[str]:
    """How often each outcome came up."""
    return found if isinstance(found, Counter) else Counter(result for row in found.values() for result in row.values())


def row_of(name: str, found: Counter[str]) -> str:
    """A fault's row of the table."""
    wrong = "; ".join(f"{key} ({n})" for key, n in found.items() if key not in GOOD)
    return f"| {name} | {found.total()} | {found['identical']} | {found['message']} | {wrong or 'none'} |"


def grid_lines(found: Grid) -> list[str]:
    """A row for each kind of file."""
    return [f"| `{kind}` | {' | '.join(row.get(name, '') for name in DAMAGES)} |" for kind, row in found.items()]


def write_between(page: Path, mark: str, head: tuple[str, ...], rows: list[str], keep: bool) -> None:
    """Put a table between its marks in a page; with ``keep``, rows of other names, made by former calls, stay."""
    before, _, rest = page.read_text().partition(f"<!-- {mark} -->\n")
    table, _, after = rest.partition("<!-- end -->")
    kept = {row.split(" | ")[0]: row for row in table.splitlines()[len(head) :]} if keep else {}
    lines = [*head, *(kept | {row.split(" | ")[0]: row for row in rows}).values()]
    page.write_text(before + f"<!-- {mark} -->\n" + "\n".join(lines) + "\n<!-- end -->" + after)


def main() -> None:
    """Print the table, or write it into a page between its marks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="faults with this in their name")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    import_smp()  # here and the next, once for every child
    importlib.import_module("lightning_fabric")
    gc.freeze()
    with tempfile.TemporaryDirectory() as root:
        found = all_faults(Path(root), options.kills, options.quick, options.only)
    rows = [row_of(name, totals(tries)) for name, tries in found.items()]
    print("\n".join([*HEAD, *rows]))
    if options.table is not None:
        write_between(options.table, "table", HEAD, rows, keep=True)
    for name, tries in found.items():
        if not isinstance(tries, Counter):
            print("\n".join([f"\n{name}", *GRID_HEAD, *grid_lines(tries)]))
            if options.table is not None:
                write_between(options.table, name, GRID_HEAD, grid_lines(tries), keep=False)
    sys.exit(any(set(totals(tries)) - set(GOOD) for tries in found.values()))


if __name__ == "__main__":
    main()
