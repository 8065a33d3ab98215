"""Models: a method with its settings, fitted, asked, saved and loaded."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrl4rec import training
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation import ranking
from mrl4rec.evaluation.from_history import HistoryLists, item_ids
from mrl4rec.models import METHODS, Method, Trained, from_dict, model_folder, parse_levels, resolve
from mrl4rec.models.rotation import rotate
from mrl4rec.models.samplers import Dns, Negatives, PerLevel
from mrl4rec.models.scorers import FactorModel, Floats, ItemItemModel, Scorer
from mrl4rec.models.sequential.model import SequenceModel

DATASET = "frame"
"""What model cards call the data set of pairs that came from no table."""


class Model:
    """A method with its settings; after ``fit`` a recommender."""

    def __init__(
        self,
        method: str | Method,
        *,
        levels: Sequence[int] | str | None = None,
        seed: int = 0,
        epochs: int | None = None,
        device: str = "auto",
        **settings: Any,
    ) -> None:
        """A method by its name (`mr.methods()`), with ``settings`` as `--set METHOD.field=value`.

        ``levels`` are the nested widths of MRL methods, ``epochs`` at most so many. Raises
        UsageError for a name or a setting that there is not, and for a value out of its bounds.
        """
        chosen = resolve(method) if isinstance(method, str) else method
        known = {*chosen.items()}
        for name in settings:
            if name not in known:
                raise UsageError(
                    f"{chosen.name} has no setting {name!r}", todo=nearest(name, known)
                )
        if levels is not None and not (isinstance(chosen, Trained) and chosen.has_levels):
            todo = "take a nested method, like MRL-M or SASRec@mrl"
            raise UsageError(f"{chosen.name} is not trained by levels", where="levels", todo=todo)
        plain = {n: v.item() if isinstance(v, np.generic) else v for n, v in settings.items()}
        self.method = chosen.changed(**plain)
        self.method.check(self.method.name)
        self._request = training.TrainRequest(
            self.method,
            levels=None if levels is None else parse_levels(levels, None, "levels"),
            seed=None if self.method.deterministic else seed,
            epochs=epochs,
            device=device,
        )
        self._loaded: model_folder.Loaded | None = None

    def __repr__(self) -> str:
        """The method, and whether it is fitted."""
        state = "not fitted" if self._loaded is None else f"epoch {self.card.epoch}"
        return f"Model({self.method.name}, {state})"

    def fit(self, train: Interactions) -> Model:
        """Train on these pairs; methods that take epochs choose theirs on the valid fold.

        Then they train again on all of them for that many epochs (protocol ``clean``). Progress is
        shown on stderr. Raises UsageError for settings that do not go together, Mrl4recError where
        training fails.
        """
        if not isinstance(train, Interactions):
            raise UsageError(
                f"a model is not fitted on a {type(train).__name__}",
                todo="give the first part of a split: train, test = data.split()",
            )
        if self.method.consumes == "sequences" and train.sequences is None:
            raise UsageError(
                f"{self.method.name} reads sequences, and these are pairs",
                todo="split each user's items in their order: data.split('last_out', "
                "sequences=True), or data.split('by_user')",
            )
        if self.method.consumes == "timed pairs" and train.reviewed_at_P is None:
            raise UsageError(
                f"{self.method.name} needs times, and these pairs have none",
                todo="name the column: Dataset.from_frame(…, time=…)",
            )
        with tempfile.TemporaryDirectory(prefix="mrl4rec-") as folder:
            settings = Settings(warehouse=Path(folder), nodes=1, node=0)
            split = Commit("split", train.digest(), "splits", 0, {})
            made = training.run(DATASET, split, self._request, settings, data=lambda: train)
            self._loaded = model_folder.load(settings.storage.model_dir(DATASET, made.key))
        return self

    @property
    def card(self) -> model_folder.ModelCard:
        """How it was made: settings, epoch, seed, the history of its training."""
        return self.loaded.card

    @property
    def widths(self) -> tuple[int | None, ...]:
        """The widths it was trained to be cut to; (None,) for one without."""
        return self.loaded.model.widths

    def recommend(
        self, users: Sequence[str] | str | None = None, n: int = 10, *, width: int | None = None,
        histories: Sequence[Sequence[str]] | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """The best ``n`` items of each user, without those it is known to have had.

        These are the pairs that ``fit`` was given, and in a model of a warehouse the held-out ones
        too. ``histories`` instead of users are lists of items, oldest first, of anybody, for models
        that score by what a user had: unknown items are left out with a warning, and a history
        without a known item gets the most popular items.

        Returns user (or history: its place, from 0), rank (from 1), item, score. ``width`` takes
        the first so many dimensions. Raises UsageError for users it was not trained on, and for
        histories where the model reads none, for one that is no list of ids, and for an ``n`` that
        is no whole number from 1 on.
        """
        if (users is None) == (histories is None):
            raise UsageError("recommend takes users or histories", todo="give one of the two")
        n = min(_positive("n", n), self.loaded.model.n_items)
        width = width and _positive("width", width)
        if histories is not None:
            return self._of_histories(_of_items(histories), n, width)
        assert users is not None
        found, users = self.loaded, _listed(users)
        rows = _rows(found.ids.user_ids, users, "user")
        items, scores = ranking.recommend(found.model, rows, found.consumed, n, width)
        return _frame(users, found.ids.item_ids, items, scores, ("user", "item"))

    def _of_histories(self, rows: list[list[str]], n: int, width: int | None) -> pd.DataFrame:
        found = HistoryLists(self.loaded).recommend(rows, n, width)
        if found.left_out_B.any():
            which = np.flatnonzero(found.left_out_B).tolist()
            warnings.warn(
                f"{found.left_out_B.sum()} items are unknown and were left out of histories "
                f"{', '.join(map(str, which[:5]))}{' …' * (len(which) > 5)}",
                stacklevel=3,
            )
        ids, columns = self.loaded.ids.item_ids, ("history", "item")
        return _frame(range(len(rows)), ids, found.items_BN, found.scores_BN, columns)

    def similar_items(
        self, items: Sequence[str] | str, n: int = 10, *, width: int | None = None
    ) -> pd.DataFrame:
        """The ``n`` items nearest to each: item, rank, similar, score.

        The score is the cosine of two items' vectors, or the weight from one item to the other
        where a method has such weights. Raises UsageError for unknown items, and for methods with
        neither.
        """
        found = self.loaded
        items = _listed(items)
        rows = _rows(found.ids.item_ids, items, "item")
        scores = _likeness(found.model, rows, width and _positive("width", width))
        scores[np.arange(len(rows)), rows] = -np.inf
        n = min(_positive("n", n), scores.shape[1] - 1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
        values = np.take_along_axis(scores, best, axis=1)
        return _frame(items, found.ids.item_ids, best, values, ("item", "similar"))

    def rotated(self) -> Model:
        """The same model with its vectors rotated: the same scores, and the best prefixes.

        Raises UsageError for a model without vectors.
        """
        found = self.loaded
        if not isinstance(found.model, FactorModel):
            raise UsageError(
                f"{self.method.name} has no vectors of users to rotate",
                todo="take a model with vectors (MRL-M, BPR, iALS, EASE-SVD); one that makes them "
                "of histories is rotated by mrl4rec run --rotate",
            )
        vectors = rotate(found.model.user_vectors, found.model.item_vectors)
        turned = copy(self)
        turned._loaded = found._replace(model=FactorModel(*vectors, widths=found.model.widths))
        return turned

    def save(self, folder: str | Path) -> Path:
        """Write the model folder that `mrl4rec export`, `serve` and ``mr.load`` read."""
        found = self.loaded
        return model_folder.save(Path(folder), *found)

    @property
    def loaded(self) -> model_folder.Loaded:
        """The vectors or weights, ids and training pairs. Raises UsageError before ``fit``."""
        if self._loaded is None:
            raise UsageError(f"{self.method.name} is not fitted", todo="call fit(train) first")
        return self._loaded


def of_loaded(found: model_folder.Loaded) -> Model:
    """The fitted model of a folder's content."""
    card = found.card
    model = Model(from_dict(card.method), levels=card.levels, seed=card.seed or 0)
    model._loaded = found
    return model


def methods() -> pd.DataFrame:
    """Every method: its name, whether it is trained by epochs, its settings and their defaults."""
    return pd.DataFrame(
        [
            {"method": name, "trained": isinstance(method, Trained), "settings": method.items()}
            for name, method in METHODS.items()
        ]
    )


def MRL(  # a model, as others name theirs
    levels: Sequence[int] | str = (4, 8, 16, 32, 64),
    *,
    sampler: Negatives | None = None,
    **given: Any,
) -> Model:
    """Matryoshka representation learning (MRL4Rec): each level with negatives of its own."""
    method = resolve("MRL-M")
    assert isinstance(method, Trained)
    if sampler is not None:
        method = replace(method, negatives=PerLevel(sampler))
    widths = parse_levels(levels, None, "levels")
    return Model(method, levels=widths, **({"dim": widths[-1]} | given))


def BPR(*, sampler: Negatives | None = None, **given: Any) -> Model:
    """Matrix factorisation by Bayesian personalised ranking, negatives uniform or by a sampler."""
    method = resolve("BPR")
    assert isinstance(method, Trained)
    return Model(method if sampler is None else replace(method, negatives=sampler), **given)


def EASE(**given: Any) -> Model:
    """EASE (Steck 2019): a closed-form item-item model. Setting: ``lam``."""
    return Model("EASE", **given)


def IALS(**given: Any) -> Model:
    """iALS (Rendle et al. 2022). Settings: ``dim``, ``a0``, ``lam``, ``nu``, ``sweeps``."""
    return Model("iALS", **given)


def SASRec(**given: Any) -> Model:
    """SASRec (Kang and McAuley 2018), full softmax: reads sequences. ``dim``, ``length``, …"""
    return Model("SASRec", **given)


def MTMI(interests: int = 4, **given: Any) -> Model:
    """A reconstruction of MTMI (arXiv 2403.05122): several vectors a user, from sequences."""
    return Model("MTMI", interests=interests, **given)


def DNS(n: int = 16) -> Negatives:
    """Dynamic negative sampling: of ``n`` drawn negatives the one with the highest score."""
    return Dns(n)


def _listed(names: Sequence[str] | str | int) -> list[str]:
    """Ids as text, as they are in the tables; one id alone is a list of one."""
    return [str(name) for name in ([names] if isinstance(names, str | int) else names)]


def _of_items(histories: Sequence[Sequence[str]]) -> list[list[str]]:
    """Histories as ids in text. Raises UsageError for one that is no list of ids."""
    rows = []
    for place, history in enumerate(histories):
        items = item_ids(history)
        if items is None:
            raise UsageError(
                f"{str(history)[:60]!r} is no list of item ids",
                where=f"histories[{place}]",
                todo='give a list of lists of item ids, oldest first, like [["12", "7"]]',
            )
        rows.append(items)
    return rows


def _positive(name: str, value: Any) -> int:
    """A whole number from 1 on. Raises UsageError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise UsageError(f"{name}={value!r} is no whole number from 1 on", where=name)
    return int(value)


def _rows(known: NDArray[np.object_], names: Sequence[str], kind: str) -> NDArray[np.int64]:
    rows = {name: row for row, name in enumerate(known)}
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise UsageError(
            f"{len(unknown)} of {len(names)} {kind}s are unknown, the first {unknown[0]!r}",
            todo=f"the model was trained on {len(known)} {kind}s: {', '.join(known[:3])}, …",
        )
    return np.array([rows[name] for name in names], dtype=np.int64)


def _frame(
    names: Sequence[str] | range,
    ids: NDArray[Any],
    rows_BN: NDArray[Any],
    scores_BN: Floats,
    columns: tuple[str, str],
) -> pd.DataFrame:
    """Lists as rows: a name, rank, the id found, score; −1 marks the end of a shorter list."""
    n_names, n = rows_BN.shape
    there = (rows_BN >= 0).ravel()
    return pd.DataFrame(
        {
            columns[0]: np.repeat(np.array(names, dtype=object), n)[there],
            "rank": np.tile(np.arange(1, n + 1), n_names)[there],
            columns[1]: ids[rows_BN.ravel()[there]],
            "score": scores_BN.ravel()[there],
        }
    )


def _likeness(model: Scorer, rows_B: NDArray[np.int64], width: int | None) -> Floats:
    """(B, I) how near every item is to these."""
    if isinstance(model, SequenceModel):
        none = np.zeros((0, model.dim), dtype=np.float32)
        model = FactorModel(none, model.item_vectors, widths=model.widths)
    if isinstance(model, FactorModel):
        vectors_Id = model.item_vectors[:, : model.width(width)]
        lengths_I = np.linalg.norm(vectors_Id, axis=1)
        unit_Id = vectors_Id / np.where(lengths_I > 0, lengths_I, 1)[:, None]
        return np.asarray(unit_Id[rows_B] @ unit_Id.T)
    if isinstance(model, ItemItemModel) and width is None:
        weights_BI = model.weights[rows_B]
        dense = weights_BI if isinstance(weights_BI, np.ndarray) else weights_BI.toarray()
        return np.array(dense, dtype=np.float32)
    raise UsageError(
        f"a model of kind {model.kind!r} has no similar items"
        + (f" at width {width}" if width else ""),
        todo="take one with item vectors (MRL-M, BPR, iALS) or weights between items (EASE, SLIM)",
    )
