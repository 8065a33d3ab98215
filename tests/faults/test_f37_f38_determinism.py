"""The same dump gives the same tables and vectors, whatever the machine is set to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from mrl4rec.settings import Settings
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of

ELSEWHERE = {
    "PYTHONHASHSEED": "12345",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "tr_TR.UTF-8",
    "LANG": "tr_TR.UTF-8",
    "JAVA_TOOL_OPTIONS": "-Duser.timezone=Asia/Kathmandu -Duser.language=tr -Duser.country=TR",
}
"""A zone that is off by a quarter of an hour, and a language with another lower case of I."""


@pytest.mark.slow
@pytest.mark.fault("F37")
@pytest.mark.parametrize("partitions", [1, 7, 64])
def test_f37_the_number_of_partitions(
    spark_settings: Settings,
    undisturbed: Undisturbed,
    partitions: int,
    record_property: Note,
) -> None:
    """Ingest, k-core and split on Spark, in 1, 7 and 64 partitions of a shuffle, against DuckDB"""
    spark = SparkSession.builder.getOrCreate()
    name = "spark.sql.shuffle.partitions"
    before = spark.conf.get(name)
    spark.conf.set(name, partitions)
    spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", False)
    try:
        scene.jobs(spark_settings, [undisturbed.dump])
    finally:
        spark.conf.set(name, str(before))
        spark.conf.unset("spark.sql.adaptive.coalescePartitions.enabled")
    found = scene.digests(spark_settings)
    assert found == {table: undisturbed.digests[table] for table in found}
    assert set(found) == {table for tables in scene.TABLES.values() for table in tables}
    record_property("came", "same core, ids and folds")


@pytest.mark.slow
@pytest.mark.fault("F38")
def test_f38_another_hash_seed_locale_and_time_zone(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """All stages in a process with another PYTHONHASHSEED, a Turkish locale and Nepal's time"""
    settings = settings_of(tmp_path)
    children("evaluate", undisturbed.dump, settings, **ELSEWHERE).ended()
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "same digests of every table, the vectors and the results")
