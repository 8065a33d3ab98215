"""Checkpoints: one file each, its SHA-256 in its name; the last two are kept.

A file is written beside its place, synced and renamed, so a name that stands is a whole file. It is
a safetensors file whose header holds the state as JSON; no pickle.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath, remove, write_whole
from mrl4rec.core.stage import canonical

with lazy.imports():
    import safetensors.numpy

Arrays = dict[str, NDArray[Any]]

KEPT = 2
log = logging.getLogger("mrl4rec")


@dataclass
class State:
    """How far training has come. Epochs count from 0 in each phase."""

    phase: str = "search"
    epoch: int = 0
    """The epoch that is next or under way."""
    step: int = 0
    """Steps of that epoch already taken."""
    loss: float = 0.0
    """Sum of their losses."""
    best: float | None = None
    best_epoch: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)
    """``seconds`` and ``cpu_seconds`` of all processes until this was written."""


class Store:
    """The checkpoints of one training, in one folder."""

    def __init__(self, folder: AnyPath, identity: Mapping[str, Any], seconds: float) -> None:
        """``identity``: what a checkpoint must agree with; ``seconds``: least time between two."""
        self.folder, self.identity, self.seconds = folder, dict(identity), seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        """True when the last checkpoint is long enough ago."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, state: State, arrays: Arrays) -> AnyPath:
        """Write a checkpoint and drop all but the last two.

        Raises Mrl4recError where a value is not finite.
        """
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise Mrl4recError(
                    f"{name} is not finite after epoch {state.epoch}: no checkpoint was written",
                    where=str(self.folder),
                    todo="lower the learning rate; the last good checkpoint was kept",
                )
        number = 1 + max((_number(path) for path in self._files()), default=0)
        header = {"state": canonical(asdict(state)), "identity": canonical(self.identity)}
        body = safetensors.numpy.save(
            {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}, header
        )
        path = self.folder / f"{number:08d}-{hashlib.sha256(body).hexdigest()}.safetensors"
        write_whole(path, body)
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)
        self._last = time.monotonic()
        return path

    def load(self) -> tuple[State, Arrays]:
        """The newest whole checkpoint, or the start where there is none.

        A damaged one is passed over with a warning. One of another training (configuration, data,
        number of ranks) is refused, naming the difference.
        """
        for path in reversed(self._files()):
            found = _read(path)
            if found is None:
                log.warning("checkpoint %s is damaged: going back to the one before", path.name)
                continue
            state, identity, arrays = found
            self._check_identity(identity, path)
            log.info("resuming from %s: %s, epoch %d", path.name, state.phase, state.epoch)
            return state, arrays
        return State(), {}

    def clear(self) -> None:
        """Remove the folder: the model is finished."""
        remove(self.folder)

    def sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for path in self.folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def _files(self) -> list[AnyPath]:
        files = self.folder.glob("[0-9]" * 8 + "-*.safetensors")
        return sorted(files, key=lambda file: file.name)

    def _check_identity(self, found: Mapping[str, Any], path: AnyPath) -> None:
        expected = json.loads(canonical(self.identity))
        differences = [
            f"{name}: it has {found.get(name)!r}, asked for is {expected.get(name)!r}"
            for name in sorted({*found, *expected})
            if found.get(name) != expected.get(name)
        ]
        if differences:
            raise Mrl4recError(
                "the checkpoint belongs to another training: " + "; ".join(differences),
                where=str(path),
                todo="resume with the same request, or delete the folder to start anew",
            )


def _number(path: AnyPath) -> int:
    return int(path.name[:8])


def _read(path: AnyPath) -> tuple[State, dict[str, Any], Arrays] | None:
    body = path.read_bytes()
    if hashlib.sha256(body).hexdigest() != path.stem.partition("-")[2]:
        return None
    length = int.from_bytes(body[:8], "little")
    header = json.loads(body[8 : 8 + length])["__metadata__"]
    return (
        State(**json.loads(header["state"])),
        json.loads(header["identity"]),
        safetensors.numpy.load(body),
    )
