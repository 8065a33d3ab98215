"""Retraining with methods that read sequences: all are judged on a split of sequences."""

from __future__ import annotations

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
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking import recommend
from mrl4rec.models import model_folder, resolve
from mrl4rec.serving.registry import ledger, personal
from tests.flows.parsed import parsed
from tests.flows.weekly import week
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
