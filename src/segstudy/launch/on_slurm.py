"""Workers as an array of Slurm jobs, through submitit; or as a script to submit by hand.

Each job runs ``segstudy work``. Some minutes before a job's time is up, Slurm signals it: the worker saves and ends, and the job
is queued again and goes on.
"""

from __future__ import annotations

import shlex
import shutil
import time as clock
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, PositiveInt

from segstudy.errors import SegstudyError, SpecError
from segstudy.launch.crew import last_words
from segstudy.launch.launchers import Job, Work
from segstudy.launch.slurm_worker import POLL_S, SAVED, SAVING_S, Worker
from segstudy.stopping import Stopped, seconds_of

if TYPE_CHECKING:
    import submitit

REQUEUES = 1000


def _minutes(value: Any) -> int:
    """A length of time such as ``4h`` or ``30m`` in minutes."""
    return value if isinstance(value, int) else max(1, int(seconds_of(str(value), "--with time") / 60))


Minutes = Annotated[int, BeforeValidator(_minutes)]


def run_on_slurm(
    job: Job,
    *,
    time: Minutes = 240,
    partition: str | None = None,
    account: str | None = None,
    qos: str | None = None,
    constraint: str | None = None,
    mem: str | None = None,
    gpus: PositiveInt | None = None,
    cpus: PositiveInt = 4,
    at_once: PositiveInt = 64,
    setup: str | None = None,
    wait: bool = True,
    cluster: Literal["slurm", "local"] = "slurm",
) -> None:
    """Submit an array with a job for each run, or of ``--workers`` jobs, and wait for its end.

    Parameters
    ----------
    job
        What is to be done.
    time
        Each job's time, ``4h`` or ``30m``; a job that needs more is queued again and goes on.
    partition, account, qos, constraint, mem
        As sbatch has them.
    gpus, cpus
        Of each job.
    at_once
        How many jobs may run at the same time.
    setup
        A shell command before each worker, such as ``module load cuda``.
    wait
        Whether to wait for the jobs and write the report.
    cluster
        ``local`` runs the jobs on this machine, to try them out.

    """
    named = {"partition": partition, "account": account, "qos": qos, "constraint": constraint}
    further = {"additional_parameters": {"requeue": True, **({"mem": mem} if mem else {})}}
    executor = _executor(job, cluster)
    slurm: dict[str, Any] = {
        **{key: value for key, value in named.items() if value},
        **further,
        "setup": [setup] if setup else None,
    }
    slurm |= {"array_parallelism": at_once, "signal_delay_s": SAVING_S, "srun_args": [_srun_cpus(cpus)]}
    generic: dict[str, Any] = {"name": f"segstudy-{job.plan.study.name}", "timeout_min": time, "cpus_per_task": cpus}
    generic |= {"gpus_per_node": gpus} if gpus else {}
    executor.update_parameters(**generic, **{f"slurm_{key}": value for key, value in slurm.items() if value})
    workers = job.num_workers(len(job.runs))
    try:
        with executor.batch():
            jobs = [executor.submit(Worker(job.work.command())) for _ in range(workers)]
    except Exception as error:  # submitit's own and those of sbatch
        raise SegstudyError(f"--on slurm: the jobs were not accepted: {error}") from None
    number = jobs[0].job_id.partition("_")[0]
    job.progress.say(f"submitted {workers} jobs ({number}); their logs are in {executor.folder}")
    if wait:
        _wait(job, jobs, number, cluster)
    else:
        job.goes_on = f"job {number} goes on; segstudy status shows how far it is, scancel {number} ends it"


def _srun_cpus(cpus: int) -> str:
    """For srun itself, which since Slurm 22.05 no longer takes this from sbatch and would give one processor."""
    return f"--cpus-per-task={cpus}"


def _executor(job: Job, cluster: str) -> submitit.AutoExecutor:
    try:
        import submitit
    except ImportError:
        raise SpecError("--on slurm: needs submitit; install it with: pip install 'segstudy[slurm]'") from None
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise SpecError("--on slurm: there is no sbatch here; call this on a machine that submits to Slurm")
    return submitit.AutoExecutor(job.store.root / "slurm", cluster=cluster, slurm_max_num_timeout=REQUEUES)


def _wait(job: Job, jobs: list[submitit.Job[int]], number: str, cluster: str) -> None:
    done = -1
    try:
        while not all(each.done() for each in jobs):
            if (now := job.num_done()) != done:
                done = now
                job.progress.say(f"{done} of {len(job.runs)} runs done")
            clock.sleep(POLL_S)
    except Stopped:
        if cluster == "local":
            for each in jobs:
                each.cancel()
        else:
            job.progress.say(f"the jobs continue: scancel {number} ends them, segstudy status shows their progress")
        raise
    for each in jobs:
        job.ended += _ended(each)


def _ended(each: submitit.Job[int]) -> list[str]:
    """The last words of a job that did not end well."""
    error = each.exception()
    code = 1 if error is not None else each.result()
    if not code:
        return []
    words = last_words((each.stderr() or "").splitlines(), code) if error is None else str(error).splitlines()[-1]
    return [f"job {each.job_id} {words}; see {each.paths.stderr}"]


def sbatch_script(
    work: Work,
    jobs: int,
    time: int,
    partition: str | None,
    account: str | None,
    qos: str | None,
    constraint: str | None,
    mem: str | None,
    gpus: int | None,
    cpus: int,
    at_once: int,
    setup: str | None,
    **rest: Any,
) -> str:
    """The script that does the same when it is submitted with sbatch; options are those of :func:`run_on_slurm`."""
    given: dict[str, Any] = {
        "job-name": f"segstudy-{work.out.name}",
        "array": f"1-{jobs}%{at_once}",
        "time": f"{time // 60}:{time % 60:02}:00",
        "partition": partition,
        "account": account,
        "qos": qos,
        "constraint": constraint,
        "mem": mem,
        "gpus-per-node": gpus,
        "cpus-per-task": cpus,
        "signal": f"USR1@{SAVING_S}",
        "output": f"segstudy-{work.out.name}-%A_%a.log",  # its folder must be there already
        "open-mode": "append",
    }
    lines = [f"#SBATCH --{key}={shlex.quote(str(value))}" for key, value in given.items() if value is not None]
    return "\n".join(
        [
            *("#!/bin/bash", *lines, "#SBATCH --requeue"),
            *([setup] if setup else []),
            f"srun {_srun_cpus(cpus)} {shlex.join(work.command())}",
            "code=$?",
            f"if [ $code -eq {SAVED} ]; then  # it has saved, as the time was nearly up: queue it again, and it goes on",
            '  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" && exit 0',
            "fi",
            "exit $code",
            "",
        ]
    )
