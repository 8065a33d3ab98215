"""Tuning on equal terms: so many settings of each method, judged on valid alone."""

from mrl4rec.tuning.kept import Tuning, best_settings, tunings
from mrl4rec.tuning.study import Asked, Trial, tune

__all__ = ["Asked", "Trial", "Tuning", "best_settings", "tune", "tunings"]
