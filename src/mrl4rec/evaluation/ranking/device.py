"""Search with torch tensors, on a GPU; it runs on ``torch`` CPU tensors too, where it is tested.

Users go through in blocks of one size, padded, so that a matrix product sees the same shape (and
rounds the same) however many users are asked for. Items stand in the order of ties, and score and
place are selected as one 64-bit integer, because ``torch.topk`` promises no order among equals.

Shapes: B users of a block, I items, W widths, K list length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.ranking.cpu import check_finite, not_finite
from mrl4rec.evaluation.ranking.topk import Lists, Query, Users, tie_order
from mrl4rec.kernels.csr import Csr
from mrl4rec.kernels.devices import exact_products
from mrl4rec.models.scorers import (
    CountModel,
    FactorModel,
    InterestModel,
    ItemItemModel,
    Scorer,
)

BLOCK_SCORES = 1 << 23
"""Scores of a block: 32 MB, and twice that again to select."""
MOST_USERS = 1024
BYTES_PER_SCORE = 24


class DeviceSearcher:
    """Any scorer on a torch device. ``device``: ``cuda``, ``cuda:1`` …, or ``torch-cpu``."""

    def __init__(self, model: Scorer, query: Query, device: str) -> None:
        self.model, self.query = model, query
        self.device = _device(device)
        self.order, _ = tie_order(model.n_items)
        self.each = model.n_interests if isinstance(model, InterestModel) else 1
        block_scores = max(1, self.each * model.n_items)
        self.block = int(np.clip(BLOCK_SCORES // block_scores, 1, MOST_USERS))
        self.bytes_per_user = len(query.widths) * query.k * 8
        self.bytes_fixed = self.block * block_scores * BYTES_PER_SCORE
        self.parts = self._load()
        self.seen, self.histories = self._rows()

    def search(self, users_B: Users) -> Lists:
        """The lists of these users."""
        with torch.inference_mode(), exact_products():
            found = [
                self._block(users_B[begin : begin + self.block])
                for begin in range(0, len(users_B), self.block)
            ]
        places = torch.cat([items for items, _ in found]).cpu().numpy()
        scores = torch.cat([scores for _, scores in found]).cpu().numpy()
        items = np.where(places >= 0, self.order[places], np.int32(-1))
        return Lists(items, scores)

    def _rows(self) -> tuple[_Rows, _Rows | None]:
        """Items left out of each list, by their place, and histories where scores sum them."""
        places: NDArray[Any] = np.argsort(self.order)  # the inverse of a permutation
        seen = _Rows(self.query.seen, places[self.query.seen.indices], self.device)
        if isinstance(self.model, ItemItemModel) and self.parts:
            history = self.model.history
            return seen, _Rows(history, history.indices, self.device)
        return seen, None

    def _load(self) -> list[torch.Tensor]:
        """The model's tensors on the device, items in the order of ties."""
        model = self.model
        if isinstance(model, FactorModel):
            check_finite(model.user_vectors, model.item_vectors)
            arrays = [model.user_vectors, model.item_vectors[self.order]]
        elif isinstance(model, InterestModel):
            check_finite(model.user_interests, model.item_vectors)
            arrays = [model.user_interests, model.item_vectors[self.order]]
        elif isinstance(model, CountModel):
            arrays = [model.counts.astype(np.float32)[self.order]]
        elif isinstance(model, ItemItemModel) and isinstance(model.weights, np.ndarray):
            arrays = [model.weights[:, self.order]]
        else:
            arrays = []
        return [torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in arrays]

    def _block(self, users: Users) -> tuple[torch.Tensor, torch.Tensor]:
        """Places (B, W, K), −1 where there is none, and scores of one block of users."""
        rows, columns, _ = self.seen.of(users)
        padded = np.resize(users, self.block)
        scores = torch.zeros(self.block * self.each, self.model.n_items, device=self.device)
        picked, low = [], 0
        for width in self.query.widths:
            scores = self._add(scores, padded, low, width)
            best = scores.view(self.block, self.each, -1).amax(dim=1) if self.each > 1 else scores
            best[rows, columns] = -torch.inf
            picked.append(self._select(best[: len(users)]))
            low = width
        places = torch.stack([place for place, _ in picked], dim=1)
        return places, torch.stack([score for _, score in picked], dim=1)

    def _add(self, scores: torch.Tensor, users: Users, low: int, high: int) -> torch.Tensor:
        """Scores at width ``high``, given those at width ``low``; a row for each vector."""
        model = self.model
        if isinstance(model, FactorModel | InterestModel):
            vectors, items = self.parts
            cut = vectors[torch.from_numpy(users).to(self.device)][..., low:high]
            return scores.addmm_(cut.reshape(len(scores), -1), items[:, low:high].T)
        if isinstance(model, CountModel):
            return scores + self.parts[0]
        if self.histories is not None:
            _, items, begins = self.histories.of(users)
            bag = torch.nn.functional.embedding_bag
            return bag(items, self.parts[0], begins, mode="sum")
        rows = np.asarray(model.scores(users, high or None), dtype=np.float32)[:, self.order]
        if np.isnan(rows).any():
            raise not_finite("the scores")
        return torch.from_numpy(rows).to(self.device)

    def _select(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The best K places of each row and their scores."""
        n_items = scores.shape[1]
        bits = (scores + 0.0).view(torch.int32)  # −0 becomes 0
        word = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
        later = torch.arange(n_items - 1, -1, -1, device=self.device)
        best = torch.topk((word << 32) + later, self.query.k, dim=1).values
        places = n_items - 1 - (best & 0xFFFFFFFF)
        values = scores.gather(1, places)
        return torch.where(values > -torch.inf, places, -1), values


class _Rows:
    """A sparse set of pairs on the device, where the rows of a block of users are put together.

    The host only adds up how many there are: it waits for nothing.
    """

    def __init__(self, rows: Csr, columns: NDArray[Any], device: torch.device) -> None:
        """``columns`` stand for ``rows.indices``, one by one."""
        self.device, self.degrees = device, rows.degrees
        self.begins = torch.from_numpy(rows.indptr[:-1].astype(np.int64)).to(device)
        self.columns = torch.from_numpy(columns.astype(np.int32)).to(device)

    def of(self, users: Users) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(row in the block, column) of each pair of these users, and where each row's begin."""
        counts = self.degrees[users]
        total = int(counts.sum())
        counts_B = torch.from_numpy(counts).to(self.device)
        begins_B = counts_B.cumsum(0) - counts_B
        block = torch.arange(len(users), device=self.device)
        rows = torch.repeat_interleave(block, counts_B, output_size=total)
        shift_B = self.begins[torch.from_numpy(users).to(self.device)] - begins_B
        pairs = torch.arange(total, device=self.device) + shift_B[rows]
        return rows, self.columns[pairs].to(torch.int64), begins_B


def _device(name: str) -> torch.device:
    if name == "torch-cpu":
        return torch.device("cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device {name} was asked for, but torch sees no GPU", todo="--device cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}", todo="cpu or cuda") from error
