"""A trained sequential model: what it makes of a history, whoever else is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from mrl4rec.data.sequences import histories
from tests.mrl4rec.models.sequential.sequence_samples import untrained

N_ITEMS = 300
FAMILIES = ("YouTubeDNN", "ComiRec-DR", "ComiRec-SA", "REMI", "MIND", "MTMI", "GRU4Rec", "SASRec",
            "eSASRec")  # fmt: skip


def rows(n: int, longest: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(N_ITEMS, size=rng.integers(longest + 1)).tolist() for _ in range(n)]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_history_has_the_same_vectors_alone_and_among_others(name: str) -> None:
    had = histories(rows(150, 40), N_ITEMS)
    model = untrained(name, rows(1, 5), N_ITEMS, 16)
    whole = model.encode(had)
    assert np.isfinite(whole).all()
    assert (np.abs(whole).sum(axis=(1, 2)) > 0).tolist() == (had.lengths > 0).tolist()
    for first, n in ((0, 1), (17, 2), (40, 33), (0, 150)):
        some = np.arange(first, first + n)[::-1]
        np.testing.assert_array_equal(model.encode(had.of(some)), whole[some])


def test_only_the_newest_items_are_read() -> None:
    model = untrained("YouTubeDNN", [[0]], N_ITEMS)
    long = [[*range(60)]]
    reach = model.method.length
    newest = [long[0][-reach:]]
    found = [model.encode(histories(given, N_ITEMS)) for given in (long, newest)]
    np.testing.assert_array_equal(*found)
    assert model.encode(histories([], N_ITEMS)).shape == (0, 1, 8)


def test_alone_only_those_asked_for_have_a_history() -> None:
    model = untrained("ComiRec-SA", [[1, 2], [], [3]], N_ITEMS)
    one = model.alone(np.array([2]))
    assert one.histories.lengths.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(one.scores(np.array([2])), model.scores(np.array([2])))
    assert not one.scores(np.array([0])).any()
