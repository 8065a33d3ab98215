"""Checkpoints that are cut or damaged, shares without examples, NaN, no memory, no tracker."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.benchmarking import execute
from flows.pipeline import plain
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import from_pairs
from mrl4rec.models import model_folder
from mrl4rec.tracking import Tracker
from mrl4rec.tracking.push import client
from mrl4rec.training import run
from mrl4rec.training.group import Group
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, toy

EVERY_STEP = {"MRL4REC_CHECKPOINT_SECONDS": "0"}


def checkpoints(settings: Settings) -> list[Path]:
    return sorted(settings.storage.dataset_dir(scene.DATASET).glob("checkpoints/*/*.safetensors"))


@pytest.mark.slow
@pytest.mark.fault("F24")
def test_f24_killed_while_a_checkpoint_is_written(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """kill -9 when the fifth checkpoint is written and not yet in its place; again"""
    settings = undisturbed.before("train", tmp_path)
    # Of the file, then of its folder, for each checkpoint.
    at = "kill after mrl4rec.core.files:sync 9"
    children("train", undisturbed.dump, settings, at=at, **EVERY_STEP).killed()
    assert [path.name[:8] for path in checkpoints(settings)] == ["00000003", "00000004"]
    assert list(tmp_path.glob("d/checkpoints/*/.*.tmp"))
    said = children("train", undisturbed.dump, settings).ended()
    assert "resuming from 00000004" in said
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "went on from the one before; same vectors")


def flipped(undisturbed: Undisturbed, settings: Settings, start: Start) -> None:
    """A training killed with -9 in its refit, and a byte of its newest checkpoint flipped."""
    at = "kill after mrl4rec.training.checkpoint:Store.save 15"
    start("train", undisturbed.dump, settings, at=at, **EVERY_STEP).killed()
    newest = checkpoints(settings)[-1]
    body = bytearray(newest.read_bytes())
    body[-3] ^= 1  # in the last float of a table
    newest.write_bytes(bytes(body))


@pytest.mark.slow
@pytest.mark.fault("F24")
def test_f24_a_byte_of_the_newest_checkpoint_is_flipped(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """kill -9 in training, a byte of the newest checkpoint flipped on disk; again"""
    settings = undisturbed.before("train", tmp_path)
    flipped(undisturbed, settings, children)
    said = children("train", undisturbed.dump, settings).ended()
    assert "is damaged: going back to the one before" in said
    assert "resuming from 00000014" in said
    assert ": refit, epoch" in said
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "a warning, the one before was taken; same vectors")


@pytest.mark.slow
@pytest.mark.fault("F24", without="the checksum of a checkpoint")
def test_f24_the_oracle_notices_a_flipped_byte(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """The same flipped byte, in a process that takes a checkpoint unread"""
    settings = undisturbed.before("train", tmp_path)
    flipped(undisturbed, settings, children)
    children("train", undisturbed.dump, settings, without="checksum").ended()
    found = scene.digests(settings)
    (vectors,) = (name for name in found if name.startswith("vectors"))
    assert found[vectors] != undisturbed.digests[vectors]
    record_property("came", "noticed: other vectors")


def uneven(users: int = 51) -> Any:
    """The toy data with a user more: 51 are divisible neither by 2 nor by 4."""
    data = toy.small()
    folds = [zip(*data.pairs(fold), strict=True) for fold in ("train", "valid", "test")]
    extra = [[(users - 1, 0), (users - 1, 2)], [], [(users - 1, 4)]]
    whole = [[*pairs, *more] for pairs, more in zip(folds, extra, strict=True)]
    return from_pairs(*whole, users, 40)


@pytest.mark.fault("F25")
def test_f25_every_example_is_in_one_share(record_property: Note) -> None:
    """Batches of 1 to 70 examples are cut for 1 to 9 ranks, more ranks than examples too"""
    for world in range(1, 10):
        for batch in range(1, 71):
            shares = [range(*Group(rank, world).share(batch)) for rank in range(world)]
            assert [n for share in shares for n in share] == list(range(batch))
    assert any(not range(*Group(rank, 4).share(3)) for rank in range(4))
    record_property("came", "every example in one share; shares may be empty")


@pytest.mark.slow
@pytest.mark.fault("F25")
@pytest.mark.timeout(300)
def test_f25_a_rank_without_examples(tmp_path: Path, record_property: Note) -> None:
    """51 users; 4 ranks share steps of 3 examples, one has none: against 2 ranks and 1"""
    found = {}
    for ranks in (1, 2, 4):
        asked = toy.request(devices=ranks, dtype="float64", epochs=2, engine="autograd")
        few = {**asked.method.as_dict(), "batch": 3}
        asked = toy.dataclasses.replace(asked, method=toy.resolve("MRL-M", overrides(few)))
        settings = Settings(warehouse=tmp_path / str(ranks), collective_seconds=60)
        commit = run("toy", toy.SPLIT, asked, settings, lambda report: None, data=uneven)
        found[ranks] = model(commit), commit.summary["best"]
    for ranks in (2, 4):
        for name in ("user_vectors", "item_vectors"):
            gap = np.abs(getattr(found[ranks][0], name) - getattr(found[1][0], name)).max()
            assert gap < 1e-6
        assert found[ranks][1] == found[1][1]
    record_property("came", "no hang; vectors to 1e-6 and the metric the same for 1, 2, 4 ranks")


def overrides(method: dict[str, Any]) -> list[str]:
    names = ("dim", "batch", "lr", "candidates", "patience")
    return [f"MRL-M.{name}={method[name]}" for name in names]


def model(commit: Commit) -> Any:
    return model_folder.load(Path(commit.summary["folder"])).model


POISON = textwrap.dedent(
    """
    import os
    if os.environ.get("RANK") == "1":
        from mrl4rec.training.learner import Learner
        loss = Learner.loss
        def poisoned(self, users, positives, step):
            return loss(self, users, positives, step) * (float("nan") if step == 9 else 1.0)
        Learner.loss = poisoned
    """
)
"""What rank 1 imports when it starts: from its tenth step comes a loss that is no number."""


@pytest.mark.slow
@pytest.mark.fault("F26")
def test_f26_nan_on_one_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Note
) -> None:
    """Of two ranks one gets NaN in step 9; then the training again without it"""
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(POISON)
    asked = toy.request(devices=2, dtype="float64", epochs=3)
    rough = Settings(warehouse=tmp_path / "rough", checkpoint_seconds=0)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "poison"), prepend=os.pathsep)
        with pytest.raises(Mrl4recError, match=r"the loss became nan .*step \d+; stopped before"):
            toy.train(rough, asked)
    assert not list(tmp_path.glob("rough/toy/models/*"))
    kept = sorted(tmp_path.glob("rough/toy/checkpoints/*/*.safetensors"))
    assert kept
    again = toy.train(rough, asked)
    calm = toy.train(Settings(warehouse=tmp_path / "calm"), asked)
    assert toy.digest(again) == toy.digest(calm)
    record_property("came", "both stopped before the update; the checkpoint was kept; then same")


@pytest.mark.slow
@pytest.mark.fault("F26")
def test_f26_a_diverged_training_is_a_failed_run(
    undisturbed: Undisturbed, tmp_path: Path, record_property: Note
) -> None:
    """A benchmark with a learning rate that overflows"""
    settings = undisturbed.before("train", tmp_path)
    overflow = (*scene.OVERRIDES, "MRL-M.lr=1e38")
    request = scene.request(undisturbed.dump, overrides=overflow)
    with pytest.raises(Mrl4recError, match="training diverged"):
        execute.run_benchmark([request], settings, plain)
    assert statuses(settings) == ["FAILED"]
    record_property("came", "the run is FAILED, none is RUNNING")


def statuses(settings: Settings) -> list[str]:
    api = client(settings.mlflow_uri())
    found = api.search_runs([e.experiment_id for e in api.search_experiments()])
    return sorted(run.info.status for run in found)


SCARCE = textwrap.dedent(
    """
    import hashlib, logging, resource, sys
    import numpy as np
    from mrl4rec.kernels.csr import csr
    from mrl4rec.evaluation.ranking.evaluate import evaluate
    from mrl4rec.models.scorers import FactorModel
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    rng = np.random.default_rng(3)
    users, items = 60_000, 150
    def pairs(n):
        found = np.unique(rng.integers(0, users * items, n))
        return csr(found // items, found % items, users, items)
    model = FactorModel(*(rng.normal(size=(n, 8)).astype(np.float32) for n in (users, items)))
    seen, truth = pairs(400_000), pairs(200_000)
    def digest(**how):
        found = evaluate(model, seen, truth, ks=(10, 140), n_threads=1, **how)
        return hashlib.sha256(repr(found.values).encode() + found.values_EWCM.tobytes()).hexdigest()
    print(digest(memory_mb=32))
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (40 << 20),) * 2)
    print(digest(memory_mb=1024))
    """
)


@pytest.mark.slow
@pytest.mark.fault("F28")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_f28_out_of_memory_in_ranking(tmp_path: Path, record_property: Note) -> None:
    """Ranking may take 1 GB by its setting, and the system (RLIMIT_AS) gives it 40 MB more"""
    done = subprocess.run(
        [sys.executable, "-c", SCARCE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    whole, scarce = done.stdout.split()
    assert scarce == whole
    told = [line for line in done.stderr.splitlines() if "out of memory in ranking" in line]
    assert told
    record_property("came", f"halved {len(told)} times, went on; the same metrics")


@pytest.mark.fault("F29")
@pytest.mark.parametrize(
    "other", ["config", "split", pytest.param("ranks", marks=pytest.mark.slow)]
)
def test_f29_resumed_as_another_training(other: str, tmp_path: Path, record_property: Note) -> None:
    """The checkpoints of one training are put where another's are looked for"""
    settings = Settings(warehouse=tmp_path, checkpoint_seconds=0)
    asked = toy.request()
    with pytest.raises(toy.Cut):
        toy.train(settings, asked, toy.cut_at(4))
    (kept,) = tmp_path.glob("toy/checkpoints/*")
    split, wanted, said = toy.SPLIT, asked, "stage_key"
    if other == "config":
        wanted, said = another(), "method"
    elif other == "split":
        split = toy.dataclasses.replace(split, key="cd" * 32)
    else:
        wanted, said = toy.request(devices=2, engine="autograd"), "ranks: it has 1, asked for is 2"
    key = toy.key("toy", split, wanted, settings)
    kept.rename(kept.with_name(key))
    with pytest.raises(Mrl4recError, match=said) as caught:
        run("toy", split, wanted, settings, lambda report: None, data=toy.small)
    assert "belongs to another training" in str(caught.value)
    assert not list(tmp_path.glob("toy/models/*"))
    record_property("came", "refused, the difference shown")


def another() -> Any:
    asked = toy.request()
    return toy.dataclasses.replace(asked, method=toy.resolve("MRL-M", [
        "MRL-M.dim=8", "MRL-M.batch=64", "MRL-M.lr=0.01", "MRL-M.candidates=4",
    ]))  # fmt: skip


@pytest.mark.slow
@pytest.mark.fault("F30")
@pytest.mark.timeout(900)
def test_f30_the_tracking_server_is_away(
    server: Any, store: Settings, undisturbed: Undisturbed, record_property: Note
) -> None:
    """A real MLflow server that is not up yet; killed with -9 in training; before the last word"""
    undisturbed.before("train", store.warehouse)
    tracked = server.tracked

    def bench(seed: int, at: str | None) -> None:
        def step(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if at is not None and name.startswith(at):
                server.stop()
            return function(*args, **kwargs)

        request = scene.request(undisturbed.dump, seeds=(seed,))
        execute.run_benchmark([request], tracked, step)

    pushed = []
    for seed, at in ((0, None), (1, "train"), (2, "report")):
        bench(seed, at)
        server()
        pushed.append(Tracker(tracked).replay())
        assert Tracker(tracked).replay() == 0
    assert pushed == [2, 2, 1]  # a model and its benchmark; in the end the benchmark alone
    assert statuses(store) == ["FINISHED"] * 6
    found = scene.digests(store)  # two seeds more, so `results` has more rows
    assert {**undisturbed.digests, **found} == {**found, "results": found["results"]}
    record_property("came", "every training ended; each record pushed once; no run left RUNNING")
