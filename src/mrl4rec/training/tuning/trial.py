"""What is tuned, and one setting that was tried."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.core.stage import Commit, json_digest
from mrl4rec.models import Method
from mrl4rec.training import TrainRequest
from mrl4rec.training.tuning.space import space

METRIC = "recall@10"
"""On valid; it chooses the epoch too."""


@dataclass(frozen=True)
class Asked:
    """What to tune, and how long."""

    dataset: str
    split: Commit
    request: TrainRequest
    """The training that is tuned: method with what is fixed, levels, seed, epochs, device."""
    trials: int
    """Settings tried in all, those of earlier calls counted."""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"--trials is {self.trials}", todo="give at least 1")

    @property
    def levels(self) -> str | None:
        """Level set as text; None for a method without."""
        levels = self.request.levels if self.request.method.has_levels else None
        return ",".join(map(str, levels)) if levels else None

    @property
    def study(self) -> str:
        """The study's name."""
        request = self.request
        said = {
            "split": self.split.key,
            "method": request.method.as_dict(),
            "levels": self.levels,
            "seed": request.seed,
            "epochs": request.epochs,
            "engine": request.engine,
            "device": request.device,
            "space": {name: asdict(span) for name, span in space(request.method).items()},
            "metric": METRIC,
        }
        return f"{request.method.name}-{json_digest(said)[:16]}"


@dataclass(frozen=True)
class Trial:
    """One setting that was tried."""

    number: int
    method: Method
    state: str
    value: float | None
    epoch: int | None
    seconds: float
    history: list[dict[str, Any]]
    detail: str | None = None
