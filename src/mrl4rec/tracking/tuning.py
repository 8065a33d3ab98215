"""Records of a tuning: one run a study, under it one for each setting that was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrl4rec.tracking.identity import text
from mrl4rec.tracking.record import RunRecord, experiment_of
from mrl4rec.tracking.runs import curves, run_name

if TYPE_CHECKING:
    from mrl4rec.training.tuning import Trial, Tuning


def tuning_run(tuning: Tuning, start_time: float, end_time: float) -> RunRecord:
    """The parent: what was searched, and what came of it. A study gone on with is the same run."""
    metrics = [("trials", float(tuning.tried), 0), ("pruned", float(tuning.pruned), 0)]
    name = f"valid_{tuning.metric.replace('@', '_')}"
    if tuning.best is not None:
        metrics.append((name, tuning.best.value, 0))
    if tuning.default is not None:
        metrics.append((f"{name}_default", tuning.default, 0))
    said = {**_said(tuning), "searched": tuning.searched}
    return RunRecord(
        key=tuning.study,
        experiment=experiment_of(tuning.dataset),
        name=f"tuning · {run_name(tuning.method, tuning.levels, tuning.seed)}",
        params={k: text(v) for k, v in said.items()},
        tags={"kind": "tuning", "best": " ".join(f"--set {flag}" for flag in tuning.flags)},
        metrics=metrics,
        start_time=start_time,
        end_time=end_time,
    )


def trial_run(tuning: Tuning, trial: Trial, end_time: float) -> RunRecord:
    """One setting, nested under its study."""
    own = {k: v for k, v in trial.method.as_dict().items() if k != "name"}
    value = f"valid_{tuning.metric.replace('@', '_')}"
    final = [] if trial.value is None else [(f"{value}_best", trial.value, 0)]
    return RunRecord(
        key=f"{tuning.study}:{trial.number}",
        experiment=experiment_of(tuning.dataset),
        parent_key=tuning.study,
        name=f"trial {trial.number} · {trial.state}",
        params={k: text(v) for k, v in {**_said(tuning), **own}.items()},
        tags={"kind": "trial", "state": trial.state, "detail": text(trial.detail)},
        metrics=[*final, *curves(trial.history)],
        start_time=end_time - trial.seconds,
        end_time=end_time,
    )


def _said(tuning: Tuning) -> dict[str, Any]:
    return {
        "dataset": tuning.dataset,
        "method": tuning.method,
        "levels": tuning.levels,
        "seed": tuning.seed,
        "protocol": "valid",
        "split": tuning.split,
    }
