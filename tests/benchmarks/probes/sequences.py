"""Epochs of methods that read sequences, ours and by other tools, on the same split of users.

Shapes: U test users, I items, K vectors a user, B examples, L places of a history, S negatives.
"""

from __future__ import annotations

import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec import training
from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import from_sequences
from mrl4rec.data.sequences import Sequences, histories
from mrl4rec.evaluation.sequences import bound
from mrl4rec.models import resolve
from mrl4rec.tables.splits import EVERY_FOLD, FITTED
from tests.benchmarks.probes.training import SPLIT

LENGTH, DIM, INTERESTS, TOP = 20, 64, 4, 20
AT_ONCE = 256


def sessions(file: str = "", users: int = 0, items: int = 0) -> Sequences:
    """The lists of a file, or planted ones in which items follow each other; each tenth user is of
    valid, each tenth of test, the last 20 % of their events are targets.
    """
    if file:
        with gzip.open(file, "rt") as lines:
            named = [json.loads(line) for line in lines]
        numbers = {item: n for n, item in enumerate(sorted({i for row in named for i in row}))}
        rows, n_items = [[numbers[item] for item in row] for row in named], len(numbers)
    else:
        rng = np.random.default_rng(5)
        begins, lengths = rng.integers(0, items, users), rng.integers(2, 12, users)
        rows = [((begin + np.arange(length)) % items).tolist()
                for begin, length in zip(begins, lengths, strict=True)]  # fmt: skip
        n_items = items
    folds: list[str] = []
    for user, row in enumerate(rows):
        role = ("valid", "test")[user % 10] if user % 10 < 2 and len(row) > 1 else "train"
        history = 0 if role == "train" else min(len(row) - 1, max(1, 8 * len(row) // 10))
        folds += [f"{role}_history"] * history + [role] * (len(row) - history)
    places = [EVERY_FOLD.index(fold) for fold in folds]
    return Sequences(histories(rows, n_items), np.array(places, dtype=np.int8))


def ours(data: dict[str, Any], method: str, sets: list[str], epochs: int) -> dict[str, Any]:
    """Median seconds of an epoch over every sequence, the first left out; and the metrics."""
    from mrl4rec.models import model_folder

    rows = sessions(**data)
    asked = [f"{method}.{text}" for text in (*sets, f"evaluate_every={epochs}", "epoch_size=0")]
    request = training.TrainRequest(
        method=resolve(method, asked), levels=None, seed=2022, protocol="paper", epochs=epochs,
        device="cpu",
    )  # fmt: skip
    pairs = from_sequences(rows)
    reports: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="mrl4rec-bench-") as folder:
        settings = Settings(warehouse=Path(folder), checkpoint_seconds=3600)  # type: ignore[call-arg]
        commit = training.run("bench", SPLIT, request, settings, reports.append, data=lambda: pairs)
        model = model_folder.load(settings.storage.model_dir("bench", commit.key))[0]
    now = bound(model, pairs, "test")
    seconds = [report.seconds for report in reports if report.value is None and report.epoch > 0]
    users = tested(rows)
    lists = [top(now.scores(users[n : n + AT_ONCE])) for n in range(0, len(users), AT_ONCE)]
    return {"seconds": statistics.median(seconds), **metrics(rows, np.concatenate(lists))}


def rechub(
    data: dict[str, Any], model: str, epochs: int, negatives: int, batch: int, steps: int = 0
) -> dict[str, Any]:
    """The same by torch-rechub's ``ComirecSA`` or ``MIND`` and its trainer; its negatives are drawn
    uniformly, the same for a step. ``steps`` > 0: so many an epoch, whose seconds are scaled up.
    """
    import torch
    import torch_rechub
    from torch_rechub.basic.features import SequenceFeature, SparseFeature
    from torch_rechub.models import matching
    from torch_rechub.trainers import MatchTrainer

    torch.manual_seed(1)
    rows = sessions(**data)
    size = rows.events.n_items + 1  # 0 is padding
    shared: dict[str, Any] = {"embed_dim": DIM, "pooling": "concat", "shared_with": "item"}
    features = (
        [SparseFeature("nobody", vocab_size=1, embed_dim=1)],  # it wants a feature of the user
        [SequenceFeature("history", vocab_size=size, **shared)],
        [SparseFeature("item", vocab_size=size, embed_dim=DIM)],
        [SequenceFeature("others", vocab_size=size, **shared)],
    )
    lengths = {"max_length": LENGTH} if model == "MIND" else {}
    net = getattr(matching, model)(*features, interest_num=INTERESTS, **lengths)
    trainer = MatchTrainer(net, mode=2, optimizer_params={"lr": 1e-3}, n_epoch=1)
    examples = Examples(rows, batch, negatives, steps)
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        trainer.train_one_epoch(examples)
        seconds.append((time.perf_counter() - began) * examples.scale)
    net.eval()
    with torch.no_grad():
        net.mode = "item"
        items_Id = net({"item": torch.arange(1, size)}).numpy()
        net.mode = "user"
        lists = []
        for histories_BL in examples.test():
            users_BKd = net(history_input(histories_BL)).numpy()
            lists.append(top((users_BKd @ items_Id.T).max(axis=1)))
    version = getattr(torch_rechub, "__version__", "")
    return {"seconds": statistics.median(seconds[1:] or seconds), "version": version,
            **metrics(rows, np.concatenate(lists))}  # fmt: skip


def rectools(data: dict[str, Any], epochs: int, batch: int) -> dict[str, Any]:
    """The same by RecTools' SASRec with one uniform negative a place and a binary loss."""
    import rectools as tool
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    rows = sessions(**data)
    model = SASRecModel(
        n_blocks=2, n_heads=1, n_factors=DIM, session_max_len=LENGTH, loss="BCE", n_negatives=1,
        lr=1e-3, batch_size=batch, epochs=epochs, deterministic=True,
    )  # fmt: skip
    fitted = Dataset.construct(frame(rows.only(*FITTED)))
    began = time.perf_counter()
    model.fit(fitted)
    seconds = (time.perf_counter() - began) / epochs
    users = tested(rows)
    known = Dataset.construct(frame(rows.before("test")))
    found = model.recommend(
        users, known, k=TOP, filter_viewed=False, on_unsupported_targets="ignore"
    )  # fmt: skip
    lists = np.full((len(users), TOP), -1)
    places = np.searchsorted(users, found["user_id"].to_numpy())
    lists[places, found["rank"].to_numpy() - 1] = found["item_id"].to_numpy()
    return {"seconds": seconds, "version": tool.__version__, **metrics(rows, lists)}


def frame(rows: Any) -> Any:
    """Events as RecTools has them; the time of one is its place."""
    import pandas as pd

    users = np.repeat(np.arange(rows.n_rows), rows.lengths)
    times = pd.Timestamp("2014-01-01") + pd.to_timedelta(np.arange(len(users)), unit="s")
    return pd.DataFrame({"user_id": users, "item_id": rows.items, "weight": 1.0, "datetime": times})


class Examples:
    """Batches for torch-rechub's trainer: one target of every sequence, drawn anew each time."""

    def __init__(self, rows: Sequences, batch: int, negatives: int, steps: int) -> None:
        self.fitted, self.known = rows.only(*FITTED), rows.before("test")
        self.batch, self.negatives = batch, negatives
        self.users = np.flatnonzero(self.fitted.lengths > 1)
        whole = max(1, len(self.users) // batch)
        self.steps = min(steps or whole, whole)
        self.scale = whole / self.steps
        self.tested, self.rng = tested(rows), np.random.default_rng(3)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Any]]:
        import torch

        users = self.rng.permutation(self.users)
        for n in range(self.steps):
            some = users[n * self.batch : (n + 1) * self.batch]
            starts, lengths = self.fitted.indptr[some], self.fitted.lengths[some]
            ends = starts + self.rng.integers(1, lengths)
            places = ends[:, None] + np.arange(-LENGTH, 0)
            there = places >= starts[:, None]
            items_BL = np.where(there, self.fitted.items[places] + 1, 0)
            others_S = self.rng.integers(1, self.fitted.n_items + 1, self.negatives)
            targets_B = torch.from_numpy(self.fitted.items[ends].astype(np.int64) + 1)
            others_BS = torch.from_numpy(others_S).expand(len(some), -1)
            rest = {"item": targets_B, "others": others_BS}
            yield {**history_input(items_BL), **rest}, torch.zeros(len(some), dtype=torch.long)

    def test(self) -> Iterator[NDArray[np.int64]]:
        """(B, L) histories of the test users."""
        for n in range(0, len(self.tested), AT_ONCE):
            windows = self.known.windows(self.tested[n : n + AT_ONCE], LENGTH)
            yield np.where(windows == self.known.n_items, 0, windows + 1)


def history_input(items_BL: NDArray[np.int64]) -> dict[str, Any]:
    """What torch-rechub's nets read of users."""
    import torch

    items = torch.from_numpy(items_BL.astype(np.int64))
    return {"history": items, "nobody": torch.zeros(len(items), dtype=torch.long)}


def tested(rows: Sequences) -> NDArray[np.int64]:
    """(U,) the users with targets in test."""
    return np.flatnonzero(rows.targets("test").degrees > 0)


def top(scores_BI: NDArray[np.float32]) -> NDArray[np.int64]:
    """(B, TOP) the best items, nothing masked."""
    some = np.argpartition(-scores_BI, TOP, axis=1)[:, :TOP]
    order = np.argsort(-np.take_along_axis(scores_BI, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def metrics(rows: Sequences, lists_UN: NDArray[np.int64]) -> dict[str, float]:
    """Recall, NDCG and HR at TOP, nothing masked, means over the test users."""
    truth, values = rows.targets("test"), []
    gains = 1 / np.log2(np.arange(2, TOP + 2))
    for user, found in zip(tested(rows), lists_UN, strict=True):
        targets = truth.row(user)
        hits = np.isin(found, targets)
        ideal = gains[: len(targets)].sum()
        values.append((hits.sum() / len(targets), (hits * gains).sum() / ideal, hits.any()))
    recall, ndcg, hr = np.mean(values, axis=0)
    return {"recall": float(recall), "ndcg": float(ndcg), "hr": float(hr)}
