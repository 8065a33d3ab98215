"""Champion and challenger ranked for the same users over the same candidates.

Every user with test pairs is ranked by every model over the items of the core that the user had not
had before the window. One pass gives the lists at all widths; the slices of items are read off the
lists at full width: the same list, judged by those of the user's test items that lie in the slice.

Shapes: E users judged, B of them in a chunk, S models of a side, W widths, K places, G slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.data.interactions import Interactions
from mrl4rec.data.sequences import Histories
from mrl4rec.evaluation.ranking.metrics import PER_USER, per_user
from mrl4rec.evaluation.ranking.search import search
from mrl4rec.evaluation.ranking.topk import Query, columns
from mrl4rec.evaluation.slices import POPULARITY, truth_by_popularity
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.histories import bound, reads, reads_order
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.scorers import FactorModel, Scorer
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.serving.promotion.per_user import METRICS, Duel, K, Recipe, Side, Values
from mrl4rec.serving.promotion.served import Served
from mrl4rec.tables.splits import BEFORE

NDCG, RECALL = (PER_USER.index(name.partition("@")[0]) for name in METRICS)


def duel(
    champions: Sequence[Loaded],
    challengers: Sequence[Loaded],
    data: Interactions,
    *,
    device: str = "cpu",
    memory_mb: int = 512,
    n_threads: int | None = None,
) -> Duel:
    """Rank both sides, each one or several seeds of one recipe, for all users with test pairs.

    ``data`` is the judged split: train, valid and histories lie before the window and are left out
    of the lists, test is the window. In a split of sequences, models that score by histories read
    those that end where the window begins. Raises UsageError where a side has no model or mixes
    recipes, or where a model reads sequences and the split has none, Mrl4recError where nobody has
    test pairs or a model has more users or items than the data.
    """
    recipes = [_recipe(side) for side in (champions, challengers)]
    before = data.sequences.before("test") if data.sequences else None
    sides = [[_bound(one, before) for one in side] for side in (champions, challengers)]
    field = Field.of(data, shared_widths([*champions, *challengers]))
    found = [
        Side(recipe, *_stacked([field.rank(one, device, memory_mb, n_threads) for one in side]))
        for recipe, side in zip(recipes, sides, strict=True)
    ]
    users = field.users_E.astype(np.int32)
    history = field.seen.degrees[field.users_E].astype(np.int32)
    return Duel(data.split_key, users, history, field.widths, *found)


def _bound(loaded: Loaded, before: Histories | None) -> Loaded:
    """The model with the histories before the window, of items that it knows."""
    model = loaded.model
    if before is not None and reads(model):
        return loaded._replace(model=bound(model, before.within(model.n_items)))
    if reads_order(model):
        raise UsageError(
            f"{loaded.card.method_name} reads sequences, and the window is of a split of pairs",
            where=f"model {loaded.card.stage_key[:12]}",
            todo="judge it on a split of sequences: mrl4rec split --sequences --split since",
        )
    return loaded


def shared_widths(models: Sequence[Loaded]) -> tuple[int | None, ...]:
    """None, the whole model, and the widths that all models have, without the whole of all."""
    shared = set.intersection(*({w for w in one.model.widths if w} for one in models))
    vectors = (FactorModel, SequenceModel)
    whole = {one.model.dim for one in models if isinstance(one.model, vectors)}
    return (None, *sorted(width for width in shared if {width} != whole))


@dataclass(frozen=True, eq=False)
class Field:
    """Who is judged, on what."""

    users_E: NDArray[np.int64]
    seen: Csr
    truths: list[Csr]
    """The test items, and those of them in each slice of items."""
    offered_I: NDArray[np.bool_]
    """Items of the core: those with a pair in any fold."""
    widths: tuple[int | None, ...]

    @staticmethod
    def of(data: Interactions, widths: tuple[int | None, ...]) -> Field:
        seen, truth = data.csr(*BEFORE["test"]), data.csr("test")
        users = np.flatnonzero(truth.degrees > 0)
        if not len(users):
            raise Mrl4recError(
                "nobody has test pairs, so there is nobody to judge by",
                where="table splits",
                todo="take a wider window (--window), or wait for more data",
            )
        pairs = np.bincount(seen.indices, minlength=data.n_items)
        offered = pairs + np.bincount(truth.indices, minlength=data.n_items) > 0
        return Field(users, seen, [truth, *truth_by_popularity(seen, truth)], offered, widths)

    def rank(
        self,
        loaded: Loaded,
        device: str = "cpu",
        memory_mb: int = 512,
        n_threads: int | None = None,
    ) -> tuple[Values, Values, Values]:
        """(E, W) NDCG, (E, W) recall and (E, G) NDCG of the slices, NaN where there is no item."""
        model: Scorer = Served(loaded, self.seen.n_rows, self.seen.n_columns, self.offered_I)
        cut = columns(model, self.widths)
        dims = sorted(set(cut.values()))
        places = [dims.index(cut[width]) for width in self.widths]
        query = Query(min(K, model.n_items), tuple(dims), self.seen)
        values = np.empty((len(self.users_E), len(dims), len(PER_USER)))
        sliced = np.full((len(self.users_E), len(POPULARITY)), np.nan)
        chunks = search(
            model, self.users_E, query, device=device, memory_mb=memory_mb, n_threads=n_threads
        )
        for begin, lists in chunks:
            chunk = slice(begin, begin + len(lists.items_BWK))
            users = self.users_E[chunk]
            values[chunk] = _judged(lists.items_BWK, users, self.truths[0])
            whole = lists.items_BWK[:, places[0] : places[0] + 1]
            for g, truth in enumerate(self.truths[1:]):
                some = truth.degrees[users] > 0
                here = begin + np.flatnonzero(some)
                sliced[here, g] = _judged(whole[some], users[some], truth)[:, 0, NDCG]
        return values[:, places, NDCG], values[:, places, RECALL], sliced


def _judged(items_BWK: NDArray[np.int32], users_B: NDArray[np.int64], truth: Csr) -> Values:
    """(B, W, M) metrics of lists; every user has an item in ``truth``."""
    rows = np.stack([truth.indptr[users_B], truth.indptr[users_B + 1]], axis=1)
    shown = np.zeros((items_BWK.shape[1], 1, truth.n_columns), dtype=bool)
    cutoff = np.array([K], dtype=np.int64)
    items = np.ascontiguousarray(items_BWK)
    return per_user(items, rows, truth.indices, cutoff, shown)[:, :, 0]


def _stacked(models: Sequence[tuple[Values, Values, Values]]) -> list[Values]:
    """Each kind of value with the models in the second place."""
    return [np.stack(values, axis=1) for values in zip(*models, strict=True)]


def _recipe(side: Sequence[Loaded]) -> Recipe:
    """What a side is. Raises UsageError where it is nothing or more than one thing."""
    if not side:
        raise UsageError("a side of the duel has no model")
    cards = [one.card for one in side]
    kinds = {(card.method_name, card.levels) for card in cards}
    if len(kinds) > 1:
        raise UsageError(
            f"the models of a side are of several recipes: {sorted(map(str, kinds))}",
            todo="give seeds of one method and level set",
        )
    return Recipe(
        cards[0].method_name,
        cards[0].levels,
        side[0].model.kind,
        tuple(card.stage_key for card in cards),
        tuple(card.seed for card in cards),
    )
