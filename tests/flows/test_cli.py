"""The command line as a person types it: real processes, real exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


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
HEAVY |= {"great_expectations", "pyarrow", "deltalake", "pydantic", "rich"}
TELL = """
import sys
from flows.cli import main
try:
    main(sys.argv[1:])
finally:
    print("imported", *{name.split(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize(
    "command", ["", "run", "train", "compare", "export", "promote", "up", "doctor"]
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


def test_doctor_says_what_is_missing_and_what_to_type(tmp_path: Path) -> None:
    done = run("doctor", "--json", cwd=tmp_path, MRL4REC_JARS=str(tmp_path / "none"))
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    missing = [f for f in answer["findings"] if not f["ok"]]
    assert [f["todo"] for f in missing] == ["mrl4rec setup"]


def test_no_jars_is_a_clear_failure_of_the_command_itself(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3.0,900000000\n")
    done = run(
        "ingest", "--dataset", "d", "--source", "ratings.csv",
        cwd=tmp_path, MRL4REC_JARS=str(tmp_path / "none"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "mrl4rec setup" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_java_is_a_clear_failure(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3.0,900000000\n")
    bare = {k: v for k, v in os.environ.items() if k != "JAVA_HOME"} | {"PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "ingest", "--dataset", "d", "--source", "ratings.csv"],
        cwd=tmp_path, capture_output=True, text=True, env=bare, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Java 17" in done.stderr
    assert "Traceback" not in done.stderr
