"""One training over two machines that share the network and the warehouse's address, no disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.pipeline import Pipeline
from mrl4rec.core.settings import Settings
from tests.faults import scene
from tests.listening import reachable_from_outside
from tests.machines import Machines, crash

EPOCHS = 40
COMMON = [
    "--dataset", scene.DATASET, "--kcore", "2", "--methods", scene.METHOD, "--levels", "4,8",
    *(word for value in scene.OVERRIDES for word in ("--set", value)),
    "--epochs", str(EPOCHS), "--device", "cpu", "--json",
]  # fmt: skip
TRAIN, EVALUATE = ["train", *COMMON], ["evaluate", *COMMON]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Calm:
    """What two ranks of one machine make of the dump."""

    dump: Path
    vectors: dict[str, str]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    folder = tmp_path_factory.mktemp("one-machine")
    dump = scene.dump(folder / "reviews.json")
    settings = Settings(warehouse=folder / "warehouse", data_engine="duckdb")
    pipeline = Pipeline(scene.request(dump, devices=2, epochs=EPOCHS), settings)
    pipeline.prepare()
    pipeline.train(pipeline.cells[0])
    return Calm(dump, vectors(settings))


@pytest.fixture
def machines(lake: Settings, calm: Calm, tmp_path: Path) -> Iterator[Machines]:
    """Two, and the split in the warehouse that both are given the address of."""
    scene.run(lake, calm.dump, until="split")
    both = Machines(tmp_path, str(lake.warehouse))
    yield both
    both.end()


def vectors(settings: Settings) -> dict[str, str]:
    return {
        name: value
        for name, value in scene.digests(settings).items()
        if name.startswith("vectors ")
    }


def test_two_machines_train_what_two_ranks_of_one_do(
    lake: Settings, calm: Calm, machines: Machines
) -> None:
    """The first evaluates it; asked again with two devices, one machine finds it done."""
    first, second = machines.both(EVALUATE)
    for child in (second, first):
        child.ended()
    assert vectors(lake) == calm.vectors
    told = [json.loads(child.out.read_text()) for child in (first, second)]
    assert told[0][0]["model_key"] == told[1][0]["model_key"]
    assert lake.storage.has_table(scene.DATASET, "results")
    assert "evaluate " in first.said()
    assert "evaluate " not in second.said()
    assert not lake.storage.checkpoints_dir(scene.DATASET, told[0][0]["model_key"]).exists()

    pipeline = Pipeline(scene.request(calm.dump, devices=2, epochs=EPOCHS), lake)
    pipeline.prepare()
    assert pipeline.train(pipeline.cells[0]).found


@pytest.mark.fault("C6")
def test_a_machine_is_lost_and_the_same_commands_go_on(
    lake: Settings, calm: Calm, machines: Machines
) -> None:
    """One of two machines of one training is killed with -9; the same commands again"""
    rough = {"MRL4REC_CHECKPOINT_SECONDS": "0"}
    checkpoints = lake.storage.dataset_dir(scene.DATASET) / "checkpoints"
    first, second = machines.both(TRAIN, **rough)
    scene.wait_until(lambda: bool(list(checkpoints.glob("*/*.safetensors"))))
    assert not reachable_from_outside(first.process.pid)
    crash(second)
    said = first.ended(1)
    assert "machine 1 (" in said
    assert not vectors(lake)
    assert list(checkpoints.glob("*/*.safetensors"))

    for child in machines.both(TRAIN):
        child.ended()
    assert vectors(lake) == calm.vectors
