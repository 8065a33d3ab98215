"""Small models, interactions and folders for the tests of ranking, model folders and serving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.models.model_folder import card as card_file
from mrl4rec.models.scorers import (
    CountModel,
    FactorModel,
    InterestModel,
    ItemItemModel,
    MixtureModel,
)


def sparse(rng: np.random.Generator, n_users: int, n_items: int, pairs: int) -> Csr:
    """Up to so many different pairs."""
    keys = np.unique(rng.integers(0, n_users * n_items, pairs))
    return csr(keys // n_items, keys % n_items, n_users, n_items)


def rows(*lists: list[int], n_items: int) -> Csr:
    """A Csr from one list of items a user."""
    users = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    items = np.array([item for part in lists for item in part], dtype=np.int64)
    return csr(users, items, len(lists), n_items)


def whole_factors(
    rng: np.random.Generator, n_users: int, n_items: int, dim: int, **options: Any
) -> FactorModel:
    """Vectors of small whole numbers: sums are exact in any order, and ties are many."""
    return FactorModel(
        rng.integers(-2, 3, (n_users, dim)).astype(np.float32),
        rng.integers(-2, 3, (n_items, dim)).astype(np.float32),
        **options,
    )


def real_factors(
    rng: np.random.Generator, n_users: int, n_items: int, dim: int, **options: Any
) -> FactorModel:
    """Normal vectors: sums round."""
    return FactorModel(
        rng.normal(size=(n_users, dim)).astype(np.float32),
        rng.normal(size=(n_items, dim)).astype(np.float32),
        **options,
    )


def kinds(rng: np.random.Generator, n_users: int, n_items: int, seen: Csr) -> list[Any]:
    """One model of each kind, of small whole numbers."""
    from scipy.sparse import csr_matrix

    weights = rng.integers(-2, 3, (n_items, n_items)).astype(np.float32)
    return [
        whole_factors(rng, n_users, n_items, 6),
        ItemItemModel(weights, seen),
        ItemItemModel(csr_matrix(weights), seen),
        CountModel(rng.integers(0, 4, n_items), n_users),
        whole_mixture(rng, n_users, n_items),
    ]


def every_kind(rng: np.random.Generator, n_users: int, n_items: int, seen: Csr) -> list[Any]:
    """Those and models of interests, which are not saved: what makes them is."""
    return [
        *kinds(rng, n_users, n_items, seen),
        whole_interests(rng, n_users, n_items),
        whole_interests(rng, n_users, n_items, pooling="sum"),
    ]


def whole_mixture(rng: np.random.Generator, n_users: int, n_items: int) -> MixtureModel:
    """Vectors of small whole numbers, and items of one concept each: scores are exact."""
    return MixtureModel(
        rng.integers(-2, 3, (n_users, 3, 4)).astype(np.float32),
        rng.integers(-2, 3, (n_items, 4)).astype(np.float32),
        np.eye(3, dtype=np.float32)[rng.integers(0, 3, n_items)],
    )


def whole_interests(
    rng: np.random.Generator, n_users: int, n_items: int, dim: int = 6, k: int = 3, **options: Any
) -> InterestModel:
    """Several vectors a user, of small whole numbers."""
    return InterestModel(
        rng.integers(-2, 3, (n_users, k, dim)).astype(np.float32),
        rng.integers(-2, 3, (n_items, dim)).astype(np.float32),
        **options,
    )


def real_interests(
    rng: np.random.Generator, n_users: int, n_items: int, dim: int, k: int = 4, **options: Any
) -> InterestModel:
    """Several normal vectors a user: sums round."""
    return InterestModel(
        rng.normal(size=(n_users, k, dim)).astype(np.float32),
        rng.normal(size=(n_items, dim)).astype(np.float32),
        **options,
    )


def card(**options: Any) -> ModelCard:
    """A card with little on it."""
    return ModelCard(
        **{
            "stage_key": "k" * 64,
            "dataset": "toy",
            "method": {"name": "MRL-M", "dim": 8},
            "method_name": "MRL-M",
            **options,
        }
    )


def ids(n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """External ids that sort otherwise than the rows do."""
    users = np.array([f"U{7 * row % 1000}-{row}" for row in range(n_users)], dtype=object)
    items = np.array([f"Bücher {row}" for row in range(n_items)], dtype=object)
    return users, items


def saved(folder: Path, model: Any, seen: Csr, consumed: Csr | None = None, **options: Any) -> Path:
    """A model folder with that model."""
    names = ids(model.n_users, model.n_items)
    return model_folder.save(folder, model, card(**options), names, seen, consumed)


def with_more(seen: Csr, *pairs: tuple[int, int]) -> Csr:
    """The pairs and these: what is known besides what was trained on."""
    owners = np.repeat(np.arange(seen.n_rows), seen.degrees)
    keys = owners * seen.n_columns + seen.indices
    keys = np.union1d(keys, [user * seen.n_columns + item for user, item in pairs])
    return csr(keys // seen.n_columns, keys % seen.n_columns, seen.n_rows, seen.n_columns)


def rewrite(folder: Path, **changes: Any) -> None:
    """Change the card and sign it again."""
    path = folder / "model.json"
    body = {**json.loads(path.read_text()), **changes}
    body["sha256"] = card_file.digest(body)
    path.write_text(json.dumps(body))


def older(folder: Path) -> Path:
    """The folder as versions wrote it that kept what was trained on alone."""
    (folder / "consumed.safetensors").unlink()
    files = json.loads((folder / "model.json").read_text())["files"]
    rewrite(folder, files={n: facts for n, facts in files.items() if n != "consumed.safetensors"})
    return folder
