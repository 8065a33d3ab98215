"""Bringing into agreement: whatever follows the ledger is made to say what the ledger says.

Each step looks first and acts only where something differs, so that it may be killed anywhere, and
is run again by whoever comes next: a retraining, a promotion, ``mrl4rec registry``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mrl4rec.core.locks import locked
from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder
from mrl4rec.serving.registry import ledger, recommendations
from mrl4rec.serving.registry.aliases import Aliases
from mrl4rec.serving.registry.ledger import Entry, short
from mrl4rec.tracking import Tracker

log = logging.getLogger("mrl4rec.serving.registry")


@dataclass(frozen=True)
class Agreement:
    """What the ledger says, and whether the rest says the same."""

    dataset: str
    champion: str | None
    """Stage key of the model in service, by the ledger; None: there is none."""
    alias_ok: bool
    """MLflow's aliases name the ledger's models."""
    recommendations_ok: bool
    """The table has the champion's lists, for the users there are now."""
    model_version: str | None = None
    """MLflow's version of the champion."""
    recommendations_version: int | None = None
    """Delta version of the table, whatever model it is of; None: there is none."""
    repaired: list[str] = field(default_factory=list)
    """What differed and was changed."""
    problems: list[str] = field(default_factory=list)
    """What differs still, and why."""

    @property
    def ok(self) -> bool:
        """Ledger, aliases and recommendations agree."""
        return self.alias_ok and self.recommendations_ok


def bring_into_agreement(
    settings: Settings,
    dataset: str,
    *,
    n: int | None = None,
    widths: Sequence[int] | None = None,
    tracker: Tracker | None = None,
) -> Agreement:
    """Make the aliases and the recommendations follow the ledger; done again it changes nothing.

    ``n`` and ``widths`` are the shape of the recommendations; None: as the settings were set, else
    as the table has it. Where MLflow is away or the champion's folder is gone, that is said, and
    what cannot follow is left as it is. Raises Mrl4recError where the ledger itself is damaged or
    the recommendations cannot be written.
    """
    rows = ledger.entries(settings, dataset)
    if not rows:
        return Agreement(dataset, None, alias_ok=True, recommendations_ok=True)
    with locked(settings.storage.lock_file(dataset, "registry")):
        rows = ledger.entries(settings, dataset)
        champion = rows[-1].champion
        wanted = {"champion": champion, "challenger": challenger(settings, dataset, rows)}
        followed = Aliases(settings, dataset, tracker).follow(wanted)
        table = _recommend(settings, dataset, champion, n, widths)
    for text in table.problems:
        log.warning("%s: %s", dataset, text)
    return Agreement(
        dataset,
        champion,
        alias_ok=followed.ok,
        recommendations_ok=table.ok,
        model_version=followed.versions.get("champion"),
        recommendations_version=table.version,
        repaired=[*followed.repaired, *table.repaired],
        problems=[*([followed.problem] if followed.problem else []), *table.problems],
    )


def challenger(settings: Settings, dataset: str, rows: Sequence[Entry]) -> str | None:
    """The last model that challenged the present champion and was kept out, while it is there.

    A refused one is none: it was not fit to be judged.
    """
    for row in reversed(rows):
        if row.changes:
            return None
        if row.decision == "kept" and row.challenger is not None:
            there = model_folder.is_complete(settings.storage.model_dir(dataset, row.challenger))
            return row.challenger if there and row.challenger != row.champion else None
    return None


class _Table(NamedTuple):
    """What became of the recommendations."""

    version: int | None
    ok: bool
    repaired: list[str]
    problems: list[str]


def _recommend(
    settings: Settings,
    dataset: str,
    champion: str | None,
    n: int | None,
    widths: Sequence[int] | None,
) -> _Table:
    before = recommendations.version(settings, dataset)
    now = recommendations.state(settings, dataset)
    shape = recommendations.shape_of(settings, now, n, widths)
    if champion is None:
        if before is None:
            return _Table(None, True, [], [])
        done = recommendations.clear(settings, dataset, shape)
        return _Table(done.version, True, _changed(before, done.version, "emptied"), [])
    of = now.summary["model"] if now else None
    try:
        made = recommendations.run(settings, dataset, champion, shape)
    except recommendations.ModelAmiss as error:
        problem = (
            f"the model folder of the champion {short(champion)} does not load ({error.what}): "
            f"recommendations are left as they are, of {short(of)}"
        )
        return _Table(before, of == champion, [], [problem])
    if made is None:
        problem = (
            f"no k-core that passed its gate goes on from the users and items of the champion "
            f"{short(champion)}: recommendations are left as they are, of {short(of)}"
        )
        return _Table(before, False, [], [problem])
    return _Table(made.version, True, _changed(before, made.version, f"of {short(champion)}"), [])


def _changed(before: int | None, after: int, what: str) -> list[str]:
    return [] if before == after else [f"recommendations {what}, version {after}"]
