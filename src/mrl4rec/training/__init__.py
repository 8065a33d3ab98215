"""Training: from a committed split and a method to a finished model folder."""

from __future__ import annotations

from mrl4rec.training.request import TrainRequest, key
from mrl4rec.training.stage import run, takes_part

__all__ = ["TrainRequest", "key", "run", "takes_part"]
