"""Training on several devices: torchrun as a child process on loopback, watched until it ends."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from mrl4rec.core import processes, tensor_file
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.data.interactions import Interactions
from mrl4rec.training import beat
from mrl4rec.training.interrupt import Interrupted, StopFlag, on_sigterm
from mrl4rec.training.job import Job, pack
from mrl4rec.training.loop import Trained
from mrl4rec.training.progress import EpochReport, Progress
from mrl4rec.training.worker import DATA, PROGRESS, RESULT, START, SUMMARY

RESTARTS = 2
"""Starts anew after a rank died; each goes on from the newest checkpoint."""
POLL_SECONDS = 0.2
SHUTDOWN_SECONDS = 8.0
"""After a rank failed: torchrun ends the others in this time, or they are killed."""
GRACE_SECONDS = 30.0
"""After SIGTERM: time to finish a step and write a checkpoint."""
log = logging.getLogger("mrl4rec")


class RankDied(Mrl4recError):
    """A rank's process ended without a word (killed, out of memory): starting anew may help."""


def launch(job: Job, data: Interactions, progress: Progress | None) -> Trained:
    """Train under torchrun. When a rank dies, all are started anew, twice at most.

    Raises Interrupted after SIGTERM, Mrl4recError with the words of the rank that failed or
    naming the one that stalled. No process it started outlives it.
    """
    folder = Path(tempfile.mkdtemp(prefix="mrl4rec-job-"))
    try:
        with on_sigterm() as stop:
            for attempt in range(RESTARTS + 1):
                here = folder / f"attempt-{attempt}"
                _write_job(here, job, data)
                try:
                    return _Attempt(here, job, stop, progress).run()
                except RankDied as error:
                    if attempt == RESTARTS:
                        raise
                    log.warning("%s: starting all ranks anew from the last checkpoint", error.what)
        raise AssertionError("unreachable")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Attempt:
    """One torchrun from start to end."""

    def __init__(self, folder: Path, job: Job, stop: StopFlag, progress: Progress | None) -> None:
        self.folder, self.job, self.stop, self.progress = folder, job, stop, progress
        self.ranks = job.plan.ranks
        self._read_until = 0
        self._dead: beat.Beat | None = None
        self._stalled: list[beat.Beat] = []

    def run(self) -> Trained:
        """Start, watch, and read the result."""
        errors = self.folder / "stderr"
        with errors.open("w", encoding="utf-8") as sink:
            child = subprocess.Popen(
                _command(self.folder, self.job),
                env=_environment(self.folder, self.ranks),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
            try:
                self._watch(child)
            finally:
                _end(child, beat.read(self.folder, self.ranks))
        self._pass_on_progress()
        if child.returncode == 0 and (self.folder / SUMMARY).exists():
            return _result(self.folder)
        raise self._failure(child.returncode, errors)

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Until torchrun ends: pass reports on, forward SIGTERM, notice the first rank to die."""
        until: float | None = None
        while child.poll() is None:
            self._pass_on_progress()
            beats = beat.read(self.folder, self.ranks)
            if until is None and self._broken(beats):
                until = time.monotonic() + SHUTDOWN_SECONDS
            if until is None and self.stop.asked:
                until = time.monotonic() + GRACE_SECONDS
                for one in beats:
                    _signal(one, signal.SIGTERM)
            if until is not None and time.monotonic() > until:
                return
            time.sleep(POLL_SECONDS)

    def _broken(self, beats: list[beat.Beat]) -> bool:
        """True once a rank is dead or has failed; notes who died, or who kept the others waiting.

        It is judged at the first sign: torchrun then ends the other ranks, which look dead too.
        """
        self._dead = _first_dead(beats)
        failed = any(one.state == "failed" for one in beats)
        if failed and self._dead is None:
            self._stalled = [one for one in beats if one.state == "running"]
        return failed or self._dead is not None

    def _pass_on_progress(self) -> None:
        path = self.folder / PROGRESS
        if self.progress is None or not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read_until)
            for line in file:
                if line.endswith(b"\n"):
                    self._read_until += len(line)
                    self.progress(EpochReport(**json.loads(line)))

    def _failure(self, code: int | None, errors: Path) -> Mrl4recError:
        """What went wrong, in the words of the rank it went wrong in."""
        beats = beat.read(self.folder, self.ranks)
        for one in beats:
            if one.state == "interrupted":
                return Interrupted(one.error, where=one.where, todo=one.todo)
        for one in beats:
            if one.state == "failed" and one.named:
                what = f"rank {one.rank} failed: {one.error}"
                return Mrl4recError(what, where=one.where, todo=one.todo)
        todo = "run the same command again: it goes on from the last checkpoint"
        where = str(self.job.checkpoints)
        if self._dead is not None:
            what = f"rank {self._dead.rank} of {self.ranks} (process {self._dead.pid}) died"
            return RankDied(what, where=where, todo=todo)
        if self._stalled:
            slow = min(self._stalled, key=lambda one: (bool(one.waiting), one.at))
            what = (
                f"rank {slow.rank} of {self.ranks} (process {slow.pid}) stalled: the others waited "
                f"{self.job.settings.collective_seconds:g} s for it"
            )
            return Mrl4recError(what, where=where, todo=todo)
        words = " / ".join(one.error for one in beats if one.error)
        tail = "\n".join(errors.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        return Mrl4recError(
            f"torchrun ended with code {code}: {words or tail}", where=where, todo=todo
        )


def _write_job(folder: Path, job: Job, data: Interactions) -> None:
    """The order and its data."""
    folder.mkdir()
    tensor_file.write(folder / DATA, pack(data))
    if job.start is not None:
        tensor_file.write(folder / START, job.start.pack())
    body = {
        "plan": job.plan.as_dict(),
        "key": job.key,
        "checkpoints": str(job.checkpoints.absolute()),
        "settings": job.settings.model_dump(mode="json"),
        "starter": processes.this_process(),
        "threads": _threads(job.plan.ranks),
    }
    (folder / "job.json").write_text(json.dumps(body), encoding="utf-8")


def _command(folder: Path, job: Job) -> list[str]:
    """torchrun with a store on a free port of loopback, and nowhere else."""
    return [
        sys.executable,
        "-m",
        "mrl4rec.training.torchrun",
        "--nnodes=1",
        f"--nproc-per-node={job.plan.ranks}",
        "--rdzv-backend=loopback",
        f"--rdzv-id={job.key[:16]}",
        "--max-restarts=0",
        "--monitor-interval=0.2",
        "--shutdown-timeout=5",
        "-m",
        "mrl4rec.training.worker",
        str(folder / "job.json"),
    ]


def _environment(folder: Path, ranks: int) -> dict[str, str]:
    """Loopback only, and the machine's threads shared out."""
    threads = str(_threads(ranks))
    fixed = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TMPDIR": str(folder),  # torchrun leaves a folder of logs behind
    }
    return {**os.environ, **fixed}


def _threads(ranks: int) -> int:
    return max(1, processes.cores() // ranks)


def _first_dead(beats: list[beat.Beat]) -> beat.Beat | None:
    """A rank that says it runs and does not."""
    for one in beats:
        if one.state == "running" and not processes.is_running(one.pid, one.started):
            return one
    return None


def _signal(one: beat.Beat, number: signal.Signals) -> None:
    if processes.is_running(one.pid, one.started):
        os.kill(one.pid, number)


def _end(child: subprocess.Popen[bytes], beats: list[beat.Beat]) -> None:
    """Make sure that torchrun and every rank are gone."""
    if child.poll() is None:
        for one in [*psutil.Process(child.pid).children(recursive=True)]:
            _kill(one)
        os.killpg(child.pid, signal.SIGKILL)
    for one in beats:
        _signal(one, signal.SIGKILL)
    child.wait()


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):  # it ended by itself in between
        process.kill()


def _result(folder: Path) -> Trained:
    body = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    vectors = tensor_file.read(folder / RESULT)
    return Trained(vectors, body["epoch"], body["best"], body["history"])
