"""Which candidate is taken: by brute force, in loops and tensors alike, a level or all levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mrl4rec.core.hashing import SALT_DRAW, chain
from mrl4rec.kernels import rules_torch
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.kernels.rules import AMONG_TOP, NEAREST, POLE, Rule
from mrl4rec.models import METHODS, Trained
from mrl4rec.models.negatives import BestSampler, Place, PopularSampler, Sampler, shared
from mrl4rec.models.samplers import KINDS, PerLevel
from tests.mrl4rec.models.pair_samples import batch, learner, small

CPU = torch.device("cpu")
WIDTHS, N = (2, 6), 7
TAKE_ONE = [word for word, kind in KINDS.items() if kind.takes_one]


def seen(n_users: int = 20, n_items: int = 30, seed: int = 0) -> Csr:
    rng = np.random.default_rng(seed)
    users, items = (rng.random((n_users, n_items)) < 0.3).nonzero()
    return csr(users, items, n_users, n_items)


def vectors(n_users: int = 20, n_items: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    made = [torch.randn(n, 6, generator=rng, dtype=torch.float64) for n in (n_users, n_items)]
    return made[0], made[1]


def nearest(scores: list[float], own: float, rule: Rule) -> int:
    wanted = rule.beta * max(own + rule.alpha, POLE) ** rule.power
    gaps = [abs(score - wanted) for score in scores]
    return gaps.index(min(gaps))


def among_top(scores: list[float], place: Place, example: int, level: int, rule: Rule) -> int:
    """The rank is drawn where the n-th draw would be."""
    word = chain(place.seed, SALT_DRAW, place.step, example, level, len(scores), 0)
    rank = (word >> 32) * min(rule.top, len(scores)) >> 32
    return sorted(range(len(scores)), key=lambda draw: -scores[draw])[rank]


@pytest.mark.parametrize(
    "rule",
    [
        Rule(NEAREST, 1, 1.0, 0.1, -1.0),
        Rule(NEAREST, 1, 0.2, 0.7, -2.5),
        Rule(AMONG_TOP, 3, 0.0, 0.0, 0.0),
        Rule(AMONG_TOP, 99, 0.0, 0.0, 0.0),
    ],
)
def test_loops_tensors_and_the_definition_take_the_same(rule: Rule) -> None:
    data, (users_UD, items_ID), place = seen(), vectors(), Place(4, 17, 100)
    sampler = Sampler(data, WIDTHS, N, CPU, rule)
    users = torch.arange(20)
    positives = torch.tensor([int(data.row(user)[0]) for user in range(20)])
    found = sampler.choose(users, users_UD, items_ID, place, positives)
    drawn = sampler.draw(users, place)
    assert torch.equal(drawn, sampler.draw_tensors(users, place))
    by_tensors = rules_torch.chosen(
        users, positives, users_UD, items_ID, drawn, WIDTHS, rule, place.word(), place.first
    )
    assert torch.equal(found, by_tensors)
    for (user, level), item in np.ndenumerate(found.numpy()):
        width = WIDTHS[level]
        score = (items_ID[:, :width] @ users_UD[user, :width]).tolist()
        scores = [score[i] for i in drawn[user, level].tolist()]
        if rule.kind == NEAREST:
            draw = nearest(scores, score[int(positives[user])], rule)
        else:
            draw = among_top(scores, place, place.first + user, level, rule)
        assert item == drawn[user, level, draw]


def test_a_badly_fitted_pair_gets_the_hardest_candidate_and_a_well_fitted_one_an_easy_one() -> None:
    rule = Rule(NEAREST, 1, 1.0, 0.1, -1.0)
    scores = torch.tensor([[-0.5, 0.02, 0.4]] * 3)
    own = torch.tensor([-5.0, -1.0, 4.0])  # beyond the pole, at it, and a target of 0.02
    words = torch.zeros(3, dtype=torch.int64)
    assert rules_torch.pick(scores, own, rule, words).tolist() == [2, 2, 1]


@given(
    top=st.integers(1, 9),
    scores=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=2, max_size=6),
    word=st.integers(-(2**63), 2**63 - 1),
)
@settings(max_examples=30, deadline=None)
def test_what_is_drawn_is_among_the_top(top: int, scores: list[float], word: int) -> None:
    rule = Rule(AMONG_TOP, top, 0.0, 0.0, 0.0)
    row, words = torch.tensor([scores]), torch.tensor([word])
    draw = int(rules_torch.pick(row, torch.zeros(1), rule, words))
    better = sum(score > scores[draw] for score in scores)
    assert better < min(top, len(scores))


@given(
    step=st.integers(0, 10**6),
    kind=st.sampled_from([word for word, kind in KINDS.items() if kind.takes_one]),
)
@settings(max_examples=15, deadline=None)
def test_per_level_with_one_level_is_the_sampler_itself(step: int, kind: str) -> None:
    """For every kind that takes one item: the same loss, to the bit."""
    of_kind = {"uniform": "BPR", "popular": "BPR-pop", "dns": "BPR-D"}
    method = small(of_kind.get(kind, {"dns_mn": "DNS-MN", "ahns": "AHNS"}.get(kind, "")))
    nested = replace(method, objective="mrl", negatives=PerLevel(method.negatives))
    one, other = learner(method), learner(nested, levels=(8,))
    assert nested.scored_at((8,)) == method.scored_at(None)
    pairs = batch(one.task, step)
    assert torch.equal(one.loss(*pairs, step), other.loss(*pairs, step))


def test_every_level_of_lhans_looks_at_its_own_slice() -> None:
    one = learner(small("LHANS"))
    users, positives = batch(one.task)
    tables = [table.detach() for table in one.parts.model.pooled()]
    sampler, place = one.parts.model.sampler, Place(5, 2, 0)
    found = sampler.choose(users, *tables, place, positives)
    assert found.shape == (len(users), 2)
    narrow = [table.clone() for table in tables]
    narrow[1][:, 2:] = 7.0  # what the first level does not see
    changed = sampler.choose(users, *narrow, place, positives)
    assert torch.equal(found[:, 0], changed[:, 0])
    assert not torch.equal(found[:, 1], changed[:, 1])


def test_popular_items_are_drawn_in_proportion_to_a_power_of_their_pairs() -> None:
    degrees = [1, 4, 16, 0, 64]
    users = np.concatenate([np.arange(degree) for degree in degrees])
    items = np.repeat(np.arange(5), degrees)
    data = csr(users, items, 65, 5)  # user 64 has seen nothing
    sampler = PopularSampler(data, (6,), 1, CPU, power=0.5)
    drawn = sampler.draw(torch.full((20_000,), 64), Place(1, 2, 0)).flatten()
    counts = np.bincount(drawn.numpy(), minlength=5)
    assert counts[3] == 0
    expected = np.array([1, 2, 4, 8]) / 15 * 20_000
    assert stats.chisquare(counts[[0, 1, 2, 4]], expected).pvalue > 1e-3
    first = sampler.choose(torch.tensor([0]), *vectors(65, 5), Place(1, 2, 0))
    assert first.tolist() == [[3]]  # all that user 0 has not seen has no pairs


def test_the_best_draws() -> None:
    data, (users_UD, items_ID), place = seen(), vectors(), Place(4, 17, 3)
    users = torch.arange(20)
    every = Sampler(data, (6,), N, CPU).draw(users, place)[:, 0]
    rule = Rule(AMONG_TOP, 3, 0.0, 0.0, 0.0)
    best = BestSampler(data, (6,), N, CPU, rule).choose(users, users_UD, items_ID, place)
    for user in range(20):
        scores = (items_ID[every[user]] @ users_UD[user]).tolist()
        order = sorted(range(N), key=lambda draw, scores=scores: -scores[draw])[:3]
        assert best[user].tolist() == every[user, order].tolist()


def test_shared_draws_are_those_of_a_place_that_no_example_has() -> None:
    found = shared(Place(4, 17, 0), 50, 1000, CPU).tolist()
    assert found == [
        (chain(4, SALT_DRAW, 17, -1, 0, draw, 0) >> 32) * 1000 >> 32 for draw in range(50)
    ]
    assert found == shared(Place(4, torch.tensor(17), 9), 50, 1000, CPU).tolist()
    assert found != shared(Place(4, 18, 0), 50, 1000, CPU).tolist()


def test_who_has_seen_what() -> None:
    data = seen()
    sampler = Sampler(data, (6,), 1, CPU)
    users, items = torch.tensor([3, 3, 19]), torch.arange(30)
    found = sampler.seen_among(users, items)
    for row, user in enumerate(users.tolist()):
        assert np.flatnonzero(found[row].numpy()).tolist() == data.row(user).tolist()
    assert torch.equal(found, rules_torch.seen_among(users, items, sampler._keys, 30))
    again = torch.cat([items.flip(0), items[5:9], items[5:9]])  # a batch repeats its items
    assert torch.equal(sampler.seen_among(users, again), found[:, again])
    nothing = Sampler(csr(np.empty(0, int), np.empty(0, int), 20, 30), (6,), 1, CPU)
    assert not rules_torch.seen_among(users, items, nothing._keys, 30).any()


def test_rules_of_the_rows() -> None:
    found = {name: m.negatives.rule() for name, m in METHODS.items() if isinstance(m, Trained)}
    assert found["AHNS"] == Rule(NEAREST, 1, 1.0, 0.1, -1.0) == found["LHANS"]
    assert found["DNS-MN"][:2] == (AMONG_TOP, 2)
    assert METHODS["AHNS"].drawn(None) == 32
