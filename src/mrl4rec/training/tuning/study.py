"""One study: settings proposed by Optuna, each searched on valid, the hopeless cut off early.

The first trial has the defaults, so that what is found is never worse than they are on valid.
A study's name holds the digest of all that its values hang on (split, method, levels, seed,
epochs, engine, ranges): other data or another range is another study. Optuna keeps it in SQLite in
the warehouse; the same command again goes on where it stood, a trial that was killed first.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.hashing import chain
from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import Interactions
from mrl4rec.models import Method
from mrl4rec.models.values import Span
from mrl4rec.training.interrupt import Interrupted
from mrl4rec.training.loop import Trained
from mrl4rec.training.search import search
from mrl4rec.training.tuning import store
from mrl4rec.training.tuning.space import space
from mrl4rec.training.tuning.trial import METRIC, Asked, Trial

with lazy.imports():
    import optuna

if TYPE_CHECKING:
    import optuna

STARTUP, WARMUP = 4, 3
"""No trial is cut off before so many others are complete, nor before its so-manieth look."""
SALT = 0x74756E65
ROW = "row"
"""Attribute of an Optuna trial: its row in the table ``tunings``."""
log = logging.getLogger("mrl4rec")


OnTrial = Callable[[Trial, "store.Tuning"], None]
"""Called after each trial, with the tuning as it then stands."""


def tune(
    asked: Asked,
    settings: Settings,
    data: Callable[[], Interactions],
    on_trial: OnTrial | None = None,
) -> store.Tuning:
    """Try settings until so many have been tried in all; what has been found.

    ``data`` is called where there is something to try. Raises UsageError where the method has
    nothing to tune, Interrupted after SIGTERM (the same command goes on), Mrl4recError where no
    setting could be trained.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spans = space(asked.request.method)
    folder = settings.storage.tuning_dir(asked.dataset)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=asked.study,
        storage=f"sqlite:///{(folder / 'optuna.sqlite').absolute()}",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=WARMUP),
    )
    _take_up(study, asked.request.method, spans)
    store.write(settings, asked.dataset, _rows(study))
    while (done := len(_rows(study))) < asked.trials:
        # A generator of its own for each trial: a study gone on with proposes what it would have.
        seed = chain(SALT, asked.request.seed or 0, done) % (1 << 31)
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        trial = _one(study, asked, spans, settings, data(), folder / "checkpoints" / asked.study)
        store.write(settings, asked.dataset, [store.row(asked, spans, trial)])
        tuning = store.of_study(settings, asked.dataset, asked.study)
        assert tuning is not None
        log.info("%s", _line(trial, asked.trials, tuning))
        if on_trial:
            on_trial(trial, tuning)
    found = store.of_study(settings, asked.dataset, asked.study)
    if found is None or found.best is None:
        raise Mrl4recError(
            f"none of the {asked.trials} settings of {asked.request.method.name} could be trained",
            where=f"study {asked.study}",
            todo="see the column detail of `mrl4rec tables tunings`",
        )
    return found


def _one(
    study: optuna.Study,
    asked: Asked,
    spans: dict[str, Span],
    settings: Settings,
    data: Interactions,
    folder: Path,
) -> Trial:
    """Ask for a setting, search with it, tell what came of it."""
    began = time.monotonic()
    trial = study.ask()
    method = asked.request.method.changed(**_suggested(trial, spans))
    looks: list[float] = []

    def on_look(epoch: int, value: float) -> None:
        looks.append(value)
        trial.report(value, len(looks))
        if trial.should_prune():
            raise optuna.TrialPruned

    found: Trained | None = None
    detail = None
    try:
        found = search(
            asked.split, replace(asked.request, method=method), data, settings, folder, on_look
        )
        state, value = "complete", found.best
    except optuna.TrialPruned:
        state, value = "pruned", max(looks)
    except Mrl4recError as error:
        if isinstance(error, Interrupted | UsageError):
            raise
        state, value, detail = "failed", None, error.what
    seconds = time.monotonic() - began
    epoch, history = (found.epoch, found.history) if found else (None, [])
    out = Trial(trial.number, method, state, value, epoch, seconds, history, detail)
    trial.set_user_attr(ROW, store.row(asked, spans, out))  # what is told is then never lost
    _tell(study, trial.number, state, value)
    return out


def _tell(study: optuna.Study, number: int, state: str, value: float | None) -> None:
    states = optuna.trial.TrialState
    if state == "complete":
        study.tell(number, value)
    else:
        study.tell(number, state=states.PRUNED if state == "pruned" else states.FAIL)


def _suggested(trial: optuna.Trial, spans: dict[str, Span]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, span in spans.items():
        if span.whole:
            asked = trial.suggest_int(name, int(span.low), int(span.high), log=span.log)
        else:
            asked = trial.suggest_float(name, span.low, span.high, log=span.log)
        values[name] = span.tidy(asked)
    return values


def _take_up(study: optuna.Study, method: Method, spans: dict[str, Span]) -> None:
    """Before anything else: the defaults, and whatever was under way when a process died."""
    running = optuna.trial.TrialState.RUNNING
    for trial in study.get_trials(deepcopy=False, states=(running,)):
        row = trial.user_attrs.get(ROW)
        if row is not None:  # it had come to its end
            _tell(study, trial.number, row["state"], row["value"])
            continue
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params or trial.system_attrs.get("fixed_params", {}))
    if not study.get_trials(deepcopy=False):
        defaults = method.as_dict()
        study.enqueue_trial({name: defaults[name] for name in spans})


def _rows(study: optuna.Study) -> list[dict[str, Any]]:
    """The rows of the trials that came to an end; one that was killed has none."""
    trials = study.get_trials(deepcopy=False)
    return [trial.user_attrs[ROW] for trial in trials if ROW in trial.user_attrs]


def _line(trial: Trial, trials: int, tuning: store.Tuning) -> str:
    value = "–" if trial.value is None else f"{trial.value:.4f}"
    said = json.dumps(trial.method.as_dict())
    best = "" if tuning.best is None else f", best so far {tuning.best.value:.4f}"
    return (
        f"trial {tuning.tried}/{trials} {trial.state}: {METRIC} on valid {value} "
        f"({trial.seconds:.1f} s){best}; {said}"
    )
