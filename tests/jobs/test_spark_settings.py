"""What a Spark of other machines is told, and what one of this machine is not."""

from __future__ import annotations

import sys

import pytest

from mrl4rec.core.settings import Settings
from mrl4rec.transforms import spark_session


@pytest.mark.parametrize("master", ["spark://host:7077", "k8s://https://host"])
def test_executors_are_as_the_settings_say(master: str) -> None:
    asked = Settings(
        spark_master=master, spark_memory="2g", spark_executor_memory="5g", spark_executor_cores=2,
        spark_executors=3, spark_driver_host="me", spark_driver_bind="0.0.0.0",
        spark_archive="/packed.tar.gz",
    )  # fmt: skip
    told = spark_session._configuration(asked, [], local=False)
    assert told["spark.driver.memory"] == "2g"
    assert told["spark.executor.memory"] == "5g"
    assert (told["spark.executor.instances"], told["spark.cores.max"]) == ("3", "6")
    assert (told["spark.driver.host"], told["spark.driver.bindAddress"]) == ("me", "0.0.0.0")
    folder = told["spark.archives"].partition("#")[2]
    assert spark_session._executors_python(asked).startswith(f"{folder}/")
    assert "spark.jars" not in told


def test_what_is_not_set_is_the_masters_choice() -> None:
    plain = Settings(spark_master="spark://host:7077", spark_memory="2g")
    told = spark_session._configuration(plain, [], local=False)
    assert told["spark.executor.memory"] == "2g"
    assert not {"spark.executor.cores", "spark.cores.max", "spark.driver.host"} & told.keys()
    assert spark_session._executors_python(plain) == sys.executable
    named = plain.model_copy(update={"spark_python": "/opt/python", "spark_archive": "x.zip"})
    assert spark_session._executors_python(named) == "/opt/python"
    here = spark_session._configuration(Settings(), ["a.jar"], local=True)
    assert (here["spark.jars"], here["spark.driver.host"]) == ("a.jar", "127.0.0.1")
