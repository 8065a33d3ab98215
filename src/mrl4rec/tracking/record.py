"""What is to be remembered of one run, as plain data that survives in a JSON file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.storage import opened

Metric = tuple[str, float, int]
"""(name, value, step)"""
DatasetRef = tuple[str, ...]
"""(name, path of its source, digest, context: training, evaluation …), and where it is known the
version of the source and a profile of the data, as JSON text."""
Artifact = tuple[str | AnyPath, str]
"""(file or folder, folder inside the run's artifacts; "" is the top)"""

# The limits of MLflow 3.17 (mlflow/utils/validation.py).
MAX_PARAM, MAX_TAG, MAX_NAME, MAX_DIGEST = 6000, 8000, 250, 36
COMMON = "mrl4rec"
"""The experiment of all data sets, where version 0.1 logged."""
_ODD_MODEL = re.compile(r"[/:.%\"']")
_ODD_NAME = re.compile(r"[^\w\-. /:]")
_KEY = re.compile(r"[\w.:/@+,=\-]{1,500}")


@dataclass(frozen=True)
class RunRecord:
    """One MLflow run, complete. Raises Mrl4recError where MLflow could not take it.

    ``(experiment, run_key)`` names the run: logged twice it is one run, and another record of it
    adds to it. A value longer than MLflow takes becomes an artifact, and the parameter names it;
    tags and names are cut, with an ellipsis; characters that it refuses in names become ``_``.
    """

    key: str
    """What the record is of: a stage key, or the benchmark's own key."""
    name: str
    """What people read in the list of runs."""
    experiment: str = COMMON
    """Name of the experiment: ``experiment_of`` a data set."""
    run_key: str = ""
    """What the run is of, where several records make it up; empty: ``key``."""
    parent_key: str | None = None
    """Key of the run it is put under when it is created; that run may be logged later."""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    datasets: Sequence[DatasetRef] = ()
    artifacts: Sequence[Artifact] = ()
    model_folder: str | AnyPath | None = None
    """A finished model folder: kept as artifact, and as a pyfunc where it is small enough."""
    model_name: str = "recommender"
    """What the pyfunc is called in the list of models."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Artifacts by path that are written from here: ``model-card.md`` and its text."""
    status: Literal["FINISHED", "FAILED"] = "FINISHED"
    start_time: datetime | float | None = None
    """A time with its zone, or seconds since 1970."""
    end_time: datetime | float | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen; this is its constructor
        put(self, "run_key", self.run_key or self.key)
        for name in ("key", "run_key", "parent_key"):
            value = getattr(self, name)
            if value is not None and not _KEY.fullmatch(value):
                raise Mrl4recError(
                    f"a run's {name} may hold letters, digits and . : / @ + , = - _ only",
                    where=repr(value),
                )
        if self.status not in ("FINISHED", "FAILED"):
            raise Mrl4recError("a run's status is FINISHED or FAILED", where=repr(self.status))
        put(self, "params", {_name(k): str(v) for k, v in self.params.items()})
        put(self, "model_name", _ODD_MODEL.sub("-", self.model_name))
        put(self, "tags", {_name(k): cut(str(v), MAX_TAG) for k, v in self.tags.items()})
        put(self, "metrics", [(_name(n), float(v), int(s)) for n, v, s in self.metrics])
        put(self, "datasets", [tuple(map(str, d)) for d in self.datasets])
        put(self, "artifacts", [(_absolute(p), str(folder)) for p, folder in self.artifacts])
        if self.model_folder is not None:
            put(self, "model_folder", _absolute(self.model_folder))

    @property
    def file_name(self) -> str:
        """The name of the record's file: one for each (experiment, key)."""
        return file_name(self.experiment, self.key)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, without the times, and without the parent, which is the first
        that the run had: the same work looked up again is the same.
        """
        left_out = ("start_time", "end_time", "parent_key")
        body = {k: v for k, v in asdict(self).items() if k not in left_out}
        return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()

    def to_json(self) -> str:
        """The record as JSON text."""
        body = asdict(self)
        for name in ("start_time", "end_time"):
            time = milliseconds(body[name])
            body[name] = None if time is None else time / 1000
        return json.dumps(body, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        """The record of a JSON text. Raises ValueError where it is not one."""
        body: dict[str, Any] = json.loads(text)
        if not isinstance(body, dict) or not {"key", "name"} <= body.keys():
            raise ValueError("not a run record")
        known = {f.name for f in fields(cls)}
        body = {k: v for k, v in body.items() if k in known}
        return cls(**body)


def experiment_of(dataset: str) -> str:
    """The name of a data set's experiment."""
    return f"{COMMON}-{dataset}"


def file_name(experiment: str, key: str) -> str:
    """The name of the file of the record of this place."""
    place = json.dumps([experiment, key])
    return hashlib.sha256(place.encode()).hexdigest()[:32] + ".json"


def milliseconds(time: datetime | float | None) -> int | None:
    """Milliseconds since 1970, as MLflow takes times."""
    if time is None:
        return None
    return int((time.timestamp() if isinstance(time, datetime) else time) * 1000)


def cut(text: str, limit: int) -> str:
    """The text, no longer than ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _name(name: str) -> str:
    return cut(_ODD_NAME.sub("_", str(name)), MAX_NAME)


def _absolute(path: str | AnyPath) -> str:
    # A replay may come from another working directory.
    return str(opened(path).absolute())
