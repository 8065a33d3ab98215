"""Mistakes of the public code of models with several interests that these models do not make.

Those of metrics are tested where metrics are.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.sequences import histories
from mrl4rec.models.scorers import FactorModel, InterestModel
from mrl4rec.models.sequential.base import Sequential
from mrl4rec.models.sequential.capsules import routed
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.training import TrainRequest, key
from tests.mrl4rec.models.sequential import interest_samples as sample
from tests.mrl4rec.models.sequential.interest_samples import EMPTY, LENGTH, windows
from tests.mrl4rec.models.sequential.sequence_samples import N_ITEMS

READERS = (*sample.FAMILIES, "YouTubeDNN")


def served(name: str, rows: list[list[int]], *sets: str) -> SequenceModel:
    """An untrained model, bound to these histories."""
    method = sample.small(name, *sets)
    model = sample.started(method, "float32")
    with torch.no_grad():
        arrays = {part: tensor.numpy() for part, tensor in method.vectors(model).items()}
    found = method.scorer(arrays, (None,), histories(rows, N_ITEMS))
    assert isinstance(found, SequenceModel)
    return found


def test_pitfall_4_shares_are_a_softmax_over_capsules_not_over_items() -> None:
    # Three items vote 1 (d = 1) for two capsules, logits 0. Over capsules each has half of every
    # item: z = 3/2, v = (9/4)/(13/4) = 9/13. Over items each has a third: z = 1, v = 1/2.
    votes, there = torch.ones(1, 1, 3, 1), torch.ones(1, 3, dtype=torch.bool)
    found = routed(votes, torch.zeros(1, 2, 3), there)
    assert_close(found, torch.full((1, 2, 1), 9 / 13))


def test_pitfall_4_more_items_make_a_longer_capsule() -> None:
    votes = torch.ones(1, 1, 6, 1)
    lengths = [
        routed(votes, torch.zeros(1, 2, 6), torch.arange(6)[None] < n)[0, 0, 0].item()
        for n in (1, 3, 6)
    ]
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize("name", READERS)
def test_pitfall_5_an_empty_place_contributes_nothing(name: str) -> None:
    """No row of a table stands for it: neither a vector nor a gradient comes from there."""
    model = sample.started(sample.small(name))
    table = model.net.table
    assert len(table) == N_ITEMS
    rows = windows([1, 2, 3])
    alone = model.net.encode(rows)
    alone.pow(3).sum().backward()
    assert set(table.grad.abs().sum(1).nonzero().flatten().tolist()) == {1, 2, 3}
    with torch.no_grad():
        others = torch.ones(N_ITEMS, dtype=torch.bool)
        others[[1, 2, 3]] = False
        table[others] = 99.0
    assert_close(model.net.encode(rows), alone)


def test_pitfall_5_a_pooled_mean_is_over_the_items_there_are() -> None:
    model = sample.started(sample.small("YouTubeDNN"))
    once, often = model.net.encode(windows([5], [5] * LENGTH))
    assert_close(once, often)


@pytest.mark.parametrize("name", READERS)
def test_pitfall_6_how_a_history_is_padded_does_not_matter(name: str) -> None:
    model = sample.started(sample.small(name))
    row, gap = [3, 1, 4, 1, 5], [EMPTY] * (LENGTH - 5)
    left, right, amid = (torch.tensor([r]) for r in (gap + row, row + gap, [3, *gap, 1, 4, 1, 5]))
    found = model.net.encode(left)
    assert_close(model.net.encode(right), found)
    assert_close(model.net.encode(amid), found)
    assert_close(model.net.encode(torch.cat([windows([9] * LENGTH, []), left]))[2:], found)


@pytest.mark.parametrize("name", ["ComiRec-DR", "ComiRec-SA", "MTMI"])
def test_pitfall_6_places_are_counted_from_the_newest_item(name: str) -> None:
    """What lies before does not change the place of the newest."""
    model = sample.started(sample.small(name))
    table = model.net.table
    places = model.parameters["maps" if name == "ComiRec-DR" else "places"]
    for rows in (windows([7]), windows([7, 8])):
        for part in (table, places):
            part.grad = None
        model.net.encode(rows).pow(3).sum().backward()
        used = places.grad.flatten(1).abs().sum(1).nonzero().flatten().tolist()
        n = (rows < EMPTY).sum().item()
        # one item alone has all of the attention, wherever it is
        assert used == (list(range(LENGTH - n, LENGTH)) if n > 1 or name == "ComiRec-DR" else [])


@pytest.mark.parametrize("name", ["MIND", "ComiRec-DR", "ComiRec-SA", "REMI", "MTMI"])
def test_pitfall_6_one_vector_is_the_same_as_several_of_which_there_is_one(name: str) -> None:
    model = served(name, [[1, 2, 3], [4, 5], [6]], "interests=1")
    vectors = model.encode(model.histories)
    assert vectors.shape == (3, 1, sample.DIM)
    several = InterestModel(vectors, model.item_vectors, normalised=model.method.normalised)
    one = FactorModel(vectors[:, 0], model.item_vectors)
    users = np.arange(3)
    assert np.allclose(model.scores(users), several.scores(users), atol=1e-6)
    assert np.allclose(model.scores(users), one.scores(users), atol=1e-6)


@pytest.mark.parametrize("interests", [1, 4])
@pytest.mark.parametrize("name", ["MIND", "ComiRec-DR", "ComiRec-SA", "REMI", "MTMI"])
def test_pitfall_6_no_list_holds_an_item_that_there_is_not(name: str, interests: int) -> None:
    """Padding has no column of scores, so that no list can hold it, and item 0 is an item."""
    model = served(name, [[1, 2, 3], [4]], f"interests={interests}")
    assert model.n_items == N_ITEMS
    assert model.scores(np.arange(2)).shape == (2, N_ITEMS)


@pytest.mark.parametrize("name", ["MIND", "ComiRec-SA", "MTMI"])
def test_pitfall_7_the_batch_size_is_a_setting_and_in_the_stage_key(
    name: str, settings: Settings
) -> None:
    """It changes the figures by itself, so models are compared at one."""
    split = Commit("split", "ef" * 32, "splits", 0)

    def found(method: Sequential) -> str:
        return key("toy", split, TrainRequest(method, None, 3, device="cpu"), settings)

    method = sample.small(name)
    assert method.as_dict()["batch"] == 64
    assert found(method) != found(sample.small(name, "batch=128"))
