"""Clusters of prefixes against planted groups: known answers, and a model made to have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from mrl4rec.core.errors import UsageError
from mrl4rec.data.synthetic.spec import Planted
from mrl4rec.data.synthetic.truth import Truth
from mrl4rec.evaluation.hierarchy.clusters import agreement, clusters, contained
from mrl4rec.evaluation.hierarchy.measure import measure, planted_groups
from mrl4rec.models import model_folder
from mrl4rec.models.scorers import CountModel, FactorModel
from mrl4rec.reporting import hierarchy as report
from tests.mrl4rec.models.model_samples import saved, sparse

N, DIM = 120, 8


def test_agreement_by_hand() -> None:
    true = np.array([0, 0, 1, 1])
    assert agreement(np.array([5, 5, 2, 2]), true) == pytest.approx(1)  # names do not matter
    # One cluster says nothing. Crossed: I = 0; of the 3 equally likely ways to pair four things
    # two agree not at all and one wholly, so E[I] = ln 2 / 3, and (0 − ⅓)/(1 − ⅓) = −½.
    assert agreement(np.array([0, 0, 0, 0]), true) == pytest.approx(0)
    assert agreement(np.array([0, 1, 0, 1]), true) == pytest.approx(-0.5)


def test_contained_by_hand() -> None:
    narrow = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    inside = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert contained(narrow, inside, 0) == 1
    across = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    assert contained(narrow, across, 0) <= 0


@limits(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.integers(0, 100))
def test_labels_are_names_and_a_partition_contains_itself(labels: list[int], seed: int) -> None:
    found = np.array(labels)
    renamed = (found * 7 + 3) % 11
    assert contained(found, renamed, seed) == 1
    assert contained(renamed, found, seed) == 1


def test_clusters_are_of_directions() -> None:
    rng = np.random.default_rng(0)
    way = np.repeat(np.eye(3), 20, axis=0) + rng.normal(0, 0.02, (60, 3))
    lengths = rng.uniform(0.1, 30, (60, 1))
    assert agreement(clusters(way * lengths, 3, 1), np.repeat(np.arange(3), 20)) == 1
    with_zero = np.concatenate([way, np.zeros((1, 3))])
    assert len(clusters(with_zero, 3, 1)) == 61


def leaves() -> np.ndarray:
    return np.arange(N) % 4


def nested_vectors(rng: np.random.Generator) -> np.ndarray:
    """Two dimensions tell the two coarse groups, the next two the leaves within; the rest noise."""
    leaf = leaves()
    vectors = rng.normal(0, 0.05, (N, DIM))
    vectors[:, 0] += np.where(leaf // 2 == 0, 1, -1)
    vectors[:, 2] += np.where(leaf % 2 == 0, 1, -1)
    return vectors.astype(np.float32)


@pytest.fixture
def loaded(tmp_path: Path) -> model_folder.Loaded:
    rng = np.random.default_rng(1)
    model = FactorModel(nested_vectors(rng), nested_vectors(rng), widths=(2, 4, 8))
    return model_folder.load(saved(tmp_path / "m", model, sparse(rng, N, N, 300)))


def truth_of(loaded: model_folder.Loaded) -> Truth:
    """Groups in another order than the model's rows, and somebody the model does not know."""
    order = np.random.default_rng(2).permutation(N)
    sides, ids, leaf = [], [], []
    for side, names in (("user", loaded.ids.user_ids), ("item", loaded.ids.item_ids)):
        sides += [side] * (N + 1)
        ids += [*(str(names[at]) for at in order), f"unknown {side}"]
        leaf += [*leaves()[order].tolist(), 0]
    place = np.array(leaf)
    groups = pa.table({"side": sides, "id": ids, "group_1": (place // 2).astype(np.int32),
                       "group_2": place.astype(np.int32)})  # fmt: skip
    spec = Planted(users=N, items=N, reviews=N * 5, branching=(2, 2), reach=(0.5, 0.3, 0.2))
    return Truth(spec, Path("nowhere"), {}, {}, (), groups)


def test_a_planted_hierarchy_is_found_where_it_lies(loaded: model_folder.Loaded) -> None:
    groups = planted_groups(loaded, truth_of(loaded))
    assert groups["users"][:, 1].tolist() == leaves().tolist()
    rows = measure(loaded, groups, rotated=False)
    ami = {(r.side, r.depth, r.width): r for r in rows if r.measure == "ami"}
    for side in ("users", "items"):
        assert ami[side, 1, 2].value == pytest.approx(1)  # two dimensions tell the coarse groups
        assert ami[side, 2, 2].value < 0.9  # and cannot tell the leaves
        assert ami[side, 2, 4].value == pytest.approx(1)
        assert all(abs(ami[side, d, w].chance) < 0.15 for d in (1, 2) for w in (2, 4, 8))
    nested = {(r.side, r.width): r for r in rows if r.measure == "contained"}
    assert nested["items", 2].depth == 4
    assert nested["items", 2].value > 0.9
    assert abs(nested["items", 2].chance) < nested["items", 2].value


def test_without_truth_there_is_nesting_alone(loaded: model_folder.Loaded) -> None:
    rows = measure(loaded, None, rotated=True)
    assert {row.measure for row in rows} == {"contained"}


def test_a_model_without_vectors_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = saved(tmp_path / "p", CountModel(np.arange(6), 5), sparse(rng, 5, 6, 9))
    with pytest.raises(UsageError, match="no vectors"):
        measure(model_folder.load(folder), None, rotated=False)


def test_tables_and_figures_put_seeds_together() -> None:
    rows = [
        {"model": f"m{seed}", "method": "MRL-M", "levels": "2,4", "seed": seed, "rotated": turned,
         "side": "items", "measure": measure_, "width": width, "depth": depth, "clusters": 2,
         "value": 0.5 + 0.1 * seed, "chance": 0.01}
        for seed in (0, 1) for turned in (False, True)
        for measure_, width, depth in (("ami", 2, 1), ("ami", 4, 1), ("contained", 2, 4))
    ]  # fmt: skip
    tables = report.tables(rows)
    assert set(tables) == {"planted groups found, items", "clusters nested, items"}
    first = tables["planted groups found, items"]
    assert list(first.head) == ["model", "groups", "2", "4"]
    assert first.rows[0] == ["MRL-M · 2,4", "2", "0.5500 ± 0.0707", "0.5500 ± 0.0707"]
    assert first.rows[-1][0] == "random vectors"
    assert set(report.figures(rows)) == {"planted_items", "nested_items"}
    assert set(report.figure_tables(rows)) == set(report.figures(rows))
    assert report.figures([]) == {}
