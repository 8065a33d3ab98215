"""Epochs by others' code: a plain PyTorch loop as papers publish it, implicit, the authors' clone.

Shapes: U users, I items, B pairs of a batch, L levels, C candidates of a level.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mrl4rec.core.errors import Mrl4recError
from tests.benchmarks.probes.pairs import interactions
from tests.benchmarks.probes.training import LEVELS

NUMPY_1 = "import numpy; numpy.asfarray = lambda a: numpy.asarray(a, dtype=float)"
"""What the authors' evaluation calls and numpy 2 has no more."""
DIM, BATCH, CANDIDATES, LR, L2 = 64, 2048, 16, 1e-3, 1e-4
SEED = 2022


def plain(data: dict[str, Any], method: str) -> dict[str, Any]:
    """One epoch of MRL-M or BPR-D: candidates drawn by Python one by one, dense Adam, autograd."""
    import torch
    from torch.nn.functional import softplus

    pairs = interactions(**data)
    users_P, items_P = pairs.pairs("train", "valid")
    seen: dict[int, set[int]] = {}
    for user, item in zip(users_P.tolist(), items_P.tolist(), strict=True):
        seen.setdefault(user, set()).add(item)
    levels = LEVELS if method == "MRL-M" else (DIM,)
    torch.manual_seed(SEED)
    random.seed(SEED)
    tables = [torch.nn.Embedding(n, DIM) for n in (pairs.n_users, pairs.n_items)]
    for table in tables:
        torch.nn.init.xavier_uniform_(table.weight)
    optimiser = torch.optim.Adam([table.weight for table in tables], lr=LR)
    order = np.random.default_rng(SEED).permutation(len(users_P))
    began = time.perf_counter()
    for start in range(0, len(order) - BATCH + 1, BATCH):
        batch = order[start : start + BATCH]
        drawn = [
            [_unseen(seen[user], pairs.n_items) for _ in range(len(levels) * CANDIDATES)]
            for user in users_P[batch].tolist()
        ]
        user_Bd = tables[0](torch.from_numpy(users_P[batch]).long())
        item_Bd = tables[1](torch.from_numpy(items_P[batch]).long())
        drawn_BLC = torch.tensor(drawn).view(BATCH, len(levels), CANDIDATES)
        loss = torch.zeros(())
        norms = user_Bd.square().sum() + item_Bd.square().sum()
        for at, level in enumerate(levels):
            candidates_BCd = tables[1](drawn_BLC[:, at])
            scores_BC = (user_Bd[:, None, :level] * candidates_BCd[:, :, :level]).sum(2)
            hardest_B = scores_BC.argmax(1)
            negative_Bd = candidates_BCd[torch.arange(BATCH), hardest_B]
            positive_B = (user_Bd[:, :level] * item_Bd[:, :level]).sum(1)
            negative_B = (user_Bd[:, :level] * negative_Bd[:, :level]).sum(1)
            loss = loss + softplus(negative_B - positive_B).mean() / len(levels)
            norms = norms + negative_Bd.square().sum()
        loss = loss + L2 / 2 * norms / BATCH
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {"seconds": time.perf_counter() - began, "version": torch.__version__}


def _unseen(seen: set[int], n_items: int) -> int:
    while True:
        item = random.randrange(n_items)
        if item not in seen:
            return item


def implicit_bpr(data: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Seconds of an epoch of implicit's BPR, one uniform negative, with the threads it takes."""
    import implicit as peer
    from scipy.sparse import csr_matrix

    seen = interactions(**data).csr("train", "valid")
    liked = csr_matrix(
        (np.ones(len(seen.indices), np.float32), seen.indices, seen.indptr),
        shape=(seen.n_rows, seen.n_columns),
    )

    def took(n: int) -> float:
        model = peer.cpu.bpr.BayesianPersonalizedRanking(
            factors=DIM - 1,
            iterations=n,
            random_state=SEED,  # it adds a bias to 63 factors
        )
        began = time.perf_counter()
        model.fit(liked, show_progress=False)
        return time.perf_counter() - began

    once = took(1)  # what comes before the first epoch is in both
    return {"seconds": (took(epochs + 1) - once) / epochs, "version": peer.__version__}


def authors(clone: str, dataset: str = "phone", epochs: int = 1) -> dict[str, Any]:
    """Seconds of an epoch and of an evaluation of the authors' own main_mul.py, on the CPU.

    Raises Mrl4recError where it does not run.
    """
    with tempfile.TemporaryDirectory(prefix="mrl4rec-authors-") as folder:
        copy = Path(folder) / "MRL"  # it writes its results beside its code
        shutil.copytree(clone, copy, ignore=shutil.ignore_patterns(".git"))
        (copy / "results" / dataset).mkdir(parents=True, exist_ok=True)
        (copy / "sitecustomize.py").write_text(NUMPY_1)
        words = ["--dataset", dataset, "--K", "5", "--loss", "mrl", "--ns", "dns", "--n_negs", "16"]
        done = subprocess.run(
            [sys.executable, "main_mul.py", *words, "--cuda", "", "--epoch", str(epochs)],
            cwd=copy, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(copy)},
        )  # fmt: skip
    rows = re.findall(r"^\|\s*\d+\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)\s*\|", done.stdout, re.MULTILINE)
    missing = re.search(r"No module named '(\w+)'", done.stderr)
    if missing:
        return {"missing": missing.group(1)}
    if not rows:
        tail = " ".join(done.stderr.split())[-300:]
        raise Mrl4recError("the authors' code did not run", where=clone, todo=tail)
    training, testing = zip(*((float(a), float(b)) for a, b in rows), strict=True)
    return {"seconds": statistics.median(training), "testing": statistics.median(testing)}
