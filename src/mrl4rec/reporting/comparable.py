"""Which evaluated models a person means by a name or a key, and whether they can be compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mrl4rec.core.choices import PROTOCOLS
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.reporting.caveats import SIGN
from mrl4rec.reporting.runs import Group, Run, at_full_width, group, load_runs
from mrl4rec.reporting.warehouse import contexts, names_of
from mrl4rec.serving import models

KEY = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True)
class Heat:
    """Groups of one data set, split and protocol: what may be held against each other."""

    dataset: str
    split: str
    """Core and split in words."""
    protocol: str
    groups: list[Group]


def heats(
    settings: Settings,
    names: Sequence[str],
    *,
    dataset: str | None = None,
    protocol: str | None = None,
) -> list[Heat]:
    """For each data set in which all the names are known, the groups that they name.

    A name is that of a method (``MRL-M``) or of a row of the leaderboard (``MRL-M · 4,8,64``), with
    all seeds; or any other name of one model (``serving.models``). The newest split on which
    all were evaluated is taken, and of several protocols ``clean``. Raises UsageError where a name
    is unknown or means several rows, and where they share no data set, split or protocol.
    """
    if len({name.strip().lower() for name in names}) < 2:
        raise UsageError("two models are needed to compare", todo="mrl4rec compare EASE MRL-M")
    found: list[Heat] = []
    refusals: list[UsageError] = []
    known: dict[str, None] = {}
    for place in settings.storage.chosen([dataset] if dataset else None):
        heat = _heat(settings, place, names, protocol, known)
        if isinstance(heat, UsageError):
            refusals.append(heat)
        else:
            found.append(heat)
    if found:
        return found
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"nothing was evaluated under the name {unknown[0]!r}",
            where=dataset or "the warehouse",
            todo=nearest(unknown[0], [word for word in known if word not in names] or ["none"]),
        )
    raise refusals[0]


def _heat(
    settings: Settings,
    dataset: str,
    names: Sequence[str],
    protocol: str | None,
    known: dict[str, None],
) -> Heat | UsageError:
    """The newest split and preferred protocol that has all the names, or why there is none.

    ``known`` is filled with the names of rows, and those of ``names`` that some row has.
    """
    refusal: UsageError | None = None
    where_is: dict[str, set[str]] = {name: set() for name in names}
    found = contexts(settings, dataset, load_runs(settings, dataset))
    for context, words in zip(found, names_of(found), strict=True):
        groups = group(context.runs)
        for one in groups:
            known |= dict.fromkeys((one.method, _plain(one.label), _plain(one.name)))
        for said in (protocol,) if protocol else PROTOCOLS:
            of_it = [one for one in groups if one.protocol == said]
            sides = [_matching(settings, dataset, name, of_it) for name in names]
            for name, side in zip(names, sides, strict=True):
                if side:
                    known[name] = None
                    where_is[name].add(f"{words}, protocol {said}")
            if not all(sides):
                continue
            several = next((n for n, side in enumerate(sides) if len(side) > 1), None)
            if several is not None:
                refusal = refusal or _ambiguous(names[several], sides[several], dataset)
                continue
            return Heat(dataset, words, said, [side[0] for side in sides])
    return refusal or _apart(dataset, where_is)


def _matching(settings: Settings, dataset: str, name: str, groups: Sequence[Group]) -> list[Group]:
    """Groups by their whole name first, then by label, then by method; else single runs.

    A model's key means it as it was trained, not rotated.
    """
    said = _plain(name.strip().lower())
    for words in ("name", "label", "method"):
        hits = [one for one in groups if said == _plain(getattr(one, words).lower())]
        if hits:
            return hits
    runs = [(one, run) for one in groups for run in one.runs]
    chosen = [(one, run) for one, run in runs if _has_key(run, said)]
    if not chosen:
        keys = {one.key for one in models.matching(settings, name, dataset)}
        chosen = [(one, run) for one, run in runs if run.model in keys]
    single = [Group(o.method, o.levels, o.protocol, o.variant, [run]) for o, run in chosen]
    return at_full_width(single)


def _plain(name: str) -> str:
    """A row's name without the sign of a reconstruction."""
    return name.replace(SIGN, "")


def _has_key(run: Run, said: str) -> bool:
    keys = (*run.evaluations, run.model or "")
    return bool(KEY.fullmatch(said)) and any(key.startswith(said) for key in keys)


def _ambiguous(name: str, side: Sequence[Group], dataset: str) -> UsageError:
    rows = "; ".join(f"{one.name!r} ({one.runs[0].stage_key[:12]})" for one in side)
    return UsageError(
        f"{name!r} means {len(side)} rows of the leaderboard",
        where=dataset,
        todo=f"name one by its row or key: {rows}",
    )


def _apart(dataset: str, where_is: dict[str, set[str]]) -> UsageError:
    said = "; ".join(f"{n}: {' and '.join(sorted(at)) or 'nowhere'}" for n, at in where_is.items())
    return UsageError(
        "these models were not evaluated on the same users: they share no split and protocol",
        where=f"{dataset} ({said})",
        todo="run them together: mrl4rec run --methods A,B with one --split and --protocol",
    )
