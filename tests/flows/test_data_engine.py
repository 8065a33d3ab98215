"""Which engine a run takes, and what is said of it."""

from __future__ import annotations

import importlib
import logging

import pytest

from flows import data_engine
from flows.config.run import RunConfig
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings


@pytest.fixture
def equipped(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything that Spark needs is there; no setting says anything."""
    for name in ("DATA_ENGINE", "SPARK_MASTER"):
        monkeypatch.delenv(f"MRL4REC_{name}", raising=False)
    monkeypatch.setattr(data_engine, "lacking", lambda _: None)
    return monkeypatch


@pytest.mark.parametrize(
    ("values", "deployed", "engine"),
    [
        ({}, False, "duckdb"),
        ({}, True, "spark"),
        ({"spark_master": "spark://host:7077"}, False, "spark"),
        ({"data_engine": "duckdb"}, True, "duckdb"),
        ({"data_engine": "duckdb", "spark_master": "local[2]"}, True, "duckdb"),
        ({"data_engine": "spark"}, False, "spark"),
    ],
)
@pytest.mark.usefixtures("equipped")
def test_what_is_taken(values: dict[str, str], deployed: bool, engine: str) -> None:
    assert data_engine.decide(Settings(**values), deployed=deployed)[0] == engine


def test_a_deployment_without_java_says_so_in_one_line(
    equipped: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    equipped.setattr(data_engine, "lacking", lambda _: Mrl4recError("Java was not found", todo="x"))
    equipped.setattr(logging.getLogger("mrl4rec"), "propagate", True)
    with caplog.at_level(logging.INFO):
        chosen = data_engine.choose(Settings(), deployed=True)
    assert chosen.data_engine == "duckdb"
    (line,) = set(caplog.messages)  # twice where another test has let the log propagate too
    assert line.startswith("data engine: DuckDB (")
    assert "Java was not found" in line


@pytest.mark.usefixtures("equipped")
def test_an_option_wins_over_the_setting() -> None:
    assert data_engine.named(Settings(data_engine="spark"), "duckdb").data_engine == "duckdb"
    assert data_engine.named(Settings(data_engine="spark"), None).data_engine == "spark"
    with pytest.raises(UsageError, match="--data-engine"):
        RunConfig(dataset="d", data_engine="duckbd")


class Stop(Exception):
    """A flow that has come as far as its stages."""


@pytest.mark.parametrize("deployed", [True, False])
@pytest.mark.parametrize("name", ["benchmark", "retrain"])
def test_a_flow_knows_whether_a_deployment_runs_it(
    equipped: pytest.MonkeyPatch, settings: Settings, name: str, deployed: bool
) -> None:
    taken: list[Settings] = []

    def stages(_: object, chosen: Settings, *__: object) -> None:
        taken.append(chosen)
        raise Stop

    module = importlib.import_module(f"flows.{name}")
    equipped.setattr(module, f"run_{name}", stages)
    equipped.setattr("flows.retraining.catch_up.take_over", lambda: 0)
    equipped.setattr("flows.preflight.check_dumps", lambda *_: None)
    if deployed:  # Prefect's own way to pretend
        equipped.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "d0")
    of_flow = {"benchmark": {"datasets": ["planted"]}, "retrain": {"dataset": "d", "dumps": ["x"]}}
    with pytest.raises(Stop):
        getattr(module, name).fn(**of_flow[name], warehouse=str(settings.warehouse))
    assert taken[0].data_engine == ("spark" if deployed else "duckdb")
    assert taken[0].warehouse == settings.warehouse
    with pytest.raises(Stop):
        getattr(module, name).fn(**of_flow[name], data_engine="duckdb")
    assert taken[1].data_engine == "duckdb"
