"""One rank under torchrun: ``python -m mrl4rec.training.worker FOLDER FIRST``.

FIRST is the number of this machine's first rank. FOLDER is the attempt's, made by ``launch`` for
the time that it runs: what is pickled there is read by nobody else.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
import threading
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import write_whole
from mrl4rec.training.group import Stalled, in_file, joined
from mrl4rec.training.job import train_here
from mrl4rec.training.progress import EpochReport
from mrl4rec.training.rendezvous import meeting

JOB, PROGRESS, RESULT, STORE = "job", "progress", "result", "store"
PID, ERROR = ".pid", ".error"
"""Endings of the files that a rank writes, by its number."""


def main(folder: Path, first: int) -> None:
    """Train as one rank; the machine's first one writes the result, whoever fails its error."""
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    rank = first + int(os.environ["RANK"])
    level = logging.WARNING if rank == first else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    (folder / f"{rank}{PID}").write_text(str(os.getpid()))
    try:
        _train(folder, rank)
    except Exception as error:
        known = isinstance(error, Mrl4recError | Stalled)
        said = error if known else RuntimeError(f"{type(error).__name__}: {error}")
        (folder / f"{rank}{ERROR}").write_bytes(pickle.dumps(said))
        raise


def _train(folder: Path, rank: int) -> None:
    job, data = pickle.loads((folder.parent / JOB).read_bytes())

    def report(one: EpochReport) -> None:
        with (folder / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(one)) + "\n")

    alone = job.settings.nodes == 1
    met = nullcontext(in_file(folder / STORE)) if alone else meeting(job, rank)
    seconds = job.settings.collective_seconds
    with met as store, joined(job.plan.where, seconds, store, rank, job.plan.ranks) as group:
        trained = train_here(job, data, group, report)
        if rank == job.ranks_here[0]:
            write_whole(folder / RESULT, pickle.dumps(trained), durable=False)


def _end_with_launcher() -> None:
    """Wait for the end of stdin, which the launcher alone holds open, and end at once."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
