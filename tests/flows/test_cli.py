"""The command line as a person types it: real processes, real exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mrl4rec
from flows.cli import main


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_wrong_usage_is_exit_code_2_and_one_json_document(tmp_path: Path) -> None:
    done = run("run", "--protocol", "cleen", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "cleen" in json.loads(done.stdout)["error"]
    done = run("run", "--methods", "MRL-N", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "MRL-M" in json.loads(done.stdout)["error"]
    assert not (tmp_path / "warehouse").exists()


HEAVY = {"prefect", "mlflow", "torch", "numba", "pyspark", "pandas", "matplotlib", "numpy"}
HEAVY |= {"great_expectations", "pyarrow", "deltalake", "duckdb", "rich"}
TELL = """
import sys
from flows.cli import main
try:
    main(sys.argv[1:])
finally:
    print("imported", *{name.split(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize(
    "command", ["", "run", "train", "inspect", "compare", "export", "promote", "up", "doctor"]
)
def test_help_imports_nothing_heavy(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TELL, *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    help_, _, imported = done.stdout.rpartition("imported ")
    assert "usage: mrl4rec" in help_
    assert not HEAVY & set(imported.split())


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mrl4rec {mrl4rec.__version__}\n"


@pytest.mark.parametrize("command", ["compare", "report", "tables", "export x"])
def test_an_empty_warehouse_is_a_clear_failure(tmp_path: Path, command: str) -> None:
    done = run(*command.split(), "--json", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr


def test_an_unknown_data_set_names_the_nearest(tmp_path: Path) -> None:
    done = run("kcore", "--dataset", "ml-100", cwd=tmp_path)
    assert done.returncode == 2
    assert "ml-100k" in done.stderr


def test_datasets_lists_the_catalogue(tmp_path: Path) -> None:
    names = {row["name"] for row in json.loads(run("datasets", "--json", cwd=tmp_path).stdout)}
    assert {"ml-100k", "ml-1m", "planted", "amazon-2014-phones"} <= names


RATINGS = "userId,movieId,rating,timestamp\n1,2,3.0,900000000\n"
ON_SPARK = ["ingest", "--dataset", "d", "--source", "ratings.csv", "--data-engine", "spark"]


def without_java(folder: Path) -> dict[str, str]:
    """Variables with which no Java is found."""
    return {"PATH": str(folder), "JAVA_HOME": ""}


def findings(cwd: Path, **environment: str) -> tuple[int, dict[str, str]]:
    """Exit code of ``doctor``, and what to do about each thing it misses."""
    done = run("doctor", "--json", cwd=cwd, **environment)
    found = json.loads(done.stdout)["findings"]
    return done.returncode, {f["what"]: f["todo"] for f in found if not f["ok"]}


def test_doctor_misses_java_and_jars_only_for_spark(tmp_path: Path) -> None:
    nothing = without_java(tmp_path) | {"MRL4REC_JARS": str(tmp_path / "none")}
    assert findings(tmp_path, **nothing) == (0, {})
    code, missing = findings(tmp_path, MRL4REC_DATA_ENGINE="spark", **nothing)
    assert code == 1
    assert len(missing) == 2
    assert "mrl4rec setup" in missing.values()
    assert any("openjdk-17" in todo for todo in missing.values())


def test_doctor_misses_what_the_environment_names(tmp_path: Path) -> None:
    code, missing = findings(tmp_path, SSL_CERT_FILE="/no/such.pem", **without_java(tmp_path))
    assert code == 1
    ((what, todo),) = missing.items()
    assert "SSL_CERT_FILE" in what
    assert "unset" in todo


def test_setup_without_java_leaves_spark_out_in_one_line(tmp_path: Path) -> None:
    done = run("setup", cwd=tmp_path, **without_java(tmp_path))
    assert done.returncode == 0
    assert "Java 17 was not found" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("lacking", ["JARs", "Java"])
def test_what_spark_lacks_is_said_where_it_was_asked_for(tmp_path: Path, lacking: str) -> None:
    (tmp_path / "ratings.csv").write_text(RATINGS)
    jars = {"MRL4REC_JARS": str(tmp_path / "none")}
    done = run(*ON_SPARK, cwd=tmp_path, **(jars if lacking == "JARs" else without_java(tmp_path)))
    assert done.returncode == 1
    assert ("mrl4rec setup" if lacking == "JARs" else "Java 17") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "warehouse").exists()


def test_without_java_a_dump_is_taken_in(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(RATINGS)
    done = run(*ON_SPARK[:-2], "--json", cwd=tmp_path, **without_java(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["rows_accepted"] == 1
    assert done.stderr.count("data engine: DuckDB") == 1
