"""Retraining with methods that read sequences: all are judged on a split of sequences."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from flows.cli.parser import given
from flows.config.retrain import RetrainConfig
from flows.pipeline import plain
from flows.retrain import run_retrain
from flows.retraining import challengers
from flows.retraining.challengers import Champion
from flows.retraining.outcome import Outcome
from flows.retraining.stages import Stages
from jobs import ingest as ingest_job
from jobs import sequences as sequences_job
from jobs.ingest import IngestRequest
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking import recommend
from mrl4rec.models import model_folder, resolve
from mrl4rec.serving.registry import ledger, personal
from tests.flows.parsed import parsed
from tests.flows.weekly import week
from tests.mrl4rec.checks.drift_samples import START
from tests.mrl4rec.models.model_samples import card

DATASET, METHOD = "weekly", "YouTubeDNN"
SMALL = [f"--set={METHOD}.{value}" for value in
         ("dim=16", "epoch_size=20", "batch=256", "lr=0.01", "patience=3")]  # fmt: skip


def asked(dumps: Path, *more: str) -> RetrainConfig:
    arguments = parsed("retrain", "--dataset", DATASET, "--dumps", str(dumps), *more)
    return RetrainConfig(**given(arguments, RetrainConfig))


@pytest.mark.parametrize(
    ("methods", "champion", "ordered"),
    [
        ("MRL-M", None, False),
        ("MRL-M,LastItem", None, True),
        ("MRL-M", METHOD, True),
        ("MRL-M", "EASE", False),
        (None, METHOD, True),
        (None, None, False),
    ],
)
def test_a_split_of_sequences_where_one_side_reads_them(
    settings: Settings, methods: str | None, champion: str | None, ordered: bool
) -> None:
    stages = Stages(
        asked(Path("dumps"), *(["--methods", methods] if methods else [])), settings, plain
    )
    served = None
    if champion is not None:
        method = resolve(champion)
        said = card(method=method.as_dict(), method_name=method.name)
        served = Champion("k", Path("nowhere"), said)
    assert challengers.read_sequences(stages, served) is ordered


def test_sequences_are_made_as_those_of_the_champion(settings: Settings, tmp_path: Path) -> None:
    dump = week(tmp_path / "dumps", 0)
    stages = Stages(asked(dump.parent), settings, plain)
    since = START + timedelta(days=20)
    ingest = ingest_job.run(IngestRequest(DATASET, files=(dump,)), settings)
    core = stages.core(ingest, None)
    wanted = {"repeats": False, "max_length": 9, "ties": "file"}
    made = sequences_job.run(DATASET, ingest, core, **wanted, settings=settings)
    sequences_job.run(
        DATASET, ingest, core, repeats=True, max_length=None, ties="hash", settings=settings
    )
    champion = card(versions={"sequences": made.version})
    stages.split_since(ingest, core, since, champion, of_sequences=True)
    assert stages.prepared.sequences is not None
    assert stages.prepared.sequences.key == made.key


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_weeks_of_a_sequential_model(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "w", retrain_min_users=60, data_engine="duckdb")
    dumps = tmp_path / "dumps"

    def run(*more: str) -> Outcome:
        request = asked(dumps, "--seeds", "0", "--epochs", "15", *more)
        return run_retrain(request, settings, plain)

    week(dumps, 0)
    first = run("--methods", METHOD, *SMALL)
    (row,) = ledger.entries(settings, DATASET)
    assert (first.outcome, row.evidence["champion"]["method"]) == ("promoted", "Pop")
    folder = settings.storage.model_dir(DATASET, str(row.champion))
    served = model_folder.load(folder)
    assert "sequence_splits" in served.card.versions
    assert served.card.folds == ("train", "valid", "test")
    week(dumps, 1)
    run("--methods", f"{METHOD},EASE", *SMALL)
    row = ledger.entries(settings, DATASET)[-1]
    assert row.evidence["champion_is"] == "as it is in service"
    assert row.evidence["champion"]["method"] == METHOD
    assert "no vectors" in " ".join(row.evidence["notes"])
    user = str(served.ids.user_ids[7])
    answer = personal.for_user(settings, DATASET, user, 5, model=served.card.stage_key)
    items, _ = recommend(served.model, [7], served.consumed, 50)
    wanted = [str(item) for item in served.ids.item_ids[items[0]]]
    listed = [one["item_id"] for one in answer.rows]
    assert listed == [item for item in wanted if item in listed]  # less what was had since
