"""Popularity with a half-life, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrl4rec.data.interactions import from_pairs
from mrl4rec.models import fit, resolve
from mrl4rec.models.scorers import CountModel


def test_a_pair_one_half_life_old_counts_half() -> None:
    data = from_pairs([(0, 0), (0, 1), (1, 0)], [(1, 1)], [(2, 1)], 3, 3)
    # in (user, item) order: u0 i0 on day 0, u0 i1 on day 20, u1 i0 on day 10, u1 i1 on day 20;
    # the test pair is the newest, and is not looked at
    days = np.array([0, 20, 10, 20, 400], dtype="timedelta64[D]")
    times = (np.datetime64("2014-01-01") + days).astype("datetime64[us]")
    data = replace(data, reviewed_at_P=times)
    method = resolve("RecentPop", ["RecentPop.half_life=10"])
    model = fit(method, data, ("train", "valid"))
    assert isinstance(model, CountModel)
    assert model.counts.tolist() == [0.25 + 0.5, 1 + 1, 0]
    train = fit(method, data, ("train",))
    assert isinstance(train, CountModel)
    assert train.counts.tolist() == [0.75, 1, 0]


def test_a_pair_without_a_time_counts_as_the_oldest() -> None:
    data = from_pairs([(0, 0), (0, 1), (1, 2)], [], [], 2, 3)
    times = np.array(["2014-01-01", "NaT", "2014-01-11"], dtype="datetime64[us]")
    method = resolve("RecentPop", ["RecentPop.half_life=10"])
    model = fit(method, replace(data, reviewed_at_P=times), ("train",))
    assert isinstance(model, CountModel)
    assert model.counts.tolist() == [0.5, 0.5, 1]
