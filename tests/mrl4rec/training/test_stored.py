"""Models of a warehouse: what users are known to have had, in earlier folders too."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.scorers import CountModel
from mrl4rec.training import TrainRequest, run, stored
from tests.flows import warehouse
from tests.mrl4rec.models.model_samples import card, older, rows


@pytest.fixture
def folder(settings: Settings) -> Path:
    """Pop, trained on the first four fifths of all pairs of 20 users and 5 items."""
    split = warehouse.build(settings).split
    made = run(warehouse.DATASET, split, TrainRequest(resolve("Pop")), settings)
    return settings.storage.model_dir(warehouse.DATASET, made.key)


def test_what_was_held_out_is_known_all_the_same(settings: Settings, folder: Path) -> None:
    loaded = model_folder.load(folder)
    assert (len(loaded.seen.indices), len(loaded.consumed.indices)) == (80, 100)
    again = stored.load(settings, folder)
    assert again.consumed.indptr.tolist() == loaded.consumed.indptr.tolist()


def test_a_folder_of_an_earlier_version_takes_it_from_its_split(
    settings: Settings, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older(folder)
    assert len(model_folder.load(folder).consumed.indices) == 80
    assert len(stored.load(settings, folder).consumed.indices) == 100
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    assert len(stored.load(settings, elsewhere).consumed.indices) == 80
    shutil.rmtree(settings.storage.dataset_dir(warehouse.DATASET) / "splits")
    assert len(stored.load(settings, folder).consumed.indices) == 80
    assert str(folder) in caplog.text


def test_a_model_that_came_from_no_table_is_as_it_was_saved(
    settings: Settings, tmp_path: Path
) -> None:
    ids = np.array(["a"], dtype=object), np.array(["x", "y"], dtype=object)
    model, seen = CountModel(np.array([1, 2]), 1), rows([1], n_items=2)
    at = model_folder.save(tmp_path / "m", model, card(), ids, seen)
    assert stored.load(settings, older(at)).consumed.indices.tolist() == [1]
