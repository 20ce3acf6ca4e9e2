"""Launchers: processes that are listened to and stopped, what each worker gets of a machine, options, Slurm, Ray."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from segstudy import cli
from segstudy.errors import SpecError
from segstudy.launch import crew as crews
from segstudy.launch import local, on_slurm
from segstudy.launch.crew import Crew, last_words
from segstudy.launch.launchers import LAUNCHERS, Job, Work, find_launcher, launch
from segstudy.launch.local import best_workers, choose_workers, runs_that_fill
from segstudy.launch.on_ray import _packed, run_on_ray, take_in
from segstudy.launch.on_slurm import run_on_slurm, sbatch_script
from segstudy.launch.workshop import Workshop
from segstudy.plan import make_plan
from segstudy.progress import showing
from segstudy.spec import parse_study
from segstudy.stopping import Stop, Stopped
from segstudy.store import RunFolder, Store

STUDY = """
name: tiny
data: {polyps: {reader: kvasir, root: data}}
recipe: {epochs: 1, batch_size: 2, input_size: 32, precision: float32}
experiments:
  unet: {data: polyps, model: {arch: linknet, encoder: tu-test_resnet, weights: none}}
seeds: [1, 2, 3]
"""
HEARS = "import signal, sys, time; signal.signal({}, lambda *_: sys.exit({})); print('ready', file=sys.stderr, flush=True); "
WAITS = "time.sleep(60)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_slurm, "POLL_S", 0.1)
    monkeypatch.setattr(crews, "LISTEN_S", 0.02)
    monkeypatch.setattr(crews, "GRACE_S", 0.3)


def job_at(out: Path, workers: int | None = None, stop: Stop | None = None) -> Job:
    study = parse_study(STUDY)
    plan = make_plan(study)
    with showing(quiet=True) as progress:
        workshop = Workshop(study, Store(out), None, progress, stop=stop)
    return Job(Work("study.yaml", workshop.store.root), plan, plan.runs, workshop, workers)


# --- processes of this machine -----------------------------------------------------------------------------------


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def crew_of(*codes: str, together: bool = False, stop: Stop | None = None) -> tuple[Crew, list[str]]:
    said: list[str] = []
    crew = Crew(said.append, stop or Stop(), together)
    for number, code in enumerate(codes):
        crew.start(f"[{number}] ", python(code), {"NUMBER": str(number)})
    return crew, said


def until_ready(said: list[str], number: int) -> None:
    end = time.monotonic() + 60
    while sum(line.endswith("ready") for line in said) < number:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_lines_exit_codes_and_last_words() -> None:
    talks = "import os, sys; print('epoch', os.environ['NUMBER'], file=sys.stderr); print('lost on stdout')"
    fails = "import sys; sys.exit('segstudy: 1 run failed:\\nunet/seed1: no room')"
    crew, said = crew_of(talks, talks, fails, "import os; os.kill(os.getpid(), 9)", "raise SystemExit(3)")
    members = crew.wait()
    assert sorted(said) == ["[0] epoch 0", "[1] epoch 1", "[2] segstudy: 1 run failed:", "[2] unet/seed1: no room"]
    assert [member.code for member in members] == [0, 0, 1, -9, 3]
    words = ["", "", "1 run failed:\nunet/seed1: no room", "was killed by SIGKILL", "exit code 3"]
    assert [member.message for member in members] == words


def test_the_last_message_counts() -> None:
    lines = ["segstudy: a note", "epoch 1", "segstudy: the disk is full", "make room"]
    assert last_words(lines, 2) == "the disk is full\nmake room"
    assert last_words(["Segmentation fault"], 139) == "Segmentation fault\nexit code 139"


@pytest.mark.parametrize(("number", "passed", "code"), [("SIGINT", "SIGINT", 130), ("SIGUSR1", "SIGTERM", 143)])
def test_a_signal_reaches_every_member_once(number: str, passed: str, code: int) -> None:
    stop = Stop()
    hears = HEARS.format(f"signal.{passed}", code) + WAITS
    with stop.listening():
        crew, said = crew_of(hears, hears, stop=stop)

        def ask() -> None:
            if sum(line.endswith("ready") for line in said) == 2 and stop.requested is None:
                os.kill(os.getpid(), getattr(signal, number))

        members = crew.wait(ask)
        assert [member.code for member in members] == [code, code]
        with pytest.raises(Stopped):
            stop.check()


def test_a_member_that_hears_nothing_is_ended_at_the_second_signal() -> None:
    stop = Stop()
    deaf = "import signal, sys, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; print('ready', file=sys.stderr); "
    with stop.listening():
        crew, said = crew_of(deaf + WAITS, stop=stop)
        asked: list[float] = []

        def ask() -> None:
            if said and len(asked) < 2:
                asked.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(Stopped, match="received SIGINT"):
            crew.wait(ask)
    assert crew.members[0].code == -9


def test_when_one_of_a_team_dies_all_end() -> None:
    crew, _ = crew_of(
        "import signal, time; signal.signal(2, signal.SIG_IGN); " + WAITS, "raise SystemExit(1)", together=True
    )
    assert [member.code for member in crew.wait()] == [-9, 1]


def test_a_signal_for_a_team_is_for_its_leader() -> None:
    stop = Stop()
    follower = HEARS.format("signal.SIGTERM", 99) + "time.sleep(0.5)"
    with stop.listening():
        crew, said = crew_of(HEARS.format("signal.SIGTERM", 0) + WAITS, follower, together=True, stop=stop)

        def ask() -> None:
            if sum(line.endswith("ready") for line in said) == 2 and stop.requested is None:
                os.kill(os.getpid(), signal.SIGTERM)

        assert [member.code for member in crew.wait(ask)] == [0, 0]


# --- what each worker gets ---------------------------------------------------------------------------------------


def shares(
    monkeypatch: pytest.MonkeyPatch, gpus: int, visible: str | None, threads: int, workers: int, devices: int = 1
):
    monkeypatch.setattr(local.torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(local.torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = [local._share(number, workers, devices) for number in range(workers)]
    return [(share["OMP_NUM_THREADS"], share.get("CUDA_VISIBLE_DEVICES")) for share in found]


def test_threads_and_gpus_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shares(monkeypatch, 0, None, 7, 3) == [("2", None)] * 3
    assert shares(monkeypatch, 0, None, 2, 4) == [("1", None)] * 4
    assert shares(monkeypatch, 2, None, 8, 3) == [("2", "0"), ("2", "1"), ("2", "0")]
    assert shares(monkeypatch, 3, "5,GPU-a,7", 8, 2) == [("4", "5"), ("4", "GPU-a")]
    assert shares(monkeypatch, 4, None, 8, 2, devices=2) == [("4", "0,1"), ("4", "2,3")]


def test_more_workers_must_promise_more() -> None:
    assert choose_workers({1: 100.0, 2: 92.0, 4: 91.0}, room=8) == 1
    assert choose_workers({1: 100.0, 2: 53.0, 4: 28.0, 8: 27.0}, room=99) == 4
    assert choose_workers({1: 100.0, 2: 53.0, 4: 28.0}, room=3) == 2


def test_auto_times_every_division_of_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes as long with one thread as with four: as many workers as there are runs, up to a power of two."""
    timed: list[int] = []
    monkeypatch.setattr(local.torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(local.torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(local, "_step_seconds", lambda job, run, threads: timed.append(threads) or 0.5)
    monkeypatch.setattr(local, "_count_steps", lambda workshop, runs: 1_000_000)
    assert best_workers(job_at(tmp_path)) == 2  # three runs
    assert timed == [4, 2]
    monkeypatch.setattr(local, "_count_steps", lambda workshop, runs: 2)  # over before a second worker has started
    assert best_workers(job_at(tmp_path)) == 1
    monkeypatch.setattr(local, "_count_steps", lambda workshop, runs: 1_000_000)
    monkeypatch.setattr(local, "_step_seconds", lambda job, run, threads: 2 / threads)
    assert best_workers(job_at(tmp_path)) == 1
    monkeypatch.setattr(local.torch.cuda, "device_count", lambda: 3)
    assert best_workers(job_at(tmp_path)) == 3


def test_one_worker_is_this_process_and_a_number_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "best_workers", lambda job, runs_per_gpu: 1)
    left = job_at(tmp_path)
    assert launch(left, LAUNCHERS.find("local"), {}) is None and left.left_here
    started: list[str] = []
    monkeypatch.setattr(local, "best_workers", lambda job, runs_per_gpu: pytest.fail("measured"))
    monkeypatch.setattr(Crew, "start", lambda crew, name, command, environment: started.append(name))
    asked = job_at(tmp_path, workers=2)
    local.run_here(asked)
    assert started == ["[1] ", "[2] "] and not asked.left_here


def test_steps_of_all_runs_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs of one epoch; nine images in batches of two, of which one has three."""
    job = job_at(tmp_path)
    data = SimpleNamespace(samples=lambda split: range(9)), SimpleNamespace(train="train")
    monkeypatch.setattr(job.workshop, "dataset", lambda name: data)
    assert local._count_steps(job.workshop, job.runs) == 12


def test_a_step_is_timed_on_the_runs_own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_at(tmp_path)
    monkeypatch.setattr(job.workshop, "dataset", lambda name: (SimpleNamespace(classes=("a", "b")), None))
    before = torch.get_num_threads()
    assert 0 < local._step_seconds(job, job.runs[0], 1) < 60
    torch.set_num_threads(before)


def test_runs_that_share_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [runs_that_fill(0.1, busy, room=4) for busy in (0.03, 0.06, 0.1, 0.2, 0.0)] == [3, 1, 1, 1, 4]
    assert runs_that_fill(0.1, 0.03, room=0) == 1
    monkeypatch.setattr(local, "_threads", lambda: 1)
    assert best_workers(job_at(tmp_path), runs_per_gpu=2) == 1  # no GPU
    monkeypatch.setattr(local, "_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(local, "_measured_runs", lambda job, num_gpus: 3)
    assert best_workers(job_at(tmp_path), runs_per_gpu=2) == 4
    assert best_workers(job_at(tmp_path), runs_per_gpu="auto") == 6


@pytest.mark.parametrize(
    ("runs_per_gpu", "workers", "message"),
    [
        (0, None, "--runs-per-gpu 0: must be a number from 1, or auto"),
        ("auto", 2, "--runs-per-gpu auto: --workers says already what shares a GPU; leave one of the two out"),
    ],
)
def test_runs_that_cannot_share_a_gpu(
    tmp_path: Path, runs_per_gpu: int | str, workers: int | None, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        local.run_here(job_at(tmp_path, workers), runs_per_gpu)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_runs_of_a_gpu_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_at(tmp_path)
    monkeypatch.setattr(job.workshop, "dataset", lambda name: (SimpleNamespace(classes=("a", "b")), None))
    assert local._measured_runs(job, 1) >= 1


# --- the command line --------------------------------------------------------------------------------------------


def test_a_worker_is_asked_for_the_same() -> None:
    work = Work("s.yaml", Path("/out"), Path("/data"), ("a", "b"), 3, ("recipe.epochs=1",), "10m", 2, ("csv",))
    asked = (
        "--out /out --data /data --seed 3 --checkpoint-every 10m --devices 2 --only a --only b --set recipe.epochs=1 "
        "--track csv"
    )
    assert work.command("python") == ["python", "-m", "segstudy", "work", "s.yaml", *asked.split()]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "slurmm",
            [],
            r"--on is 'slurmm', must be 'local', 'slurm' or 'ray' \(did you mean 'slurm'\?\), or a launcher of",
        ),
        (
            "slurm",
            ["partitio=x"],
            r"--on slurm --with partitio: no such option \(did you mean 'partition'\?\); slurm knows",
        ),
        ("slurm", ["gpus=none"], "--on slurm --with gpus=none: input should be a valid integer"),
        ("slurm", ["gpus=0"], "--on slurm --with gpus=0: input should be greater than 0"),
        ("slurm", ["time=3"], "--with time '3': give a length of time with units"),
        ("slurm", ["time"], "--with 'time': write key=value"),
        ("slurm://", [], "--on slurm://: slurm takes no address; write --on slurm"),
        ("slurm", ["address=x"], "--on slurm --with address: no such option"),
        ("", [], "--on is '', must be 'local', 'slurm' or 'ray'"),
        ("local", ["x=1"], "--on local --with x: no such option; local knows runs_per_gpu"),
        ("nowhere:launch", [], "'nowhere:launch': the module nowhere cannot be imported"),
    ],
)
def test_wrong_launchers_and_options(name: str, options: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        find_launcher(name, options)


def test_options_are_read_by_their_types() -> None:
    _, found = find_launcher("slurm", ["time=1h30m", "gpus=2", "partition=012", "wait=false"])
    assert (found["time"], found["gpus"], found["partition"], found["wait"]) == (90, 2, "012", False)
    _, found = find_launcher("ray://head:10001", ["gpus=0.5", "shared=no"])
    assert (found["address"], found["gpus"], found["shared"]) == ("ray://head:10001", 0.5, "no")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "0"], "--workers 0: must be a number from 1, or auto"),
        (["--runs-per-gpu", "some"], "--runs-per-gpu some: must be a number from 1, or auto"),
        (["--workers", "2", "--runs-per-gpu", "2"], "--runs-per-gpu 2: --workers says already"),
        (["--on", "slurm", "--runs-per-gpu", "2"], "--on slurm --with runs_per_gpu: no such option"),
        (["--workers", "some"], "--workers some: must be a number from 1, or auto"),
        (["--devices", "4096"], "--devices 4096: this machine has "),
        (["--nodes", "2", "--devices", "2"], "--nodes 2: start one process a device with srun or torchrun"),
        (["--with", "time=4h"], "--with: is for the options of --on; name a launcher"),
        (["--workers", "2", "--with", "time=4h"], "--on local --with time: no such option"),
        (["--on", ""], "--on is '', must be 'local'"),
        (["--dry-run", "--on", "slurmm"], "--on is 'slurmm'"),
        (["--dry-run", "--workers", "-1"], "--workers -1: must be a number from 1, or auto"),
        (["--print-sbatch", "--on", "ray"], "--print-sbatch prints the script of --on slurm, without --on ray;"),
        (["--print-sbatch", "--dry-run"], "--print-sbatch prints the script of --on slurm, without --dry-run;"),
        (["--print-sbatch", "--max-time", "1h"], "without --max-time; leave one of the two out"),
        (["--print-sbatch", "--nodes", "2"], "without --nodes 2; leave one of the two out"),
        (["--on", "slurm"], "--on slurm: there is no sbatch here; call this on a machine that submits to Slurm"),
        (["--on", "ray://127.0.0.1:9"], "--on ray: nothing answers at ray://127.0.0.1:9"),
    ],
)
def test_wrong_calls_are_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("submitit")
    from fakes import fake_kvasir

    fake_kvasir(tmp_path / "data", num_images=10, size=(40, 36))
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["segstudy", "run", "study.yaml", *words])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize(("launcher", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_library_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    choice, options = find_launcher(launcher, [])
    with pytest.raises(
        SpecError, match=rf"--on {launcher}: needs .*; install it with: pip install 'segstudy\[{launcher}\]'"
    ):
        choice.function(job_at(tmp_path), **options)


# --- Slurm -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script(Work):
    """A worker that is a few lines of Python."""

    code: str = ""

    def command(self, python: str = sys.executable) -> list[str]:
        return [python, "-S", "-c", self.code]


def test_slurm_jobs_save_when_they_are_signalled_and_go_on(tmp_path: Path) -> None:
    """submitit's own executor runs the jobs here. The first call of the worker waits for the signal, the second ends."""
    pytest.importorskip("submitit")
    code = (
        "import signal, sys, time\nfrom pathlib import Path\n"
        f"note = Path({str(tmp_path / 'note')!r})\n"
        "if note.is_file():\n    note.write_text('went on'); sys.exit(0)\n"
        "def save(*_):\n    note.write_text('saved'); sys.exit(143)\n"
        f"signal.signal(signal.SIGTERM, save)\nPath({str(tmp_path / 'ready')!r}).touch()\ntime.sleep(60)\n"
    )
    job = job_at(tmp_path / "out", workers=1)
    job.work = Script("s", job.store.root, code=code)

    def signal_it() -> None:
        while not (tmp_path / "ready").is_file():
            time.sleep(0.02)
        for process in psutil.Process().children(recursive=True):
            if "submitit.core._submit" in process.cmdline():
                process.send_signal(signal.SIGUSR2)

    threading.Thread(target=signal_it, daemon=True).start()
    run_on_slurm(job, cluster="local")
    assert (tmp_path / "note").read_text() == "went on"
    assert job.ended == []


def test_a_slurm_job_that_fails_is_told(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    job = job_at(tmp_path / "out", workers=2)
    job.work = Script("s", job.store.root, code="import sys; sys.exit('segstudy: the disk is full')")
    run_on_slurm(job, cluster="local")
    assert len(job.ended) == 2 and all("the disk is full; see " in words for words in job.ended)


SRUN = '#!/bin/sh\necho "$@" >> {log}\nexit {code}\n'


@pytest.mark.parametrize(("code", "ends", "requeued"), [(0, 0, False), (143, 0, True), (2, 2, False)])
def test_the_printed_script_queues_again_what_has_saved(tmp_path: Path, code: int, ends: int, requeued: bool) -> None:
    _, options = find_launcher("slurm", ["partition=big one", "time=4h", "gpus=1", "setup=true", "mem=32G"])
    script = sbatch_script(Work("my study.yaml", Path("/out/x")), 3, **options)
    assert script.startswith(
        "#!/bin/bash\n#SBATCH --job-name=segstudy-x\n#SBATCH --array=1-3%64\n#SBATCH --time=4:00:00\n"
    )
    assert "#SBATCH --partition='big one'\n#SBATCH --mem=32G\n#SBATCH --gpus-per-node=1\n" in script
    for name, own_code in (("srun", code), ("scontrol", 0)):
        (tmp_path / name).write_text(SRUN.format(log=tmp_path / f"{name}.log", code=own_code))
        (tmp_path / name).chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    done = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (ends, "")
    called = (tmp_path / "srun.log").read_text()
    assert called == f"--cpus-per-task=4 {sys.executable} -m segstudy work my study.yaml --out /out/x\n"
    said = tmp_path / "scontrol.log"
    assert (said.read_text() if said.is_file() else "") == ("requeue 7_2\n" if requeued else "")


# --- Ray ---------------------------------------------------------------------------------------------------------


def test_a_run_that_is_sent_back_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    there, here = tmp_path / "there", RunFolder(tmp_path / "runs" / "unet" / "seed1")
    for name, text in {
        "run.yaml": "new",
        "SHA256SUMS": "sums",
        "evaluations/a.npz": "counts",
        "claim": "theirs",
    }.items():
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text(text)
    (there / ".run.yaml.host-1-00000000.tmp").write_text("half")
    here.path.mkdir(parents=True)
    for name, text in {"run.yaml": "old", "last.ckpt": "old", "claim": "ours"}.items():
        (here.path / name).write_text(text)
    take_in(_packed(there), here)
    found = {
        path.relative_to(here.path).as_posix(): path.read_text() for path in here.path.rglob("*") if path.is_file()
    }
    assert found == {"run.yaml": "new", "SHA256SUMS": "sums", "evaluations/a.npz": "counts", "claim": "ours"}
    assert [path.name for path in here.path.parent.iterdir()] == ["seed1"]
    take_in(_packed(tmp_path / "nothing"), here)
    assert (here.path / "run.yaml").read_text() == "new"


def test_an_address_that_does_not_answer(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            SpecError, match=f"--on ray: nothing answers at {address} .*give HOST:PORT of a cluster's head"
        ):
            run_on_ray(job_at(tmp_path), address=address)
