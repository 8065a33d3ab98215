"""A model folder comes back as it was written, or says what is wrong with it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrl4rec.core import tensor_file
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.evaluation.ranking import recommend
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import ModelCard, store
from mrl4rec.models.model_folder import card as card_file
from mrl4rec.models.scorers import CountModel, FactorModel, ItemItemModel
from tests.mrl4rec.models.model_samples import (
    card,
    ids,
    kinds,
    older,
    real_factors,
    rewrite,
    rows,
    saved,
    sparse,
)

FILES = (
    "model.json", "model.safetensors", "seen.safetensors", "consumed.safetensors", "users.parquet",
    "items.parquet",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder of a factor model with layers and widths."""
    rng = np.random.default_rng(0)
    layers = real_factors(rng, 12, 20, 8)
    model = real_factors(
        rng,
        12,
        20,
        8,
        user_vectors_0=layers.user_vectors,
        item_vectors_0=layers.item_vectors,
        widths=(4, 8),
    )
    history = [{"epoch": 0, "loss": 0.6931, "valid_recall@10": 0.05}]
    return saved(
        tmp_path / "models" / "key",
        model,
        sparse(rng, 12, 20, 40),
        levels=(4, 8),
        seed=3,
        epoch=7,
        history=history,
        versions={"splits": 2},
        trained_until="2014-07-23T00:00:00+00:00",
    )


def test_everything_comes_back(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["key"]  # nothing temporary left
    model, found, names, seen, consumed = model_folder.load(folder)
    assert isinstance(model, FactorModel)
    rng = np.random.default_rng(0)
    layers = real_factors(rng, 12, 20, 8)
    expected = real_factors(rng, 12, 20, 8)
    np.testing.assert_array_equal(model.user_vectors, expected.user_vectors)
    np.testing.assert_array_equal(model.item_vectors_0, layers.item_vectors)
    assert model.widths == found.widths == (4, 8)
    assert (found.levels, found.seed, found.epoch, found.kind) == ((4, 8), 3, 7, "factors")
    assert found.history[0]["valid_recall@10"] == 0.05
    assert found.shapes["item_vectors_0"] == [20, 8]
    assert [part.tolist() for part in names] == [part.tolist() for part in ids(12, 20)]
    assert seen.problem() is consumed.problem() is None
    assert consumed.degrees.tolist() == seen.degrees.tolist()
    assert model_folder.read_card(folder) == found
    assert model_folder.is_complete(folder)


def test_every_kind_of_model_gives_the_same_lists_when_loaded(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    seen = sparse(rng, 15, 40, 90)
    for number, model in enumerate(kinds(rng, 15, 40, seen)):
        loaded = model_folder.load(saved(tmp_path / str(number), model, seen))
        assert type(loaded.model) is type(model)
        expected = recommend(model, np.arange(15), seen, 10)
        found = recommend(loaded.model, np.arange(15), loaded.seen, 10)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_a_wide_matrix_is_mapped_and_can_be_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_file, "MAPPED_BYTES", 1)
    rng = np.random.default_rng(1)
    seen = sparse(rng, 5, 30, 20)
    model = kinds(rng, 5, 30, seen)[1]
    loaded = model_folder.load(saved(tmp_path / "m", model, seen))
    assert isinstance(loaded.model, ItemItemModel)
    assert isinstance(loaded.model.weights.base, np.memmap)
    expected = recommend(model, np.arange(5), seen, 7)
    np.testing.assert_array_equal(recommend(loaded.model, np.arange(5), seen, 7)[0], expected[0])


def test_safetensors_reads_what_we_write(folder: Path) -> None:
    from safetensors.numpy import load_file

    theirs = load_file(folder / "model.safetensors")
    ours = tensor_file.read(folder / "model.safetensors")
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], ours[name]) for name in ours)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert not model_folder.is_complete(folder)
    with pytest.raises(Mrl4recError, match=name):
        model_folder.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["flipped", "short", "empty"])
def test_a_damaged_file_is_named(folder: Path, name: str, how: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    else:
        data = data[: len(data) - 1 if how == "short" and name != "model.json" else 0]
    path.write_bytes(data)
    with pytest.raises(Mrl4recError, match=name) as failure:
        model_folder.load(folder)
    assert "what to do" in str(failure.value)


def test_a_short_tensor_file_is_seen_without_checksums(folder: Path) -> None:
    path = folder / "model.safetensors"
    for size in (4, 60, path.stat().st_size - 8):
        os.truncate(path, size)
        with pytest.raises(Mrl4recError, match="safetensors"):
            tensor_file.read(path)


def test_a_card_of_another_shape_or_format_is_refused(folder: Path) -> None:
    shapes = model_folder.read_card(folder).shapes
    rewrite(folder, shapes={**shapes, "user_vectors": [12, 9]})
    with pytest.raises(Mrl4recError, match="other shapes"):
        model_folder.load(folder)
    rewrite(folder, shapes=shapes, format=99)
    with pytest.raises(Mrl4recError, match="format 99"):
        model_folder.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_vectors": np.ones((11, 8), np.float32)}, "11 users × 20 items"),
        ({"item_vectors": np.ones((20, 7), np.float32)}, "do not go together"),
        ({"user_vectors": np.full((12, 8), np.nan, np.float32)}, "not finite"),
        ({"widths": (4, 9)}, "widths"),
        ({"widths": (8, 4)}, "widths"),
        ({"item_vectors_0": np.ones((19, 8), np.float32)}, "layer 0 has 19 items"),
    ],
)
def test_a_model_that_does_not_fit_is_never_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    rng = np.random.default_rng(0)
    model = real_factors(rng, 12, 20, 8)
    parts = {k: v for k, v in vars(model).items() if k != "kind"}
    wrong = FactorModel(**{**parts, **change})
    with pytest.raises(Mrl4recError, match=message):
        model_folder.save(tmp_path / "m", wrong, card(), ids(12, 20), sparse(rng, 12, 20, 9))
    assert list(tmp_path.iterdir()) == []


def test_seen_items_of_another_data_set_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(Mrl4recError, match="seen items has 12 users × 21 items"):
        saved(tmp_path / "m", CountModel(np.arange(20), 12), sparse(rng, 12, 21, 9))


def test_nan_in_a_folder_signed_by_somebody_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = tensor_file.read(path)
    tensors["item_vectors"][3, 2] = np.nan
    tensor_file.write(path, tensors)
    files = json.loads((folder / "model.json").read_text())["files"]
    files[path.name] = {"bytes": path.stat().st_size, "sha256": card_file.sha256(path)}
    rewrite(folder, files=files)
    with pytest.raises(Mrl4recError, match="item_vectors holds values that are not finite"):
        model_folder.load(folder)


def test_a_crash_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, name: str, ids_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_ids", full)
    rng = np.random.default_rng(0)
    with pytest.raises(OSError, match="No space"):
        saved(tmp_path / "m", real_factors(rng, 12, 20, 8), sparse(rng, 12, 20, 9))
    assert list(tmp_path.iterdir()) == []


def test_a_sound_folder_stays_and_a_damaged_one_is_replaced(folder: Path) -> None:
    before = model_folder.digest(folder)
    rng = np.random.default_rng(9)
    other, seen = real_factors(rng, 12, 20, 8), sparse(rng, 12, 20, 40)
    saved(folder, other, seen)
    assert model_folder.digest(folder) == before
    (folder / "seen.safetensors").write_bytes(b"")
    saved(folder, other, seen)
    assert model_folder.digest(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_digest_is_of_the_tensors_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model, seen = real_factors(rng, 12, 20, 8), sparse(rng, 12, 20, 40)
    first = model_folder.digest(saved(tmp_path / "a", model, seen, epoch=1))
    assert first == model_folder.digest(saved(tmp_path / "b", model, seen, epoch=2))
    turned = FactorModel(model.user_vectors[::-1], model.item_vectors)
    assert first != model_folder.digest(saved(tmp_path / "c", turned, seen))


def test_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(Mrl4recError, match="no model folder"):
        model_folder.load(tmp_path / "nothing")


def test_a_card_from_before_folds_and_warm_starts_loads(folder: Path) -> None:
    path = folder / "model.json"
    body = json.loads(path.read_text())
    assert (body.pop("folds"), body.pop("warm")) == (["train", "valid"], None)
    body["sha256"] = card_file.digest(body)
    path.write_text(json.dumps(body))
    found = model_folder.load(folder).card
    assert (found.folds, found.warm) == (("train", "valid"), None)


def test_what_was_trained_on_and_what_is_known_are_two_sets(tmp_path: Path) -> None:
    seen, consumed = rows([0], [1, 2], n_items=3), rows([0, 2], [1, 2], n_items=3)
    folder = saved(tmp_path / "m", CountModel(np.arange(3), 2), seen, consumed)
    loaded = model_folder.load(folder)
    assert loaded.seen.row(0).tolist() == [0]
    assert loaded.consumed.row(0).tolist() == [0, 2]
    loaded = model_folder.load(older(folder))  # one of an earlier version
    assert loaded.consumed.row(0).tolist() == [0]
    assert model_folder.is_complete(folder)
    with pytest.raises(Mrl4recError, match="consumed items has 2 users × 4 items"):
        saved(tmp_path / "n", CountModel(np.arange(3), 2), seen, rows([0], [3], n_items=4))
    assert not (tmp_path / "n").exists()


def test_a_card_is_plain_json() -> None:
    values = asdict(card(levels=(4, 8)))
    assert ModelCard(**values) == card(levels=(4, 8))
    assert json.loads(json.dumps(values))["levels"] == [4, 8]
