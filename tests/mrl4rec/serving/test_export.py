"""Exported vectors, read back as a stranger would, give the model's own lists."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mrl4rec.core import tensor_file
from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.ranking import recommend, rotate
from mrl4rec.models import model_folder
from mrl4rec.models.scorers import FactorModel
from mrl4rec.serving import export
from tests.mrl4rec.models.model_samples import kinds, real_factors, saved, sparse

Read = tuple[np.ndarray, np.ndarray, list[str], list[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(6)
    model = real_factors(rng, 25, 60, 12, widths=(4, 12))
    return saved(tmp_path / "model", model, sparse(rng, 25, 60, 200))


def read_npy(out: Path) -> Read:
    users, items = (np.load(out / f"{name}.npy", allow_pickle=False) for name in ("users", "items"))
    names = [
        np.load(out / f"{name}_ids.npy", allow_pickle=False).tolist() for name in ("users", "items")
    ]
    return users, items, *names


def read_parquet(out: Path) -> Read:
    tables = [pq.read_table(out / f"{name}.parquet") for name in ("users", "items")]
    users, items = (np.stack(table["vector"].to_numpy(zero_copy_only=False)) for table in tables)
    return users, items, tables[0]["user_id"].to_pylist(), tables[1]["item_id"].to_pylist()


def read_faiss(out: Path) -> Read:
    import faiss

    index = faiss.read_index(str(out / "items.faiss"))
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    names = [
        np.load(out / f"{name}_ids.npy", allow_pickle=False).tolist() for name in ("users", "items")
    ]
    users = np.load(out / "users.npy", allow_pickle=False)
    return users, index.reconstruct_n(0, index.ntotal), *names


READERS = {"npy": read_npy, "parquet": read_parquet, "faiss": read_faiss}


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize(("width", "turn"), [(None, False), (4, False), (5, True), (12, True)])
def test_reading_back_gives_the_same_lists(
    folder: Path, tmp_path: Path, format: str, width: int | None, turn: bool
) -> None:
    out = export.run(folder, width, turn, format, tmp_path / "out")
    users, items, user_ids, item_ids = READERS[format](out)
    loaded = model_folder.load(folder)
    model = loaded.model
    assert isinstance(model, FactorModel)
    if turn:
        model = FactorModel(*rotate(model.user_vectors, model.item_vectors))
    expected, _ = recommend(model, np.arange(25), loaded.seen, 10, width)
    rows = tensor_file.read(out / "seen.safetensors")
    scores = users @ items.T
    assert users.shape == (25, width or 12)
    for user, user_id in enumerate(user_ids):
        assert user_id == loaded.ids.user_ids[user]
        scores[user, rows["indices"][rows["indptr"][user] : rows["indptr"][user + 1]]] = -np.inf
        best = np.argsort(-scores[user])[:10]
        assert [item_ids[row] for row in best] == loaded.ids.item_ids[expected[user]].tolist()


def test_faiss_itself_finds_the_same_items(folder: Path, tmp_path: Path) -> None:
    import faiss

    out = export.run(folder, 4, False, "faiss", tmp_path / "out", seen=False)
    index = faiss.read_index(str(out / "items.faiss"))
    _, found = index.search(np.load(out / "users.npy"), 5)
    model = model_folder.load(folder).model
    scores = model.scores(np.arange(25), 4)
    assert found.tolist() == np.argsort(-scores, axis=1)[:, :5].tolist()
    assert not (out / "seen.safetensors").exists()


def test_the_manifest_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    out = export.run(folder, 5, True, "npy", tmp_path / "deep" / "out")
    body = json.loads((out / "manifest.json").read_text())
    assert body["stage_key"] == "k" * 64
    assert (body["width"], body["full_width"], body["rotated"]) == (5, 12, True)
    assert body["trained_widths"] == [4, 12]
    assert "inner product" in body["score"]
    assert {*body["files"], "manifest.json"} == {path.name for path in out.iterdir()}


def test_what_cannot_be_exported_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"1 … 12 \(trained widths: 4, 12\)"):
        export.run(folder, 13, False, "npy", out)
    with pytest.raises(UsageError, match="width 0"):
        export.run(folder, 0, False, "npy", out)
    with pytest.raises(UsageError, match="parquet"):
        export.run(folder, 4, False, "parket", out)
    assert not out.exists()
    out.mkdir()
    export.run(folder, 4, False, "npy", out)  # an empty folder is free
    with pytest.raises(UsageError, match="taken"):
        export.run(folder, 4, False, "npy", out)


def test_models_without_vectors_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    seen = sparse(rng, 8, 11, 20)
    _, dense, _, counts, mixture = kinds(rng, 8, 11, seen)
    refused = (
        ("EASE", dense, "item-item"),
        ("Pop", counts, "popularity"),
        ("MVAE", mixture, "concept"),
    )
    for name, model, why in refused:
        folder = saved(tmp_path / name, model, seen, method_name=name)
        with pytest.raises(UsageError, match=f"{name} has no vectors.*{why}"):
            export.run(folder, None, False, "npy", tmp_path / "out")
