"""One rank under torchrun: ``python -m mrl4rec.training.worker job.json``."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from mrl4rec.core import tensor_file
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.training.beat import Heart
from mrl4rec.training.interrupt import Interrupted
from mrl4rec.training.job import Job, train_here, unpack
from mrl4rec.training.loop import Trained
from mrl4rec.training.progress import EpochReport
from mrl4rec.training.request import Plan
from mrl4rec.training.warm import Start

DATA, START, PROGRESS = "data.safetensors", "start.safetensors", "progress"
RESULT, SUMMARY = "result.safetensors", "result.json"


def main(argv: list[str]) -> int:
    """Train as one rank, speaking through files beside the job. Returns the exit code."""
    path = Path(argv[0])
    order = json.loads(path.read_text(encoding="utf-8"))
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    heart = Heart(path.parent, int(os.environ["RANK"]), tuple(order["starter"]))
    heart.start()
    try:
        train_as_rank(order, path.parent, heart)
    except Interrupted as error:
        heart.end("interrupted", error)
        return error.exit_code
    except Mrl4recError as error:
        heart.end("failed", error)
        return error.exit_code
    except Exception as error:
        heart.end("failed", error)
        raise
    heart.end("done")
    return 0


def train_as_rank(order: dict[str, Any], folder: Path, heart: Heart) -> None:
    """Join the others, train, and let the leader write the result."""
    import torch

    from mrl4rec.training.group import joined

    settings = Settings(**order["settings"])
    plan = Plan.from_dict(order["plan"])
    data = unpack(tensor_file.read(folder / DATA))
    start = Start.unpack(tensor_file.read(folder / START)) if plan.warm else None
    torch.set_num_threads(order["threads"])
    with joined(plan.where, settings.collective_seconds) as group:
        heart.group = group
        job = Job(plan, order["key"], Path(order["checkpoints"]), settings, start)
        if not group.leads:
            logging.getLogger("mrl4rec").setLevel(logging.ERROR)
        trained = train_here(job, data, group, Reporter(folder / PROGRESS))
        if group.leads:
            save_result(folder, trained)


def save_result(folder: Path, trained: Trained) -> None:
    """The vectors, and beside them how they came about."""
    tensor_file.write(folder / RESULT, trained.vectors)
    body = {"epoch": trained.epoch, "best": trained.best, "history": trained.history}
    (folder / SUMMARY).write_text(json.dumps(body), encoding="utf-8")


class Reporter:
    """Appends each epoch's report as one line of JSON, for the starter to pass on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, report: EpochReport) -> None:
        """Append one report."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report.as_dict()) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
