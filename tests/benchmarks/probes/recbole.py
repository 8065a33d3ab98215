"""The same epoch by RecBole, as its own quick start trains."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from tests.benchmarks.probes.pairs import interactions


def epoch(data: dict[str, Any], model: str, folder: str, epochs: int = 6) -> dict[str, Any]:
    """Median seconds of an epoch of ``BPR`` or ``LightGCN`` on the training pairs; the first is
    left out.
    """
    _newer_libraries()
    import recbole
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.trainer import Trainer
    from recbole.utils import get_model

    users, items = interactions(**data).pairs("train", "valid")
    file = Path(folder, "bench", "bench.inter")
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{user}\t{item}" for user, item in zip(users, items, strict=True)]
    file.write_text("\n".join(["user_id:token\titem_id:token", *lines]) + "\n")
    os.chdir(folder)  # it writes logs and saved models where it stands
    values = {
        "data_path": folder,
        "embedding_size": 64,
        "n_layers": 1,
        "train_batch_size": 2048,
        "learning_rate": 1e-3,
        "reg_weight": 1e-4,
        "eval_args": {"split": {"RS": [1, 0, 0]}, "group_by": "none", "mode": "full"},
        "use_gpu": False,
        "show_progress": False,
    }
    config = Config(model=model, dataset="bench", config_dict=values)
    dataset = create_dataset(config)
    train, _, _ = data_preparation(config, dataset)
    trainer = Trainer(config, get_model(model)(config, train.dataset).to(config["device"]))
    seconds = []
    for number in range(epochs):
        began = time.perf_counter()
        trainer._train_epoch(train, number)
        seconds.append(time.perf_counter() - began)
    return {"seconds": statistics.median(seconds[1:]), "version": recbole.__version__}


def _newer_libraries() -> None:
    """RecBole 1.2.1 names what NumPy 2 and SciPy 1.13 have dropped: put it back in this process."""
    vars(np).update(float_=np.float64, complex_=np.complex128, unicode_=np.str_)
    sparse.dok_matrix._update = lambda matrix, values: matrix._dict.update(values)
