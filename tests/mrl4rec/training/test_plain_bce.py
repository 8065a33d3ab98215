"""BCE on Tools by a plain loop that shares nothing with the engines but the data and the ranking.

The paper's row is .0559 at Recall@20, which no engine comes to; this shows that it is not theirs
alone. By hand, with whole early stopping:
``python -m tests.mrl4rec.training.test_plain_bce SPLITS 1``.
Shapes: P pairs, B pairs of a batch, K negatives of each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import softplus

from mrl4rec import training
from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation.ranking.evaluate import recall_at
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.scorers import from_arrays
from mrl4rec.training.request import TrainRequest
from tests.benchmarks.probes.pairs import interactions
from tests.benchmarks.probes.training import SPLIT

BATCH, DIM, RATE, L2 = 2048, 64, 1e-3, 1e-4
EVERY, PATIENCE = 5, 10
NAMES = ("user_vectors", "item_vectors")
Ints = NDArray[np.int64]


class Plain:
    """BCE with the paper authors' settings (docs/methods.md), as one would write it down first."""

    def __init__(self, data: Interactions, seed: int, negatives: int = 1) -> None:
        self.data, self.negatives = data, negatives
        self.seen, self.truth = data.csr("train", "valid"), data.csr("test")
        self.rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        sizes = (data.n_users, data.n_items)
        self.tables = [torch.nn.init.xavier_uniform_(torch.empty(n, DIM)) for n in sizes]
        self.adam = torch.optim.Adam([t.requires_grad_() for t in self.tables], lr=RATE)
        self.users_P = np.repeat(np.arange(data.n_users), self.seen.degrees)
        self.items_P = self.seen.indices.astype(np.int64)
        self.keys = np.sort(self.users_P * data.n_items + self.items_P)

    def epoch(self) -> None:
        """Each pair once, in batches; the last one, not full, is dropped."""
        order = self.rng.permutation(len(self.users_P))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            batch = order[begin : begin + BATCH]
            u, i = self.users_P[batch], self.items_P[batch]
            j = self._unseen(np.repeat(u, self.negatives)).reshape(-1, self.negatives)
            users, items = self.tables
            wanted, others = users[u] * items[i], users[u][:, None] * items[j]
            squares = sum((t[x] ** 2).sum() for t, x in ((users, u), (items, i), (items, j)))
            loss = softplus(-wanted.sum(1)).mean() + softplus(others.sum(2)).mean()
            self.adam.zero_grad()
            # torch leaves backward without types
            (loss + L2 / 2 / BATCH * squares).backward()  # type: ignore[no-untyped-call]
            self.adam.step()

    def recall(self, k: int) -> float:
        """On test, training items masked."""
        return recall_at(
            from_arrays(dict(zip(NAMES, self.tables, strict=True))), self.seen, self.truth, k
        )

    def _unseen(self, users: Ints) -> Ints:
        """An item for each user, drawn again as long as it is one of the user's own."""
        drawn = self.rng.integers(0, self.data.n_items, len(users))
        while (seen := np.isin(users * self.data.n_items + drawn, self.keys)).any():
            drawn[seen] = self.rng.integers(0, self.data.n_items, seen.sum())
        return drawn


def search(plain: Plain, epochs: int = 300) -> tuple[int, float, float]:
    """The best epoch by Recall@10 on test, as the authors stop; Recall@10 and @20 there."""
    best, left = (0, 0.0, 0.0), PATIENCE
    for epoch in range(epochs):
        plain.epoch()
        if epoch % EVERY:
            continue
        found = epoch, plain.recall(10), plain.recall(20)
        best, left = (found, PATIENCE) if found[1] >= best[1] else (best, left - 1)
        if not left:
            break
    return best


@pytest.mark.slow
def test_a_plain_loop_comes_to_what_the_engine_does(real_data: Path, settings: Settings) -> None:
    """In 26 epochs, within four standard deviations (.0009 a seed) of two single seeds."""
    data = interactions("split", str(real_data / "author-splits" / "tool"))
    asked = TrainRequest(resolve("BCE"), seed=1, protocol="paper", epochs=26)
    commit = training.run("bce", SPLIT, asked, settings, data=lambda: data)
    ours = model_folder.load(settings.storage.model_dir("bce", commit.key))[0]
    plain = Plain(data, seed=1)
    *_, theirs = search(plain, 26)
    vectors = {name: getattr(ours, name) for name in NAMES}
    found = recall_at(from_arrays(vectors), plain.seen, plain.truth, 20)
    assert found == pytest.approx(theirs, abs=4 * 2**0.5 * 0.0009)


def main() -> None:
    """``SPLITS SEED [NEGATIVES]``"""
    folder, seed, *more = sys.argv[1:]
    plain = Plain(interactions("split", folder), int(seed), *map(int, more))
    epoch, at_10, at_20 = search(plain)
    print(f"seed {seed}: best epoch {epoch}, Recall@10 {at_10:.4f}, Recall@20 {at_20:.4f}")


if __name__ == "__main__":
    main()
