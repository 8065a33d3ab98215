"""A run that first looks for the settings of its methods, as many for each."""

from __future__ import annotations

from pathlib import Path

from flows.benchmarking.execute import run_benchmark
from flows.config.run import RunConfig
from flows.pipeline import plain
from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder
from mrl4rec.training.tuning import store
from tests.flows.dumps import ratings_csv

SMALL = ("MRL-M.dim=8", "MRL-M.batch=256", "MRL-M.l2=0")


def test_all_seeds_have_what_was_best_of_as_many_settings(
    settings: Settings, tmp_path: Path
) -> None:
    dump = ratings_csv(tmp_path / "ratings.csv", users=80, items=45)
    request = RunConfig(
        dataset="d", source=(str(dump),), methods=("Pop", "EASE", "MRL-M"), levels=("4,8",),
        seeds=(0, 1), epochs=4, trials=2, overrides=SMALL,
    )  # fmt: skip
    outcome = run_benchmark([request], settings, plain)
    found = {one.method: one for one in store.tunings(settings, "d")}
    assert {name: one.tried for name, one in found.items()} == {"EASE": 2, "MRL-M": 2}
    made: dict[str, list[dict[str, object]]] = {}
    for key in {row["model_key"] for row in outcome.rows}:
        card = model_folder.read_card(settings.storage.model_dir("d", key))
        made.setdefault(card.method_name, []).append(dict(card.method))
    assert {name: len(cards) for name, cards in made.items()} == {"Pop": 1, "EASE": 1, "MRL-M": 2}
    for name, one in found.items():
        assert one.best is not None
        assert all(card == dict(one.best.settings) for card in made[name])
        assert one.default is not None
        assert one.best.value >= one.default
    assert "2 trials" in outcome.report.read_text()
    assert settings.storage.lock_file("d", "train_MRL-M_4,8_seed_1").exists()
    again = run_benchmark([request], settings, plain)
    assert {row["model_key"] for row in again.rows} == {row["model_key"] for row in outcome.rows}
