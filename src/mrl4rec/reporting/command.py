"""The command that makes the same again, put together from what the tables say of themselves."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.cut import ROTATED
from mrl4rec.models import resolve
from mrl4rec.reporting.runs import Run
from mrl4rec.reporting.warehouse import Context


def commands(settings: Settings, context: Context, *, relative: bool = False) -> list[str]:
    """One ``mrl4rec run`` for each protocol of the context's runs (or one up to the split).

    Runs of other epochs, or of other settings of one method, have a line of their own.
    ``relative``: for a page that is kept with the code, so paths are as seen from here and the
    warehouse is not named.
    """
    data = _data(settings, context, relative)
    place = [] if relative else ["--warehouse", str(settings.warehouse)]
    if not context.runs:
        return [_line(["mrl4rec", "split", *data, *place])]
    return [
        _line(["mrl4rec", "run", *data, *_models(runs), "--protocol", runs[0].protocol, *place])
        for runs in sorted(_together(context.runs), key=lambda runs: runs[0].protocol)
    ]


def _together(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that one command makes: of one protocol and number of epochs, one setting a method."""
    lines: list[list[Run]] = []
    for run in runs:
        line = next((line for line in lines if all(_agree(run, other) for other in line)), None)
        if line is None:
            lines.append([run])
        else:
            line.append(run)
    return lines


def _agree(run: Run, other: Run) -> bool:
    epochs = {_epochs(run), _epochs(other)} - {None}
    if run.protocol != other.protocol or len(epochs) > 1:
        return False
    return _method(run) != _method(other) or _overrides(run) == _overrides(other)


def _epochs(run: Run) -> int | None:
    """How many were asked for, 0 for the method's default; None where there are none to ask for."""
    card = run.card or {}
    asked = card.get("epochs_asked")
    if not isinstance(asked, int):  # a closed form, or an older card
        return None
    return 0 if asked == dict(card.get("method") or {}).get("epochs") else asked


def _data(settings: Settings, context: Context, relative: bool) -> list[str]:
    words = ["--dataset", context.dataset]
    brought = settings.downloads.absolute() / context.dataset
    ingest = context.ingest.summary if context.ingest else {}
    for source in ingest.get("sources") or ():
        if isinstance(source, Mapping) and source.get("path"):
            path = str(source["path"])
            if brought in Path(path).absolute().parents:
                continue  # the catalogue's own, brought by the name of the data set
            words += ["--source", os.path.relpath(path) if relative and "://" not in path else path]
    core = context.core.summary if context.core else {}
    if core.get("k") is not None:
        words += ["--kcore", str(core["k"])]
    if core.get("min_rating") is not None:
        words += ["--min-rating", f"{core['min_rating']:g}"]
    split = context.split.summary if context.split else {}
    if split.get("strategy"):
        words += ["--split", str(split["strategy"])]
    if split.get("strategy") == "predefined" and ingest.get("ids") != "integer":
        words += ["--split-files", "DIR"]
    if split.get("since"):
        words += ["--since", str(split["since"])]
    if split.get("split_seed"):
        words += ["--split-seed", str(split["split_seed"])]
    return words + (_sequences(context) if context.of_sequences else [])


def _sequences(context: Context) -> list[str]:
    made = context.sequences.summary if context.sequences else {}
    words = ["--sequences"] + (["--drop-repeats"] if made.get("repeats") is False else [])
    for name in ("max_length", "ties"):
        if made.get(name):
            words += [f"--{name.replace('_', '-')}", str(made[name])]
    return words


def _models(runs: Sequence[Run]) -> list[str]:
    words = ["--methods", ",".join(_once(map(_method, runs)))]
    levels = _once(run.levels for run in runs if run.levels)
    seeds, more = _seeds(runs)
    for one in levels:
        words += ["--levels", one]
    epochs = max((asked for run in runs if (asked := _epochs(run))), default=None)
    if epochs:
        words += ["--epochs", str(epochs)]
    if seeds:
        words += ["--seeds", ",".join(seeds)]
    for one in more:
        words += ["--more-seeds", one]
    for override in _once(o for run in runs for o in _overrides(run)):
        words += ["--set", override]
    widths = {width for run in runs for width in _asked_widths(run)}
    if widths:
        words += ["--widths", ",".join(map(str, sorted(widths)))]
    if any(run.rotated for run in runs):
        words.append("--rotate")
    return words


def _seeds(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """Seeds that all methods have, and ``METHOD=SEEDS`` with the others of each."""
    by_method: dict[str, list[int]] = {}
    for run in runs:
        if run.seed is not None:
            by_method.setdefault(_method(run), []).append(run.seed)
    every = _once(seed for seeds in by_method.values() for seed in seeds)
    shared = [seed for seed in every if all(seed in seeds for seeds in by_method.values())]
    if not shared:
        return list(map(str, every)), []
    more = [
        f"{method}={','.join(map(str, rest))}"
        for method, seeds in by_method.items()
        if (rest := [seed for seed in _once(seeds) if seed not in shared])
    ]
    return list(map(str, shared)), more


def _method(run: Run) -> str:
    return run.method.removesuffix(ROTATED)


def _asked_widths(run: Run) -> set[int]:
    """The widths it was evaluated at, where they are not those of its method."""
    found = {width for _, _, width in run.values if width is not None}
    return set() if found == set((run.card or {}).get("widths") or found) else found


def _overrides(run: Run) -> list[str]:
    """The method's values that are not its defaults, as ``--set`` takes them."""
    method: Mapping[str, Any] = dict((run.card or {}).get("method") or {})
    try:
        defaults = resolve(_method(run)).as_dict()
    except UsageError:  # a method of an older version
        return []
    return [
        f"{_method(run)}.{name}={value}"
        for name, value in method.items()
        if name != "name" and name in defaults and defaults[name] != value
    ]


def _once(words: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(words))


def _line(words: Sequence[str]) -> str:
    return " ".join(word if word == "DIR" else shlex.quote(word) for word in words)
