"""Draws: a pure function of their place, never seen, uniform, the same in numba and torch."""

from __future__ import annotations

import hashlib

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mrl4rec.core.hashing import SALT_DRAW, SALT_ORDER, chain, permutation, xavier
from mrl4rec.kernels import draws, draws_torch
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.models.negatives import Place, Sampler

CPU = torch.device("cpu")


def rows(degrees: list[int], n_items: int, seed: int = 0) -> Csr:
    """Users with so many seen items each."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(len(degrees)), degrees)
    items = [rng.choice(n_items, degree, replace=False) for degree in degrees]
    return csr(users, np.concatenate([*items, np.empty(0, int)]).astype(int), len(degrees), n_items)


def drawn(seen: Csr, users: np.ndarray, levels: int, n: int, place: Place) -> np.ndarray:
    prefix = np.uint64(place.prefix())
    return draws.drawn(
        users, seen.indptr, seen.indices, seen.n_columns, levels, n, prefix, place.first
    )


def drawn_by_torch(seen: Csr, users: np.ndarray, levels: int, n: int, place: Place) -> np.ndarray:
    indptr, indices = torch.from_numpy(seen.indptr), torch.from_numpy(seen.indices)
    keys = draws_torch.seen_keys(indptr, indices, seen.n_columns)
    return draws_torch.drawn(
        torch.from_numpy(users),
        indptr,
        keys,
        seen.n_columns,
        levels,
        n,
        place.word(),
        place.first,
    ).numpy()


def by_definition(seen: Csr, user: int, place: Place, example: int, level: int, draw: int) -> int:
    """The draw as documented, a retry at a time, in Python integers."""
    taken = set(seen.row(user).tolist())
    at = (place.seed, SALT_DRAW, place.step, example, level, draw)
    for retry in range(draws.MAX_RETRIES):
        item = (chain(*at, retry) >> 32) * seen.n_columns >> 32
        if item not in taken:
            return item
    unseen = [item for item in range(seen.n_columns) if item not in taken]
    return unseen[(chain(*at, draws.MAX_RETRIES) >> 32) * len(unseen) >> 32]


@given(
    degrees=st.lists(st.integers(0, 29), min_size=1, max_size=12),
    seed=st.integers(-(2**63), 2**63 - 1),
    step=st.integers(0, 2**40),
    first=st.integers(0, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_numba_torch_and_the_definition_draw_the_same(
    degrees: list[int], seed: int, step: int, first: int
) -> None:
    seen, place = rows(degrees, 30), Place(seed, step, first)
    users = np.arange(len(degrees))
    found = drawn(seen, users, 2, 3, place)
    assert np.array_equal(found, drawn_by_torch(seen, users, 2, 3, place))
    for (user, level, draw), item in np.ndenumerate(found):
        assert item == by_definition(seen, user, place, first + user, level, draw)
        assert item not in seen.row(user)


def test_a_share_of_the_batch_draws_what_the_whole_batch_draws() -> None:
    seen = rows([5] * 40, 100)
    users = np.arange(40)
    whole = drawn(seen, users, 3, 4, Place(7, 11, 0))
    part = drawn(seen, users[13:29], 3, 4, Place(7, 11, 13))
    assert np.array_equal(whole[13:29], part)


def test_steps_levels_and_draws_have_streams_of_their_own() -> None:
    seen = rows([0], 1_000_000)
    users = np.zeros(500, dtype=np.int64)
    found = np.concatenate([drawn(seen, users, 4, 4, Place(0, step, 0)).ravel() for step in (0, 1)])
    assert len(np.unique(found)) > 0.98 * found.size


@pytest.mark.parametrize("degree", [0, 3, 15, 19])
def test_draws_are_uniform_over_the_unseen_items(degree: int) -> None:
    """Chi-square; with 19 of 20 seen the retries run out and the rank decides (nothing to test)."""
    seen = rows([degree], 20)
    found = drawn(seen, np.zeros(20_000, dtype=np.int64), 1, 1, Place(3, 5, 0)).ravel()
    counts = np.bincount(found, minlength=20)
    assert counts[seen.row(0)].sum() == 0
    unseen = np.setdiff1d(np.arange(20), seen.row(0))
    if degree < 19:
        assert stats.chisquare(counts[unseen]).pvalue > 1e-3
    else:
        assert counts[unseen].tolist() == [20_000]


def test_a_user_with_few_unseen_items_is_served_uniformly() -> None:
    """997 of 1000 seen: nearly every draw ends by rank."""
    seen = rows([997], 1000)
    found = drawn(seen, np.zeros(9_000, dtype=np.int64), 1, 1, Place(1, 2, 0)).ravel()
    items, counts = np.unique(found, return_counts=True)
    assert len(items) == 3
    assert stats.chisquare(counts).pvalue > 1e-3


def vectors(n_users: int, n_items: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randn(n_users, 16, generator=generator, dtype=dtype),
        torch.randn(n_items, 16, generator=generator, dtype=dtype),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", [(16,), (2, 4, 16)])
def test_both_keep_the_hardest(dtype: torch.dtype, widths: tuple[int, ...]) -> None:
    seen = rows([7] * 300, 80)
    sampler = Sampler(seen, widths, 16, CPU)
    user_vectors, item_vectors = vectors(300, 80, dtype)
    users, place = torch.arange(300), Place(9, 4, 100)
    fused = sampler.choose(users, user_vectors, item_vectors, place)
    tensors = sampler.choose_tensors(users, user_vectors, item_vectors, place)
    candidates = torch.from_numpy(drawn(seen, users.numpy(), len(widths), 16, place))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for level, width in enumerate(widths):
        scores = torch.einsum(
            "bd,bnd->bn", user_vectors[:, :width], item_vectors[candidates[:, level], :width]
        )
        best = scores.max(dim=1).values
        for chosen in (fused, tensors):
            own = (user_vectors[:, :width] * item_vectors[chosen[:, level], :width]).sum(1)
            assert torch.allclose(own, best, rtol=0, atol=tolerance)
    assert (fused != tensors).float().mean() < 0.01
    if dtype == torch.float64:
        assert torch.equal(fused, tensors)


def test_ties_go_to_the_lower_draw() -> None:
    seen = rows([2] * 50, 40)
    sampler = Sampler(seen, (4, 16), 8, CPU)
    zeros = torch.zeros(50, 16), torch.zeros(40, 16)
    users, place = torch.arange(50), Place(0, 0, 0)
    first = drawn(seen, users.numpy(), 2, 8, place)[:, :, 0]
    assert np.array_equal(sampler.choose(users, *zeros, place).numpy(), first)
    assert np.array_equal(sampler.choose_tensors(users, *zeros, place).numpy(), first)


def test_threads_do_not_change_the_choice() -> None:
    seen = rows([7] * 500, 80)
    sampler = Sampler(seen, (2, 16), 16, CPU)
    args = (torch.arange(500), *vectors(500, 80, torch.float32), Place(1, 1, 0))
    before = numba.get_num_threads()
    many = sampler.choose(*args)
    try:
        numba.set_num_threads(1)
        assert torch.equal(sampler.choose(*args), many)
    finally:
        numba.set_num_threads(before)


def test_a_user_who_has_seen_everything_is_not_open() -> None:
    assert rows([4, 3, 0], 4).open_rows.tolist() == [False, True, True]


def test_golden_integers() -> None:
    """Change these only together with ``training.request.CODE``: a stage key promises its bits."""
    users, items = zip(
        *[(user, item) for user in range(4) for item in range(6 * user)], strict=True
    )
    seen = csr(np.array(users), np.array(items), 4, 20)
    found = drawn(seen, np.arange(4), 2, 3, Place(2022, 77, 5))
    order = permutation(1000, 2022, SALT_ORDER, 3)
    table = xavier(7, 4, 2022, 1).astype(np.float32)
    digests = [
        hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:16]
        for a in (found, order, table)
    ]
    assert digests == ["ba16f105cfe4976d", "cd2fde2a7fc00abd", "d92e187a9f60a927"]


def test_the_golden_integers_come_from_tensors_too() -> None:
    users, items = zip(
        *[(user, item) for user in range(4) for item in range(6 * user)], strict=True
    )
    seen = csr(np.array(users), np.array(items), 4, 20)
    found = drawn_by_torch(seen, np.arange(4), 2, 3, Place(2022, 77, 5))
    order = draws_torch.permutation(1000, chain(2022, SALT_ORDER, 3), CPU)
    digests = [
        hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:16]
        for a in (found, order.numpy())
    ]
    assert digests == ["ba16f105cfe4976d", "cd2fde2a7fc00abd"]


@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    step=st.one_of(st.integers(0, 10), st.integers(2**31 - 3, 2**31 + 3), st.integers(0, 2**62)),
)
def test_a_step_held_on_the_device_gives_the_same_word(seed: int, step: int) -> None:
    there = Place(seed, torch.tensor(step), 0)
    word = there.word()
    assert isinstance(word, torch.Tensor)
    assert word.item() == draws_torch.signed(Place(seed, step, 0).prefix())
    assert there.prefix() == Place(seed, step, 0).word()


def test_tables_start_as_xavier_uniform() -> None:
    table = xavier(3000, 64, 0, 0)
    bound = np.sqrt(6 / 3064)
    assert np.abs(table).max() <= bound
    assert stats.kstest(table.ravel() / bound, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert not np.allclose(table, xavier(3000, 64, 0, 1))
    assert not np.allclose(table, xavier(3000, 64, 1, 0))
