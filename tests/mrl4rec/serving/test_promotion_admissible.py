"""Which folders may be compared: real folders, really damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrl4rec.core import tensor_file
from mrl4rec.models.model_folder import card as card_file
from mrl4rec.serving.promotion.decision import admissible
from tests.mrl4rec.models.model_samples import ids, real_factors, saved, sparse

SPLIT, OLDER = "a" * 64, "b" * 64
SINCE = datetime(2014, 5, 1, tzinfo=UTC)
USERS, ITEMS = ids(14, 22)
"""The present ids: the models know the first 12 and 20 of them."""


def folder(path: Path, split: str = SPLIT, until: str | None = None, **options: Any) -> Path:
    rng = np.random.default_rng(0)
    model = real_factors(rng, 12, 20, 8, widths=(4, 8))
    seen = sparse(rng, 12, 20, 60)
    return saved(path, model, seen, versions={"split_key": split}, trained_until=until, **options)


@pytest.fixture
def champion(tmp_path: Path) -> Path:
    return folder(tmp_path / "champion", OLDER, "2014-04-30T00:00:00Z")


@pytest.fixture
def challenger(tmp_path: Path) -> Path:
    return folder(tmp_path / "challenger", SPLIT, "2014-04-30T23:59:59.999999Z")


def reasons(champion: Path | None, challenger: Path, **options: Any) -> list[str]:
    return admissible(champion, challenger, USERS, ITEMS, SPLIT, **{"since": SINCE, **options})


def test_sound_folders_may_be_compared(champion: Path, challenger: Path) -> None:
    assert reasons(champion, challenger) == []
    assert reasons(None, challenger) == []
    assert reasons(challenger, challenger, since=None) == []


def flipped(path: Path) -> None:
    file = path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def signed_again(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write tensors and a card that vouches for them: only their content is amiss."""
    file = path / "model.safetensors"
    tensor_file.write(file, tensors)
    body = json.loads((path / "model.json").read_text())
    body["files"][file.name] = {"bytes": file.stat().st_size, "sha256": card_file.sha256(file)}
    body["shapes"] = {name: list(tensor.shape) for name, tensor in tensors.items()}
    body["sha256"] = card_file.digest(body)
    (path / "model.json").write_text(json.dumps(body))


def nan(path: Path) -> None:
    tensors = tensor_file.read(path / "model.safetensors")
    tensors["item_vectors"][3, 2] = np.nan
    signed_again(path, tensors)


def narrow(path: Path) -> None:
    tensors = tensor_file.read(path / "model.safetensors")
    signed_again(path, {**tensors, "user_vectors": tensors["user_vectors"][:, :7].copy()})


def short(path: Path) -> None:
    tensors = tensor_file.read(path / "model.safetensors")
    signed_again(path, {**tensors, "item_vectors": tensors["item_vectors"][:19].copy()})


def cut(path: Path) -> None:
    file = path / "seen.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def no_json(path: Path) -> None:
    (path / "model.json").write_text("{}")


DAMAGE: dict[Callable[[Path], None], str] = {
    flipped: "model.safetensors is not what was written",
    nan: "item_vectors holds values that are not finite",
    narrow: "do not go together",
    short: "12 users × 19 items, the ids 12 × 20",
    cut: "seen.safetensors has",
    no_json: "the card is not what was written",
    shutil.rmtree: "no model folder",
    lambda path: (path / "users.parquet").unlink(): "users.parquet is missing",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: getattr(damage, "__name__", ""))
@pytest.mark.parametrize("name", ["champion", "challenger"])
@pytest.mark.fault("F34")
def test_a_damaged_folder_is_refused(
    champion: Path, challenger: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage({"champion": champion, "challenger": challenger}[name])
    (reason,) = reasons(champion, challenger)
    assert reason.startswith(f"the {name} does not load: ")
    assert DAMAGE[damage] in reason


@pytest.mark.fault("F34")
def test_ids_that_do_not_match_are_refused(champion: Path, challenger: Path) -> None:
    swapped = ITEMS.copy()
    swapped[[4, 9]] = swapped[[9, 4]]
    found = admissible(None, challenger, USERS, swapped, SPLIT, since=SINCE)
    assert found == [
        "the challenger has other item ids: row 4 is 'Bücher 4' and should be 'Bücher 9' "
        "(2 rows differ)"
    ]
    fewer = admissible(champion, challenger, USERS[:11], ITEMS, SPLIT, since=SINCE)
    assert fewer == [
        "the champion has 12 users, and there are only 11",
        "the challenger has 12 users, and there are only 11",
    ]


@pytest.mark.fault("F33")
def test_another_data_version_is_refused(tmp_path: Path, champion: Path) -> None:
    other = folder(tmp_path / "other", "c" * 64, "2014-04-30T00:00:00Z")
    (reason,) = reasons(champion, other)
    assert reason.startswith(
        "the challenger was trained on another data version: split cccccccccccc…"
    )
    (reason,) = reasons(champion, folder(tmp_path / "x"), since=None)
    assert reason.startswith("the champion was trained on another data version")
    timeless = folder(tmp_path / "timeless", OLDER)
    (reason,) = reasons(timeless, folder(tmp_path / "x"))
    assert reason.startswith("the champion was trained on another data version")


def test_who_trained_on_the_window_is_refused(tmp_path: Path, challenger: Path) -> None:
    late = folder(tmp_path / "late", OLDER, "2014-05-01T00:00:00Z")
    (reason,) = reasons(late, challenger)
    assert reason.startswith("the champion was trained until 2014-05-01T00:00:00Z, and the window")
    assert reason.endswith("begins 2014-05-01 00:00")
    assert reasons(late, challenger, since=SINCE + timedelta(microseconds=1)) == []
    everything = folder(
        tmp_path / "everything", SPLIT, "2014-04-01T00:00:00Z", folds=("train", "valid", "test")
    )
    (reason,) = reasons(None, everything)
    assert reason == "the challenger was fitted on the window it is to be judged by"


def test_the_begin_of_the_window_may_come_in_any_zone(tmp_path: Path, challenger: Path) -> None:
    late = folder(tmp_path / "late", OLDER, "2014-05-01T00:00:00Z")
    east = timezone(timedelta(hours=9))
    assert reasons(late, challenger, since=datetime(2014, 5, 1, 9, 0, tzinfo=east)) != []
    assert reasons(late, challenger, since=datetime(2014, 5, 1, 9, 1, tzinfo=east)) == []
    assert reasons(late, challenger, since=datetime(2014, 5, 1)) != []
