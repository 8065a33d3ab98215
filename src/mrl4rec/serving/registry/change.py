"""Changing the champion by hand: one row of the ledger, then agreement.

Both commands may be killed anywhere and typed again: what they were asked for is then either done
already or done now, never twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrl4rec.core.errors import GateFailed, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.models.model_folder import Loaded
from mrl4rec.serving.registry import ledger, recommendations
from mrl4rec.serving.registry.agree import Agreement, bring_into_agreement
from mrl4rec.serving.registry.ledger import Entry, short
from mrl4rec.serving.registry.lists import Shape, dim
from mrl4rec.serving.registry.recommendations import ModelAmiss


@dataclass(frozen=True)
class Change:
    """What a command did."""

    entry: Entry | None
    """The row that was added; None: it was so already."""
    agreement: Agreement
    note: str
    """In words."""


def promote(
    settings: Settings,
    dataset: str,
    key: str,
    why: str,
    *,
    n: int | None = None,
    widths: Sequence[int] | None = None,
) -> Change:
    """Make the model with this stage key the champion.

    Raises GateFailed where the model is not fit to serve, ledger.Conflict where somebody else
    changed the champion meanwhile, UsageError where no reason is given.
    """
    before = ledger.champion(settings, dataset)
    if key == before:
        note = f"{short(key)} is the champion already"
        return Change(None, bring_into_agreement(settings, dataset, n=n, widths=widths), note)
    _need(why)
    loaded = fit_to_serve(settings, dataset, key)
    _possible(loaded, n, widths)
    wanted = Entry(
        decision="by_hand",
        why=why,
        challenger=key,
        champion=key,
        versions=loaded.card.versions,
    )
    entry = ledger.append(settings, dataset, wanted, before)
    note = f"{short(key)} is the champion now; before it was {short(before)}"
    return Change(entry, bring_into_agreement(settings, dataset, n=n, widths=widths), note)


def rollback(
    settings: Settings,
    dataset: str,
    why: str,
    to: int | None = None,
    *,
    n: int | None = None,
    widths: Sequence[int] | None = None,
) -> Change:
    """Go back to the champion before the present one, or to that of row ``to`` of the ledger.

    Without ``to``, a rollback on top of a rollback does nothing: typed again after it was killed
    it must not go back twice. Raises UsageError where there is nothing to go back to, GateFailed
    where the model there is not fit to serve any more, ledger.Conflict as ``promote``.
    """
    rows = ledger.entries(settings, dataset)
    if not rows:
        raise UsageError(f"{dataset!r} has no ledger: nothing was ever promoted")
    now = rows[-1].champion
    target, done = _target(rows, to)
    if done is not None:
        return Change(None, bring_into_agreement(settings, dataset, n=n, widths=widths), done)
    _need(why)
    versions = {}
    if target is not None:
        loaded = fit_to_serve(settings, dataset, target)
        _possible(loaded, n, widths)
        versions = loaded.card.versions
    wanted = Entry(decision="rolled_back", why=why, champion=target, versions=versions)
    entry = ledger.append(settings, dataset, wanted, now)
    note = f"rolled back from {short(now)} to {short(target)}"
    return Change(entry, bring_into_agreement(settings, dataset, n=n, widths=widths), note)


def _target(rows: Sequence[Entry], to: int | None) -> tuple[str | None, str | None]:
    """(the champion to go back to, why there is nothing to do)."""
    now = rows[-1].champion
    if to is not None:
        if not 0 <= to < len(rows):
            raise UsageError(
                f"the ledger has no row {to}",
                todo=f"give 0 … {len(rows) - 1}; see `mrl4rec ledger`",
            )
        target = rows[to].champion
        same = f"{short(now)} is the champion already, as it was at row {to}"
        return target, same if target == now else None
    change = next((row for row in reversed(rows) if row.champion != row.champion_before), None)
    if change is None:
        raise UsageError(
            "there is nothing to roll back: nothing was ever promoted", todo="see `mrl4rec ledger`"
        )
    if change.decision == "rolled_back":
        return now, (
            f"row {change.seq} rolled back from {short(change.champion_before)} to {short(now)} "
            "already; to go further back, name a row: --to N"
        )
    return change.champion_before, None


def fit_to_serve(settings: Settings, dataset: str, key: str) -> Loaded:
    """The model, loaded; GateFailed with the reason where it may not be the champion.

    It must load (every digest, shape and value), be of this data set, and its ids must be the
    first of the users and items of a core that passed its gate.
    """
    folder = settings.storage.model_dir(dataset, key)
    try:
        loaded = recommendations.load(folder)
    except ModelAmiss as error:
        raise _refused(
            key, f"it does not load: {error.what}", error.where or str(folder)
        ) from error
    card = loaded.card
    if (card.stage_key, card.dataset) != (key, dataset):
        said = f"{short(card.stage_key)} of {card.dataset!r}"
        raise _refused(key, f"its card is of another model, {said}", str(folder))
    if recommendations.people(settings, dataset, loaded.ids) is None:
        raise _refused(
            key,
            "its users and items are not the first of any k-core that passed its gate",
            settings.storage.table_uri(dataset, "users"),
        )
    return loaded


def _refused(key: str, reason: str, where: str) -> GateFailed:
    return GateFailed(
        f"{short(key)} was not made champion: {reason}",
        where=where,
        todo="train it again on the present tables, or choose another model",
    )


def _need(why: str) -> None:
    if not why.strip():
        raise UsageError("no reason is given", todo="say why: --why '…'; the ledger keeps it")


def _possible(loaded: Loaded, n: int | None, widths: Sequence[int] | None) -> None:
    """Refuse widths that were asked for and cannot be, before anything is written."""
    beyond = Shape(n or 1, tuple(widths or ())).beyond(loaded.card)
    if beyond:
        size = dim(loaded.card)
        raise UsageError(
            f"--widths {','.join(map(str, beyond))}: {loaded.card.method_name} has "
            f"{f'{size} dimensions' if size else 'no vectors to cut'}",
            todo=f"ask for widths below {size}" if size else "leave --widths out",
        )
