"""The evaluate stage: a trained model on the test fold, every metric, cut-off and width at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, find, stage_key
from mrl4rec.core.storage import write_parquet
from mrl4rec.evaluation import sequences
from mrl4rec.evaluation.cut import AS_TRAINED, Cut
from mrl4rec.evaluation.ranking.evaluate import evaluate
from mrl4rec.evaluation.ranking.metrics import PER_USER
from mrl4rec.evaluation.slices import POPULARITY, truth_by_popularity
from mrl4rec.kernels.devices import resolve_device
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import read_card
from mrl4rec.tables import RESULTS
from mrl4rec.tables.splits import BEFORE
from mrl4rec.tables.store import commit_rows

with lazy.imports():
    pass

if TYPE_CHECKING:
    from mrl4rec.data.interactions import Interactions
    from mrl4rec.evaluation.ranking.evaluate import Evaluation
    from mrl4rec.evaluation.sequences import Besides
    from mrl4rec.models.model_folder import ModelCard

CODE = 1
"""Raised when the numbers of this stage change for the same model and split."""

SLICED = ("recall", "ndcg")
"""Metrics that are kept by slice too."""

log = logging.getLogger("mrl4rec")

OnEvaluated = Callable[["Evaluation", "ModelCard", str, AnyPath], str | None]
"""Called before the commit with (evaluation, card, stage key, per-user file); gives the run id."""


def key(
    split: Commit, train: Commit, ks: Sequence[int], device: str = "cpu", cut: Cut = AS_TRAINED
) -> str:
    """The stage key of evaluating this model on this split at these cut-offs.

    ``cut`` is what was asked for as it comes to for this model. A GPU is named in the key: it sums
    scores in another order, so that lists may differ where two are nearly equal. The CPU, which is
    the rule, is not.
    """
    asked = {"ks": list(ks), **cut.params()} | ({} if device == "cpu" else {"device": device})
    if split.summary.get("of") == "sequences":
        asked["by_user"] = sequences.CODE
    return stage_key("evaluate", CODE, {"split": split.key, "model": train.key}, asked)


def run(
    dataset: str,
    split: Commit,
    train: Commit,
    settings: Settings,
    *,
    ks: Sequence[int],
    data: Callable[[], Interactions],
    on_evaluated: OnEvaluated | None = None,
    device: str = "auto",
    cut: Cut = AS_TRAINED,
) -> Commit:
    """Rank the test users (train and valid items masked) and commit the rows of ``results``.

    ``data`` gives the split's interactions and is called only where there is work to do. ``device``
    is where to rank, ``auto``, ``cpu`` or ``cuda``, as for training. ``cut`` says at which widths,
    and whether rotated; each has rows, and a key, of its own. Raises UsageError where a GPU
    is asked for and there is none, or where the model was fitted on the test fold of this split.
    """
    device = resolve_device(device, settings)
    uri = settings.storage.table_uri(dataset, RESULTS.name)
    folder = settings.storage.model_dir(dataset, train.key)
    if cut != AS_TRAINED:
        cut = cut.of(read_card(folder))
    this = key(split, train, ks, device, cut)
    done = find(uri, RESULTS.name, this)
    if done is not None and settings.storage.per_user_file(dataset, this).exists():
        return done

    _check_unseen(model_folder.read_card(folder), split)
    model, card, *_ = model_folder.load(folder)
    interactions = data()
    seen, truth = interactions.csr(*BEFORE["test"]), interactions.csr("test")
    # Bound first: rotating makes vectors of the histories that the model has then.
    ready = cut.apply(sequences.bound(model, interactions, "test"))
    evaluation = evaluate(
        ready,
        seen,
        truth,
        ks=ks,
        widths=cut.widths or None,
        device=device,
        memory_mb=settings.ranking_memory_mb,
        slices=truth_by_popularity(seen, truth),
    )
    history = seen.degrees
    if interactions.sequences is not None:
        history = interactions.sequences.before("test").lengths
    if interactions.sequences is None or cut.rotated:  # at full width a rotation changes no list
        by_user = with_slices(evaluation, history[evaluation.users])
    else:
        more = sequences.besides(
            ready, interactions, evaluation, seen, device=device,
            memory_mb=settings.ranking_memory_mb,
        )  # fmt: skip
        by_user = with_besides(evaluation, more, history)
        evaluation = replace(evaluation, values=[*evaluation.values, *more.values])
    path = settings.storage.per_user_file(dataset, this)
    write_parquet(path, by_user)
    run_id = on_evaluated(evaluation, card, this, path) if on_evaluated else None
    commit = Commit(
        stage="evaluate",
        key=this,
        table=RESULTS.name,
        version=-1,
        summary={"model": train.key, "split": split.key, "users": evaluation.n_users}
        | cut.params(),
    )
    rows = _rows(evaluation, card, cut.name(card.method_name), this, run_id)
    version = commit_rows(uri, RESULTS, rows, commit.metadata())
    return Commit(**{**commit.__dict__, "version": version})


def with_slices(evaluation: Evaluation, history_E: NDArray[np.int64]) -> pa.Table:
    """The per-user values, each user's training pairs or events (``history``), and the metrics by
    slice.

    ``recall_head``, ``ndcg_tail`` …: judged by the test items of one slice of popularity alone, on
    the rows of the whole model; null on other rows and for users without such items.
    """
    table = evaluation.per_user
    n_widths, n_ks = len(evaluation.widths), len(evaluation.ks)
    each = n_widths * n_ks
    columns = {"history": pa.array(np.repeat(history_E, each), pa.int32())}
    assert evaluation.sliced_GECM is not None
    for g, name in enumerate(POPULARITY):
        for metric in SLICED:
            values = np.full((evaluation.n_users, n_widths, n_ks), np.nan)
            values[:, -1] = evaluation.sliced_GECM[g, :, :, PER_USER.index(metric)]
            columns[f"{metric}_{name}"] = pa.array(values.reshape(-1), from_pandas=True)
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def with_besides(evaluation: Evaluation, more: Besides, history_U: NDArray[np.int64]) -> pa.Table:
    """``with_slices``, and ``more`` in columns of its own: null where a user has no value.

    There is a row for every user of ``more``; ``history_U`` are the lengths of all histories.
    """
    each = len(evaluation.widths) * len(evaluation.ks)
    rows = np.searchsorted(more.users, evaluation.users)
    at = np.full((len(more.users), each), -1)
    at[rows] = np.arange(len(rows) * each).reshape(-1, each)
    masked = with_slices(evaluation, history_U[evaluation.users])
    table = masked.take(pa.array(at.reshape(-1), mask=at.reshape(-1) < 0))
    first = pa.array(np.tile(np.arange(each), len(more.users)))
    columns = {
        "user_idx": pa.array(np.repeat(more.users, each), pa.int32()),
        "history": pa.array(np.repeat(history_U[more.users], each), pa.int32()),
        **{name: masked[name].take(first) for name in ("width", "k")},
    }
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    for name, values in more.by_user.items():
        table = table.append_column(name, pa.array(values.reshape(-1), from_pandas=True))
    return table


def _check_unseen(card: ModelCard, split: Commit) -> None:
    if "test" in card.folds and card.versions.get("split_key") == split.key:
        raise UsageError(
            f"{card.method_name} was refitted on everything, the test fold of this split too: "
            "what it would score there says nothing",
            where=f"model {card.stage_key}",
            todo="evaluate the model that was refitted, or this one on pairs that came later",
        )


def _rows(
    evaluation: Evaluation, card: ModelCard, method: str, this: str, run_id: str | None
) -> pa.Table:
    levels = ",".join(map(str, card.levels)) if card.levels else None
    rows = [
        {
            "stage_key": this,
            "metric": value.metric,
            "k": value.k,
            "width": value.width,
            "dataset": card.dataset,
            "method": method,
            "levels": levels,
            "seed": card.seed,
            "protocol": card.protocol,
            "epoch": card.epoch,
            "value": value.value,
            "run_id": run_id,
        }
        for value in evaluation.values
    ]
    return pa.Table.from_pylist(rows, schema=RESULTS.schema)
