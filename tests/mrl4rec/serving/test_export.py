"""Exported models, read back as a stranger would, give the model's own lists."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix

from mrl4rec.core import lazy, tensor_file
from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.ranking import recommend, rotate
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.scorers import CountModel, FactorModel, ItemItemModel
from mrl4rec.serving import export
from mrl4rec.serving.export import Options, formats
from mrl4rec.serving.export.contents import nearest
from tests.mrl4rec.models.model_samples import (
    kinds,
    real_factors,
    real_interests,
    rows,
    saved,
    sparse,
    whole_mixture,
    with_more,
)

Read = tuple[np.ndarray, np.ndarray, list[str], list[str]]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    rng = np.random.default_rng(6)
    model, seen = real_factors(rng, 25, 60, 12, widths=(4, 12)), sparse(rng, 25, 60, 200)
    held_out = with_more(seen, *((user, 2 * user) for user in range(25)))
    return model_folder.load(saved(tmp_path / "model", model, seen, held_out))


def of(tmp_path: Path, model: Any, seen: Any, name: str) -> Loaded:
    """A model read from its folder."""
    return model_folder.load(saved(tmp_path / name, model, seen, method_name=name))


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
    loaded: Loaded, tmp_path: Path, format: str, width: int | None, turn: bool
) -> None:
    out = export.run(loaded, tmp_path / "out", Options(width, turn), format).folder
    users, items, user_ids, item_ids = READERS[format](out)
    model = loaded.model
    assert isinstance(model, FactorModel)
    if turn:
        model = FactorModel(*rotate(model.user_vectors, model.item_vectors))
    expected, _ = recommend(model, np.arange(25), loaded.consumed, 10, width)
    assert users.shape == (25, width or 12)
    assert (user_ids, item_ids) == tuple(side.tolist() for side in loaded.ids)
    assert best(out, users @ items.T).tolist() == expected.tolist()


def best(out: Path, scores: np.ndarray, n: int = 10) -> np.ndarray:
    """The best items of each user whose items of seen.safetensors are left out."""
    rows = tensor_file.read(out / "seen.safetensors")
    for user in range(len(scores)):
        begin, end = rows["indptr"][user : user + 2]
        scores[user, rows["indices"][begin:end]] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :n]


def test_faiss_itself_finds_the_same_items(loaded: Loaded, tmp_path: Path) -> None:
    import faiss

    out = export.run(loaded, tmp_path / "out", Options(4), "faiss", seen=False).folder
    index = faiss.read_index(str(out / "items.faiss"))
    _, found = index.search(np.load(out / "users.npy"), 5)
    scores = loaded.model.scores(np.arange(25), 4)
    assert found.tolist() == np.argsort(-scores, axis=1)[:, :5].tolist()
    assert not (out / "seen.safetensors").exists()


def test_the_manifest_says_what_it_is(loaded: Loaded, tmp_path: Path) -> None:
    out = export.run(loaded, tmp_path / "deep" / "out", Options(5, True)).folder
    body = json.loads((out / "manifest.json").read_text())
    assert body["stage_key"] == "k" * 64
    assert (body["width"], body["full_width"], body["rotated"]) == (5, 12, True)
    assert body["trained_widths"] == [4, 12]
    assert "inner product" in body["score"]
    assert {*body["files"], "manifest.json"} == {path.name for path in out.iterdir()}


def history_of(out: Path) -> csr_matrix:
    """The users' histories, as 0 and 1."""
    read = tensor_file.read(out / "history.safetensors")
    n_items = len(np.load(out / "items_ids.npy"))
    ones = np.ones(len(read["indices"]), np.float32)
    return csr_matrix(
        (ones, read["indices"], read["indptr"]), shape=(len(read["indptr"]) - 1, n_items)
    )


@pytest.mark.parametrize("number", [1, 2], ids=["dense", "sparse"])
def test_weights_between_items_give_the_same_scores(tmp_path: Path, number: int) -> None:
    rng = np.random.default_rng(6)
    seen = sparse(rng, 8, 11, 20)
    found = of(tmp_path, kinds(rng, 8, 11, seen)[number], seen, "EASE")
    out, words = export.run(found, tmp_path / "out")
    if number == 1:
        assert words == "the item-item matrix"
        weights = np.load(out / "items_weights.npy")
    else:
        lists, values = (np.load(out / f"items_{name}.npy") for name in ("neighbours", "weights"))
        weights = np.zeros((11, 11), np.float32)
        for item in range(11):
            there = lists[item] >= 0
            weights[item, lists[item, there]] = values[item, there]
    scores = history_of(out) @ weights
    assert scores.tolist() == found.model.scores(np.arange(8)).tolist()
    assert json.loads((out / "manifest.json").read_text())["complete"] is True
    assert np.load(out / "users_ids.npy").tolist() == found.ids.user_ids.tolist()


@pytest.mark.parametrize("options", [{}, {"pooling": "sum"}, {"normalised": True}])
@pytest.mark.parametrize("rotate", [False, True])
def test_interests_are_exported_cut_and_rotated(
    tmp_path: Path, options: dict[str, Any], rotate: bool
) -> None:
    rng = np.random.default_rng(6)
    seen = sparse(rng, 8, 11, 20)
    model = real_interests(rng, 8, 11, 6, 3, widths=(2, 6), **options)
    found = of(tmp_path, real_factors(rng, 8, 11, 6), seen, "NAME")._replace(model=model)
    for width in (2, None):
        out, words = export.run(found, tmp_path / f"{width}", Options(width, rotate))
        users, items = (np.load(out / f"{name}.npy") for name in ("users_interests", "items"))
        products = np.einsum("ukd,id->uki", users, items)
        scores = products.sum(1) if options.get("pooling") == "sum" else products.max(1)
        if width is None or not rotate:
            np.testing.assert_allclose(scores, model.scores(np.arange(8), width), atol=1e-5)
        body = json.loads((out / "manifest.json").read_text())
        assert (body["width"], body["full_width"], body["rotated"]) == (width or 6, 6, rotate)
        assert "3 vectors a user" in words
    with pytest.raises(UsageError, match="--neighbours"):
        export.run(found, tmp_path / "out", Options(neighbours=3))
    with pytest.raises(UsageError, match="--format faiss"):
        export.run(found, tmp_path / "out", format="faiss")


WEIGHTS = np.array([[0, 3, -1, 0], [2, 0, 2, 5], [0, 0, 0, 0], [-2, 0, 1, 0]], np.float32)
BEST_TWO = [[1, 2], [3, 0], [-1, -1], [2, 0]]
"""Of each row the two largest that are not 0, ties by their place."""


@pytest.mark.parametrize("weights", [WEIGHTS, csr_matrix(WEIGHTS)], ids=["dense", "sparse"])
def test_neighbours_by_hand(tmp_path: Path, weights: Any) -> None:
    rows_IK, weights_IK, complete = nearest(weights, 2)
    assert rows_IK.tolist() == BEST_TWO
    assert weights_IK.tolist() == [[3, -1], [5, 2], [0, 0], [1, -2]]
    assert not complete
    assert [part.shape for part in nearest(weights, None)[:2]] == [(4, 3)] * 2
    assert nearest(weights, 9)[2]

    seen = rows([0], [1, 2], n_items=4)
    found = of(tmp_path, ItemItemModel(weights, seen), seen, "SLIM")
    out, words = export.run(found, tmp_path / "npy", Options(neighbours=2))
    assert np.load(out / "items_neighbours.npy").tolist() == BEST_TWO
    assert "2 largest" in words
    out, _ = export.run(found, tmp_path / "parquet", Options(neighbours=2), "parquet")
    table = pq.read_table(out / "items.parquet").to_pydict()
    names = found.ids.item_ids.tolist()
    assert table["neighbours"] == [[names[n] for n in lists if n >= 0] for lists in BEST_TWO]
    assert table["weights"] == [[3, -1], [5, 2], [], [1, -2]]
    assert json.loads((out / "manifest.json").read_text())["complete"] is False


def test_counts_and_mixtures_are_exported_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    seen = sparse(rng, 8, 11, 20)
    popular = of(tmp_path, CountModel(rng.integers(0, 4, 11), 8), seen, "Pop")
    out, words = export.run(popular, tmp_path / "counts", format="parquet")
    table = pq.read_table(out / "items.parquet").to_pydict()
    assert table["count"] == popular.model.scores(np.arange(1))[0].tolist()
    assert pq.read_table(out / "users.parquet").column_names == ["user_id"]
    assert "counts" in words

    mixture = of(tmp_path, whole_mixture(rng, 8, 11), seen, "MacridVAE")
    out, words = export.run(mixture, tmp_path / "mixture")
    users, items, mixing = (
        np.load(out / f"{n}.npy") for n in ("users_concepts", "items", "items_mixing")
    )
    logits = np.exp(np.einsum("ukd,id->uik", users, items))
    scores = np.log((logits * mixing[None]).sum(axis=2))
    assert scores == pytest.approx(mixture.model.scores(np.arange(8)), rel=1e-5)
    table = pq.read_table(
        export.run(mixture, tmp_path / "p", format="parquet").folder / "users.parquet"
    )
    assert np.array(table["concepts"].to_pylist()).tolist() == users.tolist()
    assert "concept" in words


def test_what_cannot_be_exported_says_what_to_do(loaded: Loaded, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"1 … 12 \(trained widths: 4, 12\)"):
        export.run(loaded, out, Options(13))
    with pytest.raises(UsageError, match="width 0"):
        export.run(loaded, out, Options(0))
    with pytest.raises(UsageError, match="--neighbours"):
        export.run(loaded, out, Options(neighbours=3))
    with pytest.raises(UsageError, match="parquet"):
        export.run(loaded, out, format="parket")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/out"):
        export.run(loaded, tmp_path / "file" / "out")
    assert not out.exists()
    out.mkdir()
    export.run(loaded, out, Options(4))  # an empty folder is free
    with pytest.raises(UsageError, match="taken"):
        export.run(loaded, out, Options(4))


def test_without_faiss_the_extra_and_another_format_are_named(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unread = lazy.Lazy("faiss", {})
    unread.close()
    monkeypatch.setattr(formats, "faiss", unread)
    monkeypatch.setitem(sys.modules, "faiss", None)  # importing it fails as if it were absent
    with pytest.raises(UsageError, match=r"mrl4rec\[faiss\].*--format npy"):
        export.run(loaded, tmp_path / "out", format="faiss")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_options_of_vectors_are_refused_where_there_are_none(tmp_path: Path, number: int) -> None:
    rng = np.random.default_rng(6)
    seen = sparse(rng, 8, 11, 20)
    found = of(tmp_path, kinds(rng, 8, 11, seen)[number], seen, "NAME")
    refused = [("--width", Options(4), "npy"), ("--rotate", Options(rotate=True), "npy"),
               ("--format faiss", Options(), "faiss")]  # fmt: skip
    refused += [("--neighbours", Options(neighbours=3), "npy")] if number > 2 else []
    for option, asked, format in refused:
        with pytest.raises(UsageError, match=option):
            export.run(found, tmp_path / "out", asked, format)
    assert [path.name for path in tmp_path.iterdir()] == ["NAME"]
