"""MLflow through one door: a record is spooled to disk, then pushed, once."""

from mrl4rec.tracking.record import COMMON, RunRecord, experiment_of
from mrl4rec.tracking.runs import benchmark_run, model_run, retraining_run
from mrl4rec.tracking.tracker import Tracker
from mrl4rec.tracking.tuning import trial_run, tuning_run
from mrl4rec.tracking.view import run_link, view_link

__all__ = [
    "COMMON",
    "RunRecord",
    "Tracker",
    "benchmark_run",
    "experiment_of",
    "model_run",
    "retraining_run",
    "run_link",
    "trial_run",
    "tuning_run",
    "view_link",
]
