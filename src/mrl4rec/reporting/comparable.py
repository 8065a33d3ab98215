"""Which evaluated models a person means by a name or a key, and whether they can be compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mrl4rec.core.choices import PROTOCOLS
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.reporting.runs import Group, group, load_runs
from mrl4rec.reporting.warehouse import contexts, names_of

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

    A name is that of a method (``MRL-M``), of a row of the leaderboard (``MRL-M · 4,8,64``), or the
    beginning of a stage key of a model or its evaluation (that one run). The newest split on which
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
    unknown = [name for name in names if not any(_means(name, word) for word in known)]
    if unknown:
        raise UsageError(
            f"nothing was evaluated under the name {unknown[0]!r}",
            where=dataset or "the warehouse",
            todo=nearest(unknown[0], [k for k in known if not KEY.fullmatch(k)] or ["none"]),
        )
    raise refusals[0]


def _heat(
    settings: Settings,
    dataset: str,
    names: Sequence[str],
    protocol: str | None,
    known: dict[str, None],
) -> Heat | UsageError:
    """The newest split and preferred protocol that has all the names, or why there is none."""
    refusal: UsageError | None = None
    where_is: dict[str, set[str]] = {name: set() for name in names}
    found = contexts(settings, dataset, load_runs(settings, dataset))
    for context, words in zip(found, names_of(found), strict=True):
        groups = group(context.runs)
        for one in groups:
            known |= dict.fromkeys((one.method, one.label, one.name))
            known |= dict.fromkeys(
                key for run in one.runs for key in (*run.evaluations, run.model or "")
            )
        for said in (protocol,) if protocol else PROTOCOLS:
            of_it = [one for one in groups if one.protocol == said]
            sides = [_matching(name, of_it) for name in names]
            for name, side in zip(names, sides, strict=True):
                if side:
                    where_is[name].add(f"{words}, protocol {said}")
            if not all(sides):
                continue
            several = next((n for n, side in enumerate(sides) if len(side) > 1), None)
            if several is not None:
                refusal = refusal or _ambiguous(names[several], sides[several], dataset)
                continue
            return Heat(dataset, words, said, [side[0] for side in sides])
    return refusal or _apart(dataset, where_is)


def _matching(name: str, groups: Sequence[Group]) -> list[Group]:
    """Groups by their whole name first, then by label, then by method; by a key the one run."""
    for words in ("name", "label", "method"):
        hits = [one for one in groups if _means(name, getattr(one, words))]
        if hits:
            return hits
    if not KEY.fullmatch(name.strip().lower()):
        return []
    return [
        Group(one.method, one.levels, one.protocol, one.variant, [run])
        for one in groups
        for run in one.runs
        if any(key.startswith(name) for key in (*run.evaluations, run.model or ""))
    ]


def _means(name: str, word: str) -> bool:
    said, word = name.strip().lower(), word.lower()
    return said == word or (bool(KEY.fullmatch(said)) and word.startswith(said))


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
