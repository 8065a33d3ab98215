"""Training on several devices: torchrun as a child process, its ranks on loopback.

With several machines each has a torchrun of its own, and the ranks of all meet (``rendezvous``).
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil

from mrl4rec.core import nodes
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.nodes import Deserted
from mrl4rec.core.processes import cores
from mrl4rec.data.interactions import Interactions
from mrl4rec.training.group import Stalled
from mrl4rec.training.interrupt import Interrupted, StopFlag, on_sigterm
from mrl4rec.training.job import Job
from mrl4rec.training.loop import Trained
from mrl4rec.training.progress import EpochReport, Progress
from mrl4rec.training.worker import ERROR, JOB, PID, PROGRESS, RESULT

RESTARTS = 2
"""Starts after a rank died; each resumes from the newest checkpoint."""
POLL_SECONDS = 0.2
SHUTDOWN_SECONDS = 5.0
"""After the first error of a rank: time for the others to end before they are killed."""
TODO = "run the same command again: it goes on from the last checkpoint"
log = logging.getLogger("mrl4rec")


class RankDied(Mrl4recError):
    """A rank's process ended without an error of its own (killed, out of memory)."""


def launch(job: Job, data: Interactions, progress: Progress | None) -> Trained:
    """Train under torchrun. When a rank dies, all are restarted, twice at most; not so where other
    machines take part, which would each have to be started again.

    Raises Interrupted after SIGTERM, Mrl4recError with the error of the rank that failed or naming
    the one that stalled or died. No process it started outlives it.
    """
    nobody = np.empty(0, dtype=object)
    pairs = replace(data, user_ids=nobody, item_ids=nobody, reviewed_at_P=None)
    settings = job.settings.model_copy(update={"alert_webhook": None})  # a secret stays here
    with tempfile.TemporaryDirectory(prefix="mrl4rec-job-") as folder, on_sigterm() as stop:
        Path(folder, JOB).write_bytes(pickle.dumps((replace(job, settings=settings), pairs)))
        for attempt in range(RESTARTS + 1):
            here = Path(folder, f"attempt-{attempt}")
            here.mkdir()
            try:
                return _attempt(here, job, stop, progress or (lambda _: None))
            except RankDied as error:
                if attempt == RESTARTS or job.settings.nodes > 1:
                    raise
                log.warning("%s: restarting all ranks from the last checkpoint", error.what)
    raise AssertionError("unreachable")


def _attempt(folder: Path, job: Job, stop: StopFlag, progress: Progress) -> Trained:
    """One torchrun from start to end."""
    output = folder / "output"
    with (
        output.open("wb") as sink,
        (folder / PROGRESS).open("w+b") as reports,
        subprocess.Popen(
            _command(folder, job.ranks_here),
            env=_environment(job),
            stdin=subprocess.PIPE,  # the ranks exit when it closes: this process has ended
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        ) as torchrun,
    ):
        try:
            _watch(torchrun, folder, stop, reports, progress)
        finally:
            _kill(torchrun)
    words = "\n".join(output.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    if (folder / RESULT).exists():  # written whole, after the last epoch
        if torchrun.returncode != 0:
            log.debug(
                "torchrun ended with code %d after the training: %s", torchrun.returncode, words
            )
        trained: Trained = pickle.loads((folder / RESULT).read_bytes())
        return trained
    raise _failure(folder, job, stop, f"torchrun ended with code {torchrun.returncode}: {words}")


def _watch(
    torchrun: subprocess.Popen[bytes],
    folder: Path,
    stop: StopFlag,
    reports: BinaryIO,
    progress: Progress,
) -> None:
    """Pass on reports and SIGTERM until torchrun ends, or SHUTDOWN_SECONDS after an error."""
    until, stopping = math.inf, False
    while torchrun.poll() is None and time.monotonic() < until:
        _pass_on(reports, progress)
        if stop.asked and not stopping:
            torchrun.terminate()  # it gives the ranks 30 s for a checkpoint
            stopping = True
        if until == math.inf and any(folder.glob(f"*{ERROR}")):
            until = time.monotonic() + SHUTDOWN_SECONDS
        time.sleep(POLL_SECONDS)
    _pass_on(reports, progress)


def _pass_on(reports: BinaryIO, progress: Progress) -> None:
    for line in iter(reports.readline, b""):
        if not line.endswith(b"\n"):  # it is being written
            reports.seek(-len(line), os.SEEK_CUR)
            return
        progress(EpochReport(**json.loads(line)))


def _failure(folder: Path, job: Job, stop: StopFlag, otherwise: str) -> Mrl4recError:
    """The error to raise: one that a rank reported, else which rank stalled, else which died."""
    where = str(job.checkpoints)
    pids = {int(path.stem): path.read_text() for path in sorted(folder.glob(f"*{PID}"))}
    errors = {
        rank: pickle.loads(path.read_bytes())
        for rank in pids
        if (path := folder / f"{rank}{ERROR}").exists()
    }

    def names(ranks: Iterable[int]) -> str:
        told = (f"rank {rank} of {job.plan.ranks} (process {pids.get(rank)})" for rank in ranks)
        return ", ".join(told)

    for rank, error in errors.items():
        if isinstance(error, Interrupted | Deserted):
            return error
        if isinstance(error, Mrl4recError):
            what = f"rank {rank} failed: {error.what}"
            return Mrl4recError(what, where=error.where, todo=error.todo)
    if stop.asked:
        return Interrupted("training was asked to stop", todo=TODO)
    for error in errors.values():
        if isinstance(error, Stalled):
            seconds = job.settings.collective_seconds
            what = f"{names(error.ranks)} stalled: the others waited {seconds:g} s"
            return Mrl4recError(what, where=where, todo=TODO)
    silent = sorted({*job.ranks_here} - errors.keys())
    if pids and silent:
        return RankDied(f"{names(silent)} died", where=where, todo=TODO)
    said = " / ".join(f"rank {rank}: {error}" for rank, error in errors.items())
    return Mrl4recError(said or otherwise, where=where, todo=TODO)


def _command(folder: Path, ranks: range) -> list[str]:
    """torchrun and the ranks meet in files: a store of torch's would listen on every interface."""
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes=1",
        f"--nproc-per-node={len(ranks)}",
        "--rdzv-backend=c10d",
        "--rdzv-conf=store_type=file",
        f"--rdzv-endpoint={folder / 'rendezvous'}",
        "--local-addr=127.0.0.1",
        "--max-restarts=0",
        f"--log-dir={folder}",
        "-m",
        "mrl4rec.training.worker",
        str(folder),
        str(ranks.start),
    ]


def _environment(job: Job) -> dict[str, str]:
    """Loopback only unless there are other machines, and the machine's threads shared out."""
    threads = str(max(1, cores() // len(job.ranks_here)))
    network = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    if job.settings.nodes > 1:
        leads_there = nodes.interface(job.settings)
        network = {name: os.environ.get(name) or leads_there for name in network}
    fixed = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        **network,
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # it would listen on every interface
    }
    return {**os.environ, **fixed}


def _kill(torchrun: subprocess.Popen[bytes]) -> None:
    """Kill what is left of it and its ranks, stopped ones too."""
    if torchrun.poll() is None:
        parent = psutil.Process(torchrun.pid)
        for process in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                process.kill()
