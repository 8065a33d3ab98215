"""What a stage's flow run hands to the one that asked for it: references, as a file in the
warehouse, because that is all that two machines share.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from flows.config.run import Cell
from flows.pipeline import Done, Pipeline, Prepared
from mrl4rec.core.files import AnyPath, write_whole
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.evaluation.cut import Cut


def file(settings: Settings, dataset: str, run: str) -> AnyPath:
    """The references that the flow run ``run`` (its id) leaves."""
    return settings.storage.configs_dir(dataset) / f"{run}.json"


def keep_prepared(pipeline: Pipeline, run: str) -> None:
    """Write which versions the data stages of a pipeline came to."""
    stages = {name: commit and asdict(commit) for name, commit in vars(pipeline.prepared).items()}
    _write(pipeline, run, {"used": pipeline.used, "stages": stages})


def adopt_prepared(pipeline: Pipeline, run: str) -> None:
    """Go on from what that flow run prepared."""
    body = _read(pipeline, run)
    commits = {name: commit and Commit(**commit) for name, commit in body["stages"].items()}
    pipeline.adopt(Prepared(**commits), body["used"])


def keep_done(pipeline: Pipeline, run: str, asked: Cell, done: Sequence[Done]) -> None:
    """Write what training and evaluating a cell came to, tuned values included."""
    values = asked.method.as_dict()
    tuned = {
        name: value
        for name, value in done[0].cell.method.as_dict().items()
        if value != values[name]
    }
    rows = [
        {"train": asdict(one.train), "result": one.result and asdict(one.result),
         "cut": asdict(one.cut)}
        for one in done
    ]  # fmt: skip
    _write(pipeline, run, {"tuned": tuned, "done": rows})


def done(pipeline: Pipeline, run: str, asked: Cell) -> list[Done]:
    """What that flow run made of the cell."""
    body = _read(pipeline, run)
    cell = replace(asked, method=asked.method.changed(**body["tuned"]))
    return [
        Done(
            cell,
            Commit(**row["train"]),
            row["result"] and Commit(**row["result"]),
            Cut(tuple(row["cut"]["widths"]), row["cut"]["rotated"]),
        )
        for row in body["done"]
    ]


def _write(pipeline: Pipeline, run: str, body: dict[str, Any]) -> None:
    place = file(pipeline.settings, pipeline.request.dataset, run)
    write_whole(place, json.dumps(body, indent=1))


def _read(pipeline: Pipeline, run: str) -> dict[str, Any]:
    place = file(pipeline.settings, pipeline.request.dataset, run)
    body: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return body
