"""Tuning on equal terms: so many settings of each method, judged on valid alone."""

from mrl4rec.training.tuning.store import Tuning, best_settings, tunings
from mrl4rec.training.tuning.study import Asked, Trial, tune

__all__ = ["Asked", "Trial", "Tuning", "best_settings", "tune", "tunings"]
