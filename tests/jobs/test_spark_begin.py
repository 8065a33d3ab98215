"""A session that is started ahead: once, and rehearsed once, whoever asks for it.

The start itself is stood in for: a test run has one Spark session, and it is there already.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyspark import SparkContext

from jobs import spark
from mrl4rec.settings import Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No session yet; what is started or rehearsed is noted."""
    noted: list[str] = []

    def ready(settings: Settings, rehearse: Callable[[str], object] | None) -> str:
        noted.append("started")
        if rehearse is not None:
            rehearse("session")
        return "session"

    monkeypatch.setattr(SparkContext, "_active_spark_context", None)
    monkeypatch.setattr(spark, "_begun", None)
    monkeypatch.setattr(spark, "_rehearsed", False)
    monkeypatch.setattr(spark, "_ready", ready)
    return noted


def test_begun_twice_it_is_rehearsed_once(started: list[str], settings: Settings) -> None:
    spark.begin(settings)
    spark.begin(settings, lambda session: started.append("rehearsed"))
    spark.begin(settings, lambda session: started.append("rehearsed again"))
    spark.begin(settings)
    assert spark.session(settings) == "session"
    assert started == ["started", "started", "rehearsed"]  # the second finds the first's session


def test_a_session_that_is_there_is_left_alone(
    started: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SparkContext, "_active_spark_context", object())
    spark.begin(settings, lambda session: started.append("rehearsed"))
    assert started == []
    assert spark._begun is None
