"""The same small study by workers, by a team, by Slurm's jobs and by Ray's tasks, one of them killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import make_study, numbers

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
WAIT_S = 900


def start(root: Path, *words: str, python: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", *python, "-m", "segstudy", *words]
    return subprocess.Popen(
        command, cwd=root, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=WAIT_S)
    return process.returncode, said


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_study(tmp_path_factory.mktemp("cluster"))
    file = root / "study.yaml"
    file.write_text(file.read_text().replace("epochs: 2", "epochs: 6").replace("seeds: [1]", "seeds: [1, 2]"))
    return root


@pytest.fixture(scope="module")
def wanted(root: Path) -> dict[str, Any]:
    code, said = end(start(root, "run", "study.yaml", "--out", "one", "--no-report"))
    assert code == 0, said
    return numbers(root / "one")


def until(done: Callable[[], object]) -> None:
    limit = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < limit
        time.sleep(0.02)


def children(process: subprocess.Popen[str], *words: str) -> list[psutil.Process]:
    found = []
    for each in psutil.Process(process.pid).children(recursive=True):
        try:
            if all(word in each.cmdline() for word in words):
                found.append(each)
        except psutil.NoSuchProcess:
            continue
    return found


def begun(out: Path, epochs: int = 1) -> bool:
    return any(len(path.read_text().splitlines()) >= epochs for path in out.glob("runs/*/*/metrics.jsonl"))


def holder(out: Path) -> int:
    """The process that works on a run in training."""
    from segstudy.files import claim_on

    for path in out.glob("runs/*/*/claim"):
        owner = getattr(claim_on(path), "owner", None)
        if owner is not None and (path.parent / "last.ckpt").is_file():
            return int(owner.pid)
    return 0


def test_workers_one_of_them_killed(root: Path, wanted: dict[str, Any]) -> None:
    process = start(root, "run", "study.yaml", "--out", "workers", "--workers", "2")
    until(lambda: begun(root / "workers") and holder(root / "workers"))
    os.kill(holder(root / "workers"), signal.SIGKILL)
    code, said = end(process)
    assert code == 0, said
    assert "was killed by SIGKILL; the others take its run over" in said
    assert said.count("report: ") == 1 and "Traceback" not in said
    assert numbers(root / "workers") == wanted


def test_ctrl_c_ends_all_workers_and_the_same_command_goes_on(root: Path, wanted: dict[str, Any]) -> None:
    process = start(root, "run", "study.yaml", "--out", "stopped", "--workers", "2", "--no-report")
    until(lambda: begun(root / "stopped"))
    workers = children(process, "work")
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    code, said = end(process)
    assert code == 130, said
    assert said.rstrip().endswith("segstudy: received SIGINT; stopped; run the same command again to resume")
    assert not any(worker.is_running() for worker in workers)
    code, said = end(start(root, "run", "study.yaml", "--out", "stopped", "--workers", "2", "--no-report"))
    assert code == 0, said
    assert numbers(root / "stopped") == wanted


def test_a_run_that_fails_does_not_stop_the_others(root: Path, wanted: dict[str, Any]) -> None:
    wild = "  wild: {base: whole, change: {recipe.optimizer.lr: 1.0e30}}\n  crops:"
    (root / "wild.yaml").write_text((root / "study.yaml").read_text().replace("  crops:", wild))
    code, said = end(start(root, "run", "wild.yaml", "--out", "wild", "--workers", "2"))
    assert code == 2, said
    last = said[said.rindex("segstudy: ") :].splitlines()
    assert last[0] == "segstudy: 2 runs failed:" and last[1].startswith("wild/seed1: seed1 of wild: the loss is ")
    assert said.count("report: ") == 1
    shutil.rmtree(root / "wild/runs/wild")  # it has no epoch
    assert numbers(root / "wild") == wanted


def test_a_team_one_of_it_killed(root: Path, wanted: dict[str, Any]) -> None:
    """Equal to one process up to rounding, which few images in deep layers magnify: see tests/unit/test_team.py for bounds."""
    words = (
        "run",
        "study.yaml",
        "--devices",
        "2",
        "--only",
        "whole",
        "--set",
        "recipe.sync_batch_norm=true",
        "--no-report",
    )
    process = start(root, *words, "--out", "team")
    until(lambda: begun(root / "team", 2))
    follower = next(each for each in children(process, "work") if each.environ().get("RANK") == "1")
    follower.kill()
    code, said = end(process)
    assert code == 2, said
    assert (
        "process 1 was killed by SIGKILL; the 2 processes that train together ended; run the same command again to resume"
        in said
    )
    assert "Traceback" not in said
    code, said = end(start(root, *words, "--out", "team"))
    assert code == 0, said
    found = numbers(root / "team")
    for seed in (1, 2):
        one, two = (each[f"whole/seed{seed} a-test.npz"] for each in (wanted, found))
        assert two["ids"] == one["ids"]
        assert np.array(one["confusion"]).sum() == np.array(two["confusion"]).sum()
        first, second = (each[f"whole/seed{seed} epochs"][0][1] for each in (wanted, found))
        assert second == pytest.approx(first, rel=1e-3)


def test_a_team_that_is_asked_to_stop(root: Path) -> None:
    words = ("run", "study.yaml", "--devices", "2", "--only", "crops", "--no-report", "--out", "asked")
    process = start(root, *words)
    until(lambda: begun(root / "asked"))
    process.send_signal(signal.SIGTERM)
    code, said = end(process)
    assert code == 143, said
    code, said = end(start(root, *words))
    assert code == 0, said
    code, said = end(start(root, *words, "--out", "again"))
    assert code == 0, said
    assert numbers(root / "asked") == numbers(root / "again")


def test_torchrun(root: Path) -> None:
    """The processes may be started by others."""
    words = (
        "study.yaml",
        "--only",
        "whole",
        "--seed",
        "1",
        "--no-report",
        "--set",
        "recipe.epochs=1",
        "--out",
        "torchrun",
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "segstudy",
        "run",
    ]
    done = subprocess.run([*command, *words], cwd=root, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = (root / "torchrun/runs/whole/seed1/run.yaml").read_text()
    assert "processes: 2" in record


def test_slurm_jobs_one_of_them_killed(root: Path, wanted: dict[str, Any]) -> None:
    pytest.importorskip("submitit")
    words = ("--on", "slurm", "--with", "cluster=local", "--workers", "2", "--no-report")
    process = start(root, "run", "study.yaml", "--out", "slurm", *words)
    until(lambda: begun(root / "slurm") and holder(root / "slurm"))
    os.kill(holder(root / "slurm"), signal.SIGKILL)
    code, said = end(process)
    assert code == 0, said
    assert numbers(root / "slurm") == wanted


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without processors, and two nodes with one each."""
    pytest.importorskip("ray")
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    from ray.cluster_utils import Cluster

    memory = 10**8
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": memory})
    made.workers = [made.add_node(num_cpus=1, object_store_memory=memory) for _ in range(2)]
    yield made
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("shared", ["auto", "no"])
@pytest.mark.filterwarnings("ignore")
def test_ray_tasks_a_node_killed(root: Path, wanted: dict[str, Any], cluster: Any, shared: str) -> None:
    """Nodes work in the store, or (``no``) in folders of their own that they send back."""
    out = root / f"ray-{shared}"
    words = ("--on", "ray", "--with", f"address={cluster.address}", "--with", f"shared={shared}", "--no-report")
    process = start(root, "run", "study.yaml", "--out", out.name, "--data", str(root), *words)
    places = (out.parent, "ray-auto") if shared == "auto" else (Path("/tmp"), "segstudy-*/out")
    until(lambda: list(places[0].glob(f"{places[1]}/runs/*/*/metrics.jsonl")))
    cluster.remove_node(cluster.workers[0], allow_graceful=False)
    code, said = end(process)
    assert code == 0, said
    assert f"Ray: up to 2 tasks, {'in the store' if shared == 'auto' else 'each sends its run back'}" in said
    assert numbers(out) == wanted
