"""The window: the newest stretch of time, on which champion and challenger are compared.

Everything before its first moment T (``since``) may be trained on, nothing from T on; pairs of one
instant are on one side. Shapes: P pairs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError, UsageError

AS_IN_SERVICE = "as_in_service"
"""The champion never trained on the window: it is judged as it serves."""
TRAINED_AGAIN = "trained_again"
"""It did, or may have: its recipe is trained again before the window. Also where there is none."""

FIRST_SHARE = 0.2
"""Of all pairs, the window where there is no champion yet."""
MOST_SHARE = 0.5
"""Of all pairs, the most that a window chosen by itself takes: the rest is to train on."""
TODO = "take a wider --window, wait for more data, or set MRL4REC_RETRAIN_MIN_USERS lower"

Times = NDArray[Any]
"""(P,) datetime64 in UTC."""


@dataclass(frozen=True)
class Window:
    """Where the test begins, and how the champion comes to be judged on it."""

    since: datetime
    """T, in UTC: pairs of this moment and later are the test."""
    mode: str
    """``as_in_service`` or ``trained_again``."""
    users: int
    """Different users with pairs in the window."""
    pairs: int
    why: str
    """In words, for people."""


@dataclass(frozen=True)
class _Line:
    """All pairs in the order of time."""

    times_P: Times
    users_P: NDArray[np.integer]

    @staticmethod
    def of(times: Times, users: NDArray[np.integer]) -> _Line:
        order = np.argsort(times, kind="stable")
        return _Line(times[order], users[order])

    def first_of(self, place: int) -> int:
        """The place of the first pair of the same instant."""
        return int(np.searchsorted(self.times_P, self.times_P[place], side="left"))

    def users_from(self, place: int) -> int:
        return len(np.unique(self.users_P[place:]))

    def place_with_users(self, wanted: int) -> int | None:
        """The latest place from which on there are so many users; None where there are fewer."""
        _, last = np.unique(self.users_P[::-1], return_index=True)
        if len(last) < wanted:
            return None
        behind = int(np.sort(last)[wanted - 1])  # from the end
        return len(self.users_P) - 1 - behind


def check(asked: str) -> None:
    """Raise UsageError for a window that is none: ``auto``, ``champion``, ``10%`` or ``30d``."""
    _parse(asked)


def choose(
    times_P: Times,
    users_P: NDArray[np.integer],
    asked: str,
    trained_until: str | datetime | None,
    min_users: int,
) -> Window:
    """The window of a retraining.

    ``asked``: ``auto`` is the newer half, by pairs, of what came after the champion's
    ``trained_until``, so that a challenger trained before it has seen something new; all of that
    where the half holds fewer than ``min_users`` users; else the newest stretch that holds as many,
    however old. ``champion`` is all that came after ``trained_until``, ``10%`` the newest share of
    the pairs, ``30d`` the newest days. ``trained_until`` None: there is no champion, or nothing is
    known of when it was trained. Raises UsageError for a window that cannot be had, Mrl4recError
    where too few users are in it to judge by, or nothing before it.
    """
    kind, amount = _parse(asked)
    if not len(times_P):
        raise Mrl4recError("there is no pair to choose a window from", todo=TODO)
    if np.isnat(times_P).any():
        raise UsageError(
            f"{int(np.isnat(times_P).sum()):,} of {len(times_P):,} pairs have no time, and a "
            "retraining is judged on the newest",
            todo="retrain on dumps that have times; `mrl4rec run` needs none",
        )
    line = _Line.of(times_P.astype("datetime64[us]"), users_P)
    fresh = _after(line, trained_until)
    if kind == "auto":
        place, why = _auto(line, fresh, min_users)
    elif kind == "champion":
        place, why = _champion(line, fresh)
    else:
        place, why = _newest(line, kind, amount)
    return _window(line, place, fresh, why, min_users)


def _parse(asked: str) -> tuple[str, float]:
    if asked in ("auto", "champion"):
        return asked, 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%|d)", asked)
    if match is None or float(match[1]) <= 0 or (match[2] == "%" and float(match[1]) >= 100):
        raise UsageError(
            f"{asked!r} is no window",
            where="--window",
            todo="auto, champion, a share of the pairs like 10%, or days like 30d",
        )
    return match[2], float(match[1])


def _after(line: _Line, trained_until: str | datetime | None) -> int | None:
    """The place of the first pair after the champion's training; None without a champion."""
    if trained_until is None:
        return None
    moment = trained_until
    if isinstance(moment, str):
        whole_seconds = "." not in moment
        moment = datetime.fromisoformat(moment)
        if whole_seconds:  # the card may have cut off what came behind the second
            moment += timedelta(microseconds=999_999)
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    until = np.datetime64(zoned.astimezone(UTC).replace(tzinfo=None), "us")
    return int(np.searchsorted(line.times_P, until, side="right"))


def _auto(line: _Line, fresh: int | None, min_users: int) -> tuple[int, str]:
    n = len(line.times_P)
    if fresh is None:
        place = line.first_of(n - _at_least_one(FIRST_SHARE * n))
        if line.users_from(place) >= min_users:
            return place, f"no champion yet: the newest {FIRST_SHARE:.0%} of the pairs"
        return _widened(line, min_users, "no champion yet")
    if fresh < n:
        half = line.first_of(fresh + (n - fresh) // 2)
        for place, name in ((half, "the newer half"), (fresh, "all")):
            if line.users_from(place) >= min_users:
                return place, f"{name} of what came after the champion was trained"
        came = f"only {line.users_from(fresh)} users came back since the champion was trained"
    else:
        came = "nothing came after the champion was trained"
    return _widened(line, min_users, came)


def _widened(line: _Line, min_users: int, why: str) -> tuple[int, str]:
    found = line.place_with_users(min_users)
    n = len(line.times_P)
    if found is None or n - (place := line.first_of(found)) > MOST_SHARE * n:
        raise Mrl4recError(
            f"{why}, and the newest {MOST_SHARE:.0%} of the pairs hold fewer than {min_users} "
            "users: too few to judge by",
            todo=TODO,
        )
    return place, f"{why}: the newest pairs of {min_users} users"


def _champion(line: _Line, fresh: int | None) -> tuple[int, str]:
    if fresh is None:
        raise UsageError(
            "there is no champion whose training could end somewhere",
            where="--window champion",
            todo="take --window auto for the first one",
        )
    if fresh == len(line.times_P):
        raise UsageError(
            "nothing came after the champion was trained",
            where="--window champion",
            todo="take --window auto, which trains the champion's recipe again",
        )
    return fresh, "all that came after the champion was trained"


def _newest(line: _Line, kind: str, amount: float) -> tuple[int, str]:
    times, n = line.times_P, len(line.times_P)
    if kind == "%":
        place = line.first_of(n - _at_least_one(amount / 100 * n))
        return place, f"the newest {amount:g} % of the pairs"
    step = _resolution(times)
    length = max(step, np.timedelta64(round(amount * 86_400_000_000), "us"))
    place = int(np.searchsorted(times, times[-1] - length + step, side="left"))
    return place, f"the newest {amount:g} days"


def _window(line: _Line, place: int, fresh: int | None, why: str, min_users: int) -> Window:
    users, pairs = line.users_from(place), len(line.times_P) - place
    since = line.times_P[place].astype(object).replace(tzinfo=UTC)
    if place == 0:
        raise Mrl4recError(
            f"the window, {why}, holds all {pairs:,} pairs: nothing is left to train on",
            where="--window",
            todo="take a smaller one",
        )
    if users < min_users:
        raise Mrl4recError(
            f"the window, {why}, holds {users} users, and {min_users} are wanted to judge by",
            where=f"--window; it begins {since:%Y-%m-%d %H:%M:%S} UTC",
            todo=TODO,
        )
    served = fresh is not None and place >= fresh
    return Window(since, AS_IN_SERVICE if served else TRAINED_AGAIN, users, pairs, why)


def _resolution(times: Times) -> np.timedelta64:
    """The step of the data's clock: a day where every time is a midnight, else a microsecond."""
    days = bool((times == times.astype("datetime64[D]")).all())
    return np.timedelta64(86_400_000_000 if days else 1, "us")


def _at_least_one(pairs: float) -> int:
    """So many pairs, rounded up, forgiving what multiplying by a share leaves behind the point."""
    return max(1, int(np.ceil(pairs - 1e-9 * max(1.0, pairs))))
