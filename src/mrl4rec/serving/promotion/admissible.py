"""Whether two model folders may be compared: reasons to refuse, before anything is ranked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import ModelCard

Ids = NDArray[Any]


def admissible(
    champion: AnyPath | None,
    challenger: AnyPath,
    user_ids: Ids,
    item_ids: Ids,
    split_key: str,
    *,
    since: datetime | None = None,
) -> list[str]:
    """Reasons to refuse the duel; none: it may begin.

    A folder must load (every digest, every shape, every value finite), and its ids must be the
    first of the present ones. The challenger must have been trained on the judged split, the
    champion there too, or on nothing of ``since`` (the begin of the window, UTC) or later; neither
    may have been fitted on the window. ``champion`` None: there is none yet.
    """
    sides = {"champion": champion, "challenger": challenger}
    found: list[str] = []
    for name, folder in sides.items():
        if folder is not None:
            may_be_older = name == "champion"
            problems = _problems(folder, (user_ids, item_ids), split_key, since, may_be_older)
            found += [f"the {name} {problem}" for problem in problems]
    return found


def _problems(
    folder: AnyPath,
    present: tuple[Ids, Ids],
    split_key: str,
    since: datetime | None,
    may_be_older: bool,
) -> list[str]:
    try:
        loaded = model_folder.load(folder)
    except Mrl4recError as error:
        return [f"does not load: {error.what} ({error.where or folder})"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"does not load: {error!r} ({folder})"]
    sides = zip(("user", "item"), loaded.ids, present, strict=True)
    found = [_ids_problem(side, theirs, ours) for side, theirs, ours in sides]
    found.append(_data_problem(loaded.card, split_key, since, may_be_older))
    return [problem for problem in found if problem is not None]


def _ids_problem(side: str, theirs: Ids, ours: Ids) -> str | None:
    """Where the model's ids are not the first of the present ones."""
    if len(theirs) > len(ours):
        return f"has {len(theirs):,} {side}s, and there are only {len(ours):,}"
    differ = np.flatnonzero(np.asarray(theirs) != np.asarray(ours[: len(theirs)]))
    if not len(differ):
        return None
    row = int(differ[0])
    return (
        f"has other {side} ids: row {row} is {theirs[row]!r} and should be {ours[row]!r} "
        f"({len(differ):,} rows differ)"
    )


def _data_problem(
    card: ModelCard, split_key: str, since: datetime | None, may_be_older: bool
) -> str | None:
    """Why the model cannot be judged on this window."""
    theirs = str(card.versions.get("split_key"))
    if theirs == split_key and "test" in card.folds:
        return "was fitted on the window it is to be judged by"
    until = _moment(card.trained_until)
    if since is not None and until is not None and until >= _utc(since):
        begins = f"{_utc(since):%Y-%m-%d %H:%M}"
        return f"was trained until {card.trained_until}, and the window begins {begins}"
    if theirs == split_key:
        return None
    if may_be_older and since is not None and until is not None:
        return None
    return (
        f"was trained on another data version: split {theirs[:12]}…, "
        f"the judged one is {split_key[:12]}…"
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else _utc(datetime.fromisoformat(text.replace("Z", "+00:00")))


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
