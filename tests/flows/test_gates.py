"""The gates on real tables: what stops the flow, what is kept, and how the next run heals."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from flows import gates
from jobs import facts, sequences, split
from mrl4rec import training
from mrl4rec.checks.gate import source_text
from mrl4rec.core import stage
from mrl4rec.core.errors import GateFailed, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import load
from mrl4rec.evaluation import evaluate as evaluation
from mrl4rec.evaluation.ranking.metrics import METRICS
from mrl4rec.kernels.csr import csr
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.scorers import FactorModel
from mrl4rec.tables import RESULTS, REVIEWS, SPLITS
from tests.flows import warehouse
from tests.flows.warehouse import DATASET, Stages

REVIEW = {"user_id": ["u0"], "item_id": ["i9"], "rating": [4.0], "reviewed_at": [warehouse.DAY],
          "source_sha256": ["a"], "record_no": [999]}  # fmt: skip
PAIR = {"user_idx": [19], "item_idx": [4], "reviewed_at": [warehouse.DAY], "fold": ["train"],
        "strategy": ["random"], "split_seed": [0]}  # fmt: skip


@pytest.fixture
def stages(settings: Settings) -> Stages:
    """The commits of a good warehouse."""
    return warehouse.build(settings)


def verdicts(settings: Settings) -> dict[tuple[str, str], str]:
    kept = warehouse.rows(settings, "gates")
    return {(row["table"], row["version"]): row["verdict"] for row in kept}


def test_good_tables_pass_and_a_known_verdict_needs_neither_engine_nor_gx(
    settings: Settings, stages: Stages, tmp_path: Path
) -> None:
    """The second asking is in a process where no JVM could be started."""
    for check, commit in (
        (gates.check_reviews, stages.ingest),
        (gates.check_core, stages.core),
        (gates.check_split, stages.split),
    ):
        verdict = check(DATASET, commit, settings)
        assert verdict.passed
        assert not verdict.known
        assert verdict.evaluated == verdict.declared >= 13
        page = verdict.page(settings)
        assert page is not None
        assert page.is_file()
    code = f"""
import sys
from flows import gates
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import history
settings = Settings()
for check, table in ((gates.check_reviews, "sources"), (gates.check_core, "interactions"),
                     (gates.check_split, "splits")):
    commit = history(settings.storage.table_uri("{DATASET}", table), table)[0]
    assert check("{DATASET}", commit, settings).known
heavy = {{"pyspark", "duckdb", "great_expectations", "torch"}} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {
        **os.environ,
        "MRL4REC_WAREHOUSE": str(settings.warehouse),
        "MRL4REC_SPARK_MASTER": "spark://nowhere.invalid:1",
        "JAVA_HOME": str(tmp_path / "no-java"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_blank_user_planted_into_reviews_stops_once_and_is_undone(
    settings: Settings, stages: Stages, caplog: pytest.LogCaptureFixture
) -> None:
    """The run that sees it stops; the next one says so, restores the table and goes on."""
    good = warehouse.rows(settings, "reviews")
    version = warehouse.write(settings, "reviews", REVIEW | {"user_id": [" "]})
    with pytest.raises(GateFailed) as error:
        gates.check_reviews(DATASET, stages.ingest, settings)
    text = str(error.value)
    for part in (f"reviews version {version}", "user_given", "seen 1, wanted 0", "user_id=' '",
                 "counts_conserved", "--expectation user_given"):  # fmt: skip
        assert part in text
    assert verdicts(settings)["reviews", str(version)] == "fail"
    assert verdicts(settings)["reviews", "0"] == "pass"

    with caplog.at_level(logging.WARNING):
        assert gates.check_reviews(DATASET, stages.ingest, settings).known
    assert f"version {version} of reviews" in caplog.text
    assert warehouse.rows(settings, "reviews") == good
    assert REVIEWS.schema.names == list(good[0])

    caplog.clear()
    head = DeltaTable(settings.storage.table_uri(DATASET, "reviews")).version()
    assert gates.check_reviews(DATASET, stages.ingest, settings).passed
    assert caplog.text == ""
    assert DeltaTable(settings.storage.table_uri(DATASET, "reviews")).version() == head


def test_what_failed_is_listed_by_the_command_the_message_gives(
    settings: Settings, stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(7):
        warehouse.write(settings, "reviews", REVIEW | {"item_id": [""], "record_no": [1000 + n]})
    with pytest.raises(GateFailed):
        gates.check_reviews(DATASET, stages.ingest, settings)
    capsys.readouterr()
    facts.main(["--warehouse", str(settings.warehouse), "--dataset", DATASET, "--suite", "reviews",
                "--expectation", "item_given"])  # fmt: skip
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(row["record_no"] for row in listed) == list(range(1000, 1007))


@pytest.mark.fault("F21")
def test_a_test_pair_planted_into_train_stops_and_the_next_run_heals(
    settings: Settings, stages: Stages
) -> None:
    warehouse.write(settings, "splits", PAIR)
    with pytest.raises(GateFailed, match="no_leak") as error:
        gates.check_split(DATASET, stages.split, settings)
    assert "user_idx=19, item_idx=4" in str(error.value)
    assert gates.check_split(DATASET, stages.split, settings).passed
    assert len(warehouse.rows(settings, "splits")) == 100
    assert SPLITS.schema.names == list(warehouse.rows(settings, "splits")[0])


def test_a_cut_in_time_is_judged_by_the_time_it_was_told(
    settings: Settings, stages: Stages
) -> None:
    """Pair n is of day n; the split says that those from day 80 on are test, and they are."""
    rows = warehouse.rows(settings, "splits")
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["strategy"] = ["since"] * 100
    told = dict(stages.split.summary) | {"strategy": "since", "asked": {"test": None, "valid": 0.1}}

    def split(key: str, day: int) -> Commit:
        since = (warehouse.DAY + timedelta(days=day)).isoformat()
        commit = replace(stages.split, key=key, version=-1, summary=told | {"since": since})
        write_deltalake(
            settings.storage.table_uri(DATASET, "splits"),
            pa.table(columns, schema=SPLITS.schema),
            mode="overwrite",
            commit_properties=stage.properties(commit.metadata()),
        )
        return replace(
            commit, version=DeltaTable(settings.storage.table_uri(DATASET, "splits")).version()
        )

    verdict = gates.check_split(DATASET, split("k8", 80), settings)
    assert verdict.passed
    assert verdict.declared == gates.check_split(DATASET, stages.split, settings).declared
    with pytest.raises(GateFailed, match="cut_in_time"):
        gates.check_split(DATASET, split("k9", 79), settings)


@pytest.mark.fault("F15")
def test_a_renamed_column_stops_the_gate_by_name(settings: Settings, stages: Stages) -> None:
    """Nothing else can be counted then, so the gate also says that it got no other answer."""
    uri = settings.storage.table_uri(DATASET, "reviews")
    table = DeltaTable(uri).to_pyarrow_table()
    names = ["reviewer" if name == "user_id" else name for name in table.column_names]
    write_deltalake(uri, table.rename_columns(names), mode="overwrite", schema_mode="overwrite")
    with pytest.raises(GateFailed) as error:
        gates.check_reviews(DATASET, stages.ingest, settings)
    for name in ("reviews.user_id", "reviews.reviewer", "not_empty"):
        assert name in str(error.value)


def test_users_and_items_written_by_hand_are_judged_together(
    settings: Settings, stages: Stages
) -> None:
    warehouse.write(settings, "users", {"user_idx": [25], "user_id": ["u25"]})
    warehouse.write(settings, "items", {"item_idx": [5], "item_id": [" "]})
    with pytest.raises(GateFailed, match=r"(?s)users version 1.*items version 1.*users_dense"):
        gates.check_core(DATASET, stages.core, settings)
    assert gates.check_core(DATASET, stages.core, settings).passed
    assert len(warehouse.rows(settings, "users")) == warehouse.USERS


def test_what_stages_and_maintenance_write_is_not_foreign(
    settings: Settings, stages: Stages
) -> None:
    """Above the stage's version: another stage run, then one compaction; the same above a plant."""
    verdict = gates.check_split(DATASET, stages.split, settings)
    uri = settings.storage.table_uri(DATASET, "splits")
    other = replace(stages.split, key="k4")
    warehouse.write(settings, "splits", PAIR, other.metadata())
    DeltaTable(uri).optimize.compact()
    head = DeltaTable(uri).version()
    again = gates.check_split(DATASET, stages.split, settings)
    assert replace(again, known=False) == verdict
    warehouse.write(settings, "splits", PAIR)  # a plant, but on what another run wrote
    assert gates.check_split(DATASET, stages.split, settings).known
    assert DeltaTable(uri).version() == head + 1


@pytest.mark.fault("F15")
def test_a_quarantine_that_is_too_large_fails_until_the_setting_allows_it(
    settings: Settings, stages: Stages
) -> None:
    """One record of 101 is a share of .0099; the message shows it."""
    strict = settings.model_copy(update={"max_quarantined_share": 0.009})
    for _ in range(2):  # a failed version stays failed
        with pytest.raises(GateFailed, match=r"0\.00990099.*0\.009") as error:
            gates.check_reviews(DATASET, stages.ingest, strict)
        assert "rule='not_json', records=1" in str(error.value)
        assert "--expectation quarantined_share" in str(error.value)
    exact = settings.model_copy(update={"max_quarantined_share": 1 / 101})
    assert gates.check_reviews(DATASET, stages.ingest, exact).passed


def test_a_table_that_cannot_be_read_stops_the_gate_and_keeps_no_verdict(
    settings: Settings, stages: Stages
) -> None:
    for path in Path(settings.storage.table_uri(DATASET, "interactions")).glob("*.parquet"):
        path.unlink()
    with pytest.raises(GateFailed, match="interactions"):
        gates.check_core(DATASET, stages.core, settings)
    assert not Path(settings.storage.table_uri(DATASET, "gates")).exists()


def test_ratings_are_held_against_the_mapping_of_their_source(
    settings: Settings, stages: Stages
) -> None:
    """A source of an older version goes by its format; a mapping without a range allows all."""
    uri = settings.storage.table_uri(DATASET, "sources")
    row = warehouse.rows(settings, "sources")[0]
    for digest, mapping in (("b", '{"rating_range": [0, 100]}'), ("c", "{}")):
        added = {name: [value] for name, value in row.items()}
        warehouse.write(
            settings, "sources", added | {"source_sha256": [digest], "mapping": [mapping]}
        )
    found = source_text.mappings(uri, DeltaTable(uri).version())
    assert {digest: tuple(held.get("rating_range", ())) for digest, held in found.items()} == {
        "a": (1.0, 5.0),
        "b": (0, 100),
        "c": (),
    }
    warehouse.write(settings, "reviews", REVIEW | {"rating": [5.5]})
    with pytest.raises(GateFailed, match=r"(?s)rating_in_range.*rating=5.5.*low=1.0, high=5.0"):
        gates.check_reviews(DATASET, stages.ingest, settings)


def test_a_version_before_mappings_is_as_declared(settings: Settings, stages: Stages) -> None:
    uri = settings.storage.table_uri(DATASET, "sources")
    older = DeltaTable(uri).to_pyarrow_table().drop_columns(["mapping"])
    write_deltalake(uri, older, mode="overwrite", schema_mode="overwrite",
                    commit_properties=stage.properties(stages.ingest.metadata()))  # fmt: skip
    ingest = replace(stages.ingest, version=DeltaTable(uri).version())
    assert gates.check_reviews(DATASET, ingest, settings).passed


def test_gates_on_spark(spark_settings: Settings) -> None:
    stages = warehouse.build(spark_settings)
    assert gates.check_reviews(DATASET, stages.ingest, spark_settings).passed
    warehouse.write(spark_settings, "splits", PAIR)
    with pytest.raises(GateFailed, match="no_leak") as error:
        gates.check_split(DATASET, stages.split, spark_settings)
    assert "user_idx=19, item_idx=4" in str(error.value)


# ---------------------------------------------------------------------------- models and results


def model(settings: Settings, split: Commit, **changed: Any) -> Path:
    rng = np.random.default_rng(0)
    vectors = {
        "user_vectors": rng.normal(size=(warehouse.USERS, 8)).astype(np.float32),
        "item_vectors": rng.normal(size=(warehouse.ITEMS, 8)).astype(np.float32),
    }
    card = model_folder.ModelCard(
        "m" * 64, DATASET, {"name": "MRL-M"}, "MRL-M", versions={"split_key": split.key}
    )
    ids = ([f"u{n}" for n in range(warehouse.USERS)], [f"i{n}" for n in range(warehouse.ITEMS)])
    seen = csr(np.arange(20), np.arange(20) % 5, warehouse.USERS, warehouse.ITEMS)
    folder = settings.storage.model_dir(DATASET, card.stage_key)
    scorer = FactorModel(**{**vectors, **changed}, widths=(4, 8))
    return model_folder.save(folder, scorer, card, ids, seen)


def test_a_model_is_judged_by_its_folder(settings: Settings, stages: Stages) -> None:
    folder = model(settings, stages.split)
    verdict = gates.check_vectors(DATASET, folder, settings)
    assert verdict.passed
    assert verdict.marks == {"models": "m" * 64}
    assert gates.check_vectors(DATASET, folder, settings).known


def test_a_collapsed_model_is_stopped_and_stays_so(settings: Settings, stages: Stages) -> None:
    flat = np.ones((warehouse.ITEMS, 8), np.float32)
    folder = model(settings, stages.split, item_vectors=flat)
    for _ in range(2):
        with pytest.raises(GateFailed, match="items_spread"):
            gates.check_vectors(DATASET, folder, settings)


@pytest.mark.parametrize("name", ["BPR", "Pop", "EASE"])
def test_a_model_refitted_on_everything_passes_as_any_other(
    settings: Settings, stages: Stages, name: str
) -> None:
    """Of every user's five pairs two are left out, so that there is something to draw."""
    whole = load(settings, DATASET, stages.split)
    kept = (whole.users_P + whole.items_P) % 3 > 0
    columns = ("users_P", "items_P", "fold_P", "reviewed_at_P")
    data = replace(whole, **{column: getattr(whole, column)[kept] for column in columns})
    sets = [f"{name}.dim=8"] if name == "BPR" else []
    asked = training.TrainRequest(resolve(name, sets), seed=0, device="cpu", refit_epochs=3)
    commit = training.run(DATASET, stages.split, asked, settings, data=lambda: data)
    folder = Path(commit.summary["folder"])
    assert model_folder.read_card(folder).folds == ("train", "valid", "test")
    assert gates.check_vectors(DATASET, folder, settings).passed
    with pytest.raises(UsageError, match=commit.key):
        evaluation.run(DATASET, stages.split, commit, settings, ks=(5,), data=lambda: data)


def results(settings: Settings, stages: Stages, users: int = 4) -> Commit:
    """An evaluation in which every metric is .5 for each of the first ``users`` users."""
    key, places = "e" * 64, [(k, width) for width in (4, 8) for k in (10, 20, 50)]
    commit = Commit("evaluate", key, "results", -1, {}, {"model": "m" * 64, "split": "k3"})
    rows = [
        {"stage_key": key, "metric": metric, "k": k, "width": width, "dataset": DATASET,
         "method": "MRL-M", "levels": "4,8", "seed": 0, "protocol": "clean", "epoch": 1,
         "value": 0.5, "run_id": None}
        for metric in METRICS for k, width in places
    ]  # fmt: skip
    uri = settings.storage.table_uri(DATASET, "results")
    write_deltalake(
        uri,
        pa.Table.from_pylist(rows, schema=RESULTS.schema),
        mode="append",
        commit_properties=stage.properties(commit.metadata()),
    )
    path = settings.storage.per_user_file(DATASET, key)
    path.parent.mkdir(parents=True)
    each = {metric: 0.5 for metric in METRICS if metric != "coverage"}
    values = [{"user_idx": u, "k": k, "width": w} | each for u in range(users) for k, w in places]
    pd.DataFrame(values).to_parquet(path)
    return replace(commit, version=DeltaTable(uri).version())


def test_results_are_judged_against_the_split(settings: Settings, stages: Stages) -> None:
    """The last 20 of 100 pairs are test: users 16 to 19, four of them."""
    model(settings, stages.split)
    commit = results(settings, stages)
    assert gates.check_results(DATASET, commit, settings).passed
    assert gates.check_results(DATASET, commit, settings).known


def test_results_of_too_few_users_are_stopped(settings: Settings, stages: Stages) -> None:
    model(settings, stages.split)
    commit = results(settings, stages, users=3)
    with pytest.raises(GateFailed, match="users_counted"):
        gates.check_results(DATASET, commit, settings)


def test_a_result_that_was_asked_for_and_is_missing_is_named(
    settings: Settings, stages: Stages
) -> None:
    model(settings, stages.split)
    commit = results(settings, stages)
    with pytest.raises(GateFailed, match=r"\('coverage', 5, 4\)"):
        gates.check_results(DATASET, commit, settings, ks=(5, 10, 20, 50))


def test_the_latest_as_of_of_any_ingest_is_the_one_that_counts(
    settings: Settings, stages: Stages
) -> None:
    """An earlier ingest took rows up to its own, later, moment: they are no future."""
    later = Commit("ingest", "k0", "sources", -1, {}, {"as_of": "2015-01-01T00:00:00"})
    warehouse.marker(settings, later, {name: [] for name in warehouse.TABLES["sources"].columns})
    now = replace(stages.ingest, version=2)
    assert gates.latest_as_of(DATASET, now, settings) == datetime.fromisoformat("2015-01-01T00:00Z")
    assert gates.latest_as_of(DATASET, stages.ingest, settings).year == 2014


def with_sequences(settings: Settings, stages: Stages) -> tuple[Commit, Commit]:
    """The sequences of the warehouse, and their split."""
    made = sequences.run(DATASET, stages.ingest, stages.core, settings=settings)
    found = split.run(
        DATASET, stages.core, strategy="last_out", sequences=made, settings=settings
    )  # fmt: skip
    return made, found


def test_the_gates_of_sequences_pass_once(settings: Settings, stages: Stages) -> None:
    made, divided = with_sequences(settings, stages)
    for check, commit in ((gates.check_sequences, made), (gates.check_split, divided)):
        verdict = check(DATASET, commit, settings)
        assert (verdict.passed, verdict.known) == (True, False)
        assert verdict.evaluated == verdict.declared >= 6
        assert check(DATASET, commit, settings).known


EVENT = {"sequence_id": [19], "position": [5], "item_idx": [0], "reviewed_at": [warehouse.DAY]}


def test_an_older_event_planted_into_sequences_stops_and_the_next_run_heals(
    settings: Settings, stages: Stages
) -> None:
    made, _ = with_sequences(settings, stages)
    warehouse.write(settings, "sequences", EVENT | {"user_id": ["u19"]})
    with pytest.raises(GateFailed, match="in_order") as error:
        gates.check_sequences(DATASET, made, settings)
    assert "sequence_id=19, position=5" in str(error.value)
    assert gates.check_sequences(DATASET, made, settings).passed
    assert len(warehouse.rows(settings, "sequences")) == 100


def test_an_event_trained_on_after_its_target_stops_and_the_next_run_heals(
    settings: Settings, stages: Stages
) -> None:
    _, divided = with_sequences(settings, stages)
    event = EVENT | {"fold": ["train"], "strategy": ["last_out"], "split_seed": [0]}
    warehouse.write(settings, "sequence_splits", event)
    with pytest.raises(GateFailed, match="no_future") as error:
        gates.check_split(DATASET, divided, settings)
    assert "events_kept" in str(error.value)
    assert gates.check_split(DATASET, divided, settings).passed
    assert len(warehouse.rows(settings, "sequence_splits")) == 100
