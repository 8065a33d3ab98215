"""Search with several vectors a user: a list for each vector, merged.

An item of the best k over all of a user's vectors is among the best k of the vector it is nearest
to: what stands before it there stands before it in the merged list too. So merged lists of k are
exact, and of shorter ones, of p items, the first p places are.

Shapes: B users, K vectors a user, R = B·K rows, W widths, N places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.ranking.cpu import Base, FactorSearcher
from mrl4rec.evaluation.ranking.topk import Lists, Query, Searcher, Users
from mrl4rec.kernels.merge import merge
from mrl4rec.models.scorers import InterestModel, Scorer


class InterestSearcher(Base):
    """The best inner products over a user's vectors, all widths in one pass, on the CPU."""

    def __init__(self, model: InterestModel, query: Query, memory: int, n_threads: int) -> None:
        flat, self.each = model.flat(), model.n_interests
        single = replace(query, k=min(query.per_list or query.k, model.n_items))
        self.rows = FactorSearcher(flat.user_vectors, flat.item_vectors, single, memory, n_threads)
        super().__init__(model.n_items, query, n_threads, self.rows.lanes)
        self.bytes_per_user += self.each * self.rows.bytes_per_user
        self.bytes_fixed += n_threads * model.n_items * 8

    def scratch(self) -> tuple[Any, Any]:
        """One thread's working memory."""
        return self.rows.scratch()

    def search(self, users_B: Users) -> Lists:
        """The lists of these users."""
        return self.spread(users_B, self._run)

    def _run(self, users_B: Users, keys: Any, rows: Any, lists: Lists) -> None:
        rows_R = (users_B[:, None] * self.each + np.arange(self.each)).reshape(-1)
        single = self.rows.empty(len(rows_R))
        self.rows.run(rows_R, keys, rows, single, self.each)
        shape = (len(users_B), self.each, *single.items_BWK.shape[1:])
        merge(*(part.reshape(shape) for part in single), self.ties[1], *lists)


class WidthByWidth:
    """One search a width, for models whose prefixes are no prefixes of one another."""

    def __init__(self, engines: Sequence[Searcher]) -> None:
        self.engines = engines
        self.bytes_per_user = sum(engine.bytes_per_user for engine in engines)
        self.bytes_fixed = max(engine.bytes_fixed for engine in engines)  # one after another

    def search(self, users_B: Users) -> Lists:
        """The lists of these users."""
        found = [engine.search(users_B) for engine in self.engines]
        return Lists(*(np.concatenate(parts, axis=1) for parts in zip(*found, strict=True)))


def inner_products(model: Scorer, query: Query) -> list[tuple[Scorer, Query]]:
    """Models that rank by plain inner products, and the widths for which each stands for ``model``.

    A model other than one of interests stands for itself. Raises UsageError where lists of single
    vectors (``per_list``) are asked for and there are none.
    """
    if query.per_list is not None and (
        not isinstance(model, InterestModel) or model.pooling != "max" or query.per_list < 1
    ):
        raise UsageError(
            f"lists of {query.per_list} items for each vector of a user cannot be merged with a "
            f"model of kind {model.kind}",
            todo="ask for 1 item or more, of a model with several vectors a user and pooling max",
        )
    if not isinstance(model, InterestModel):
        return [(model, query)]
    parts = [(model, query)]
    if model.normalised:
        parts = [(model.cut(width), replace(query, widths=(width,))) for width in query.widths]
    return [(part.summed() if part.pooling == "sum" else part, asked) for part, asked in parts]
