"""The window of a retraining: by hand, and what holds for any pairs."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.serving.promotion.window import AS_IN_SERVICE, TRAINED_AGAIN, Window, choose

DAY = np.timedelta64(1, "D")
START = np.datetime64("2014-01-01", "us")


def days(*offsets: float) -> np.ndarray:
    """Times so many days after 2014-01-01."""
    return np.array([START + np.timedelta64(round(d * 86_400_000_000), "us") for d in offsets])


def at(window: Window) -> str:
    return window.since.strftime("%m-%d %H:%M")


TEN = days(*range(10))
"""One pair a day, 1 to 10 January, by users 0 … 9."""
USERS = np.arange(10)


@pytest.mark.parametrize(
    ("asked", "until", "least", "since", "mode", "users"),
    [
        # after the 4th come 6 pairs; the newer 3 begin on the 8th
        ("auto", "2014-01-04T00:00:00Z", 3, "01-08 00:00", AS_IN_SERVICE, 3),
        # the newer half has 3 users, all 6 days have 6
        ("auto", "2014-01-04T00:00:00Z", 4, "01-05 00:00", AS_IN_SERVICE, 6),
        # 1 pair came after the 9th: the newest 4 pairs, which it was trained on
        ("auto", "2014-01-09T00:00:00Z", 4, "01-07 00:00", TRAINED_AGAIN, 4),
        ("auto", "2014-01-10T00:00:00Z", 2, "01-09 00:00", TRAINED_AGAIN, 2),
        ("auto", None, 2, "01-09 00:00", TRAINED_AGAIN, 2),
        ("auto", None, 5, "01-06 00:00", TRAINED_AGAIN, 5),
        ("champion", "2014-01-04T00:00:00Z", 4, "01-05 00:00", AS_IN_SERVICE, 6),
        ("25%", "2014-01-04T00:00:00Z", 2, "01-08 00:00", AS_IN_SERVICE, 3),
        ("30%", "2014-01-04T00:00:00Z", 2, "01-08 00:00", AS_IN_SERVICE, 3),
        ("30%", "2014-01-08T00:00:00Z", 2, "01-08 00:00", TRAINED_AGAIN, 3),
        ("2d", "2014-01-04T00:00:00Z", 2, "01-09 00:00", AS_IN_SERVICE, 2),
        ("6d", None, 2, "01-05 00:00", TRAINED_AGAIN, 6),
    ],
)
def test_by_hand(
    asked: str, until: str | None, least: int, since: str, mode: str, users: int
) -> None:
    window = choose(TEN, USERS, asked, until, least)
    assert (at(window), window.mode, window.users) == (since, mode, users)
    assert window.pairs == users
    assert window.since.tzinfo is UTC


def test_days_of_data_that_know_the_hour_are_cut_at_the_hour() -> None:
    times = TEN + np.timedelta64(6, "h")
    assert at(choose(times, USERS, "2d", None, 1)) == "01-09 06:00"
    mixed = days(0, 1.25, 2, 3)
    assert at(choose(mixed, np.arange(4), "1d", None, 1)) == "01-04 00:00"


def test_users_are_counted_once() -> None:
    """Of the newest five pairs three are of one user: three users need the newest five."""
    users = np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 7])
    window = choose(TEN, users, "auto", "2014-01-10T00:00:00Z", 3)
    assert (at(window), window.users, window.pairs) == ("01-06 00:00", 3, 5)


def test_a_card_that_cut_off_the_fraction_of_its_last_second() -> None:
    """A pair half a second behind what the card says may have been trained on."""
    times = START + np.array([0, 500_000, 1_000_000], dtype="timedelta64[us]")
    window = choose(times, np.arange(3), "champion", "2014-01-01T00:00:00Z", 1)
    assert window.pairs == 1


@pytest.mark.parametrize("asked", ["", "10", "0%", "100%", "-3d", "half", "10 %", "d", "1e3d"])
def test_what_is_no_window(asked: str) -> None:
    with pytest.raises(UsageError, match="window"):
        choose(TEN, USERS, asked, None, 1)


@pytest.mark.parametrize(
    ("asked", "until", "least", "said"),
    [
        ("champion", None, 1, "no champion"),
        ("champion", "2014-01-10T00:00:00Z", 1, "nothing came after"),
        ("champion", "2013-12-31T00:00:00Z", 1, "nothing is left to train on"),
        ("champion", "2014-01-09T00:00:00Z", 2, "holds 1 users, and 2 are wanted"),
        ("10%", None, 2, "holds 1 users, and 2 are wanted"),
        ("99%", None, 2, "nothing is left to train on"),
        ("10d", None, 2, "nothing is left to train on"),
        ("auto", None, 6, "fewer than 6 users"),
        ("auto", "2014-01-09T00:00:00Z", 6, "only 1 users came back"),
    ],
)
def test_too_few_to_judge_by_is_said(asked: str, until: str | None, least: int, said: str) -> None:
    with pytest.raises(Mrl4recError, match=said):
        choose(TEN, USERS, asked, until, least)


def test_pairs_without_a_time() -> None:
    times = TEN.copy()
    times[3] = np.datetime64("NaT")
    with pytest.raises(UsageError, match="1 of 10 pairs have no time"):
        choose(times, USERS, "auto", None, 1)
    with pytest.raises(Mrl4recError, match="no pair"):
        choose(TEN[:0], USERS[:0], "auto", None, 1)


PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), min_size=1, max_size=60)
ASKED = st.sampled_from(["auto", "champion", "5%", "50%", "1d", "7d", "0.5d"])


@given(PAIRS, ASKED, st.none() | st.integers(0, 30), st.integers(1, 12), st.randoms())
def test_what_holds_for_any_pairs(
    pairs: list[tuple[int, int]], asked: str, until: int | None, least: int, chance: object
) -> None:
    times, users = days(*(d for d, _ in pairs)), np.array([u for _, u in pairs])
    end = None if until is None else days(until)[0].astype(object).replace(tzinfo=UTC)
    try:
        window = choose(times, users, asked, end, least)
    except Mrl4recError:
        return
    since = np.datetime64(window.since.replace(tzinfo=None), "us")
    test = times >= since
    # Every instant is on one side, and what is told is what is there.
    assert since in times
    assert window.pairs == test.sum()
    assert window.users == len(set(users[test].tolist()))
    # Enough to judge by, and something to train on.
    assert window.users >= least
    assert not test.all()
    # A champion is judged as it serves only where it never trained on the window.
    trained_on = False if end is None else bool((times[test] <= days(until)[0]).any())
    assert (window.mode == AS_IN_SERVICE) == (end is not None and not trained_on)
    # The order of the pairs says nothing.
    order = list(range(len(pairs)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    assert choose(times[order], users[order], asked, end, least) == window


@given(PAIRS, st.integers(0, 30), st.integers(1, 12))
def test_auto_leaves_a_challenger_something_new_where_it_can(
    pairs: list[tuple[int, int]], until: int, least: int
) -> None:
    times, users = days(*(d for d, _ in pairs)), np.array([u for _, u in pairs])
    end = datetime.fromisoformat(str(days(until)[0])).replace(tzinfo=UTC)
    after = times > days(until)[0]
    try:
        window = choose(times, users, "auto", end, least)
    except Mrl4recError:
        return
    since = np.datetime64(window.since.replace(tzinfo=None), "us")
    if window.mode == AS_IN_SERVICE:
        assert window.pairs >= after.sum() / 2  # the newer half, and its ties
    else:
        # It had to be widened: all that came after was not enough, and no instant less is.
        assert len(set(users[after].tolist())) < least
        assert len(set(users[times > since].tolist())) < least
