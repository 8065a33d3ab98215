"""What commands meet: folders that cannot be written or read, a home that is none, variables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrl4rec.core.settings import Settings
from mrl4rec.transforms import spark_session
from tests.flows import warehouse
from tests.flows.test_cli import run
from tests.powers import run_as_owner

RUN = """
import contextlib, io, json, sys
from flows.cli import main
said = {}
for line in sys.argv[1:]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line.split())
    said[line] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(said))
"""
"""Runs the command lines that are its arguments."""
DUMP = "user,item,time\nu1,i1,900000000\nu2,i1,900000001\n"


def outcomes(*lines: str, cwd: Path) -> dict[str, tuple[int, str, str]]:
    """Exit code, stdout and stderr of each command line, run by an ordinary user."""
    done = run_as_owner(RUN, *lines, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return {line: (code, out, err) for line, (code, out, err) in json.loads(done.stdout).items()}


@pytest.fixture
def read_only(settings: Settings) -> Iterator[Path]:
    """A warehouse with the data stages done, which may be read."""
    warehouse.build(settings)
    top = settings.warehouse
    folders = [top, *(path for path in top.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield top
    for folder in folders:
        folder.chmod(0o755)


def test_a_read_only_warehouse_is_read(read_only: Path, tmp_path: Path) -> None:
    lines = ("tables", "tables reviews", "models", "ledger", "quarantine --dataset d",
             "vacuum --dry-run", "report --out r.html", "report --markdown r.md",
             "inspect d.csv")  # fmt: skip
    (tmp_path / "d.csv").write_text(DUMP)
    for line, (code, _, err) in outcomes(*lines, cwd=tmp_path).items():
        assert code == 0 or "evaluated" in err, (line, err)
    assert (tmp_path / "r.html").exists()


@pytest.mark.parametrize("place", ["warehouse", "warehouse/new/deeper"])
def test_what_would_write_there_says_why_it_cannot(
    read_only: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "d.csv").write_text(DUMP)
    lines = ("run --source d.csv", "ingest --dataset d --source d.csv", "tune --dataset planted "
             "--method BPR", "retrain --dataset d --dumps d.csv", "report", "promote m --why w",
             "rollback --why w", "register m", "registry", "vacuum", "export m", "up",
             "simulate")  # fmt: skip
    lines = tuple(f"{line} --warehouse {place}" for line in lines)
    for line, (code, out, err) in outcomes(*lines, cwd=tmp_path).items():
        if line.startswith("report") and place != "warehouse":
            continue  # an empty one has no report, and that is said first
        assert (code, out) == (2, ""), line
        what, where, todo = err.splitlines()
        assert "permission denied" in what
        assert str(read_only) in where
        assert "--warehouse" in todo
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.csv", "warehouse"]


def test_places_of_results_that_cannot_be_written(read_only: Path, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o555)
    (tmp_path / "file").touch()
    lines = ("export m --out shut/x", "export m --out file/x", "report --out shut/r.html",
             "report --markdown shut/r.md", "report --out file/r.html",
             "report --out .")  # fmt: skip
    for line, (code, _, err) in outcomes(*lines, cwd=tmp_path).items():
        assert code == 2, line
        assert line.split()[-2] in err
        assert f"where: {Path(line.split()[-1]).parent}" in err or "where: ." in err


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(DUMP)
    (tmp_path / "d.csv").chmod(0)
    (tmp_path / "shut").mkdir(mode=0)
    lines = ("run --source d.csv", "inspect d.csv", "ingest --dataset d --source shut",
             "retrain --dataset d --dumps d.csv", "tune --dataset d --source shut --method BPR",
             "run --source shut/d.csv")  # fmt: skip
    try:
        for line, (code, _, err) in outcomes(*lines, cwd=tmp_path).items():
            assert code == 1, (line, err)
            what, where, _ = err.splitlines()
            assert "Permission denied" in what
            assert "d.csv" in where or "shut" in where
    finally:
        (tmp_path / "shut").chmod(0o755)


def test_without_a_home_a_loop_is_compiled(tmp_path: Path) -> None:
    """Read-only code, and nowhere to keep what was compiled but among the temporary files."""
    code = """
import os, sys
from pathlib import Path
from mrl4rec.kernels import metrics
print(os.environ["HOME"])
"""
    (tmp_path / "tmp").mkdir()
    environment = {"HOME": str(tmp_path / "none"), "TMPDIR": str(tmp_path / "tmp")}
    done = run_as_owner(code, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == tmp_path / "tmp"


def test_the_locale_of_c_and_a_warehouse_beyond_it(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(DUMP)
    line = ["ingest", "--dataset", "d", "--source", "d.csv", "--warehouse", "ä ö"]
    done = run(*line, cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0")  # it is no text then
    assert done.returncode == 2
    assert "LC_ALL=C.UTF-8" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]
    done = run(*line, cwd=tmp_path, LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ä ö" / "d" / "reviews").is_dir()


def test_what_spark_read_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in spark_session.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert "SPARK" not in str(spark_session._not_started(RuntimeError("gone")).where)
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--foo")
    error = spark_session._not_started(RuntimeError("\ngone\nbecause"))
    assert error.what.endswith("gone")
    assert error.where == "PYSPARK_SUBMIT_ARGS=--foo"
    assert error.todo == "unset PYSPARK_SUBMIT_ARGS"


@pytest.mark.slow
def test_spark_in_an_environment_of_another_spark(spark: None, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(DUMP)
    (tmp_path / "core-site.xml").write_text(
        "<configuration><property><name>fs.defaultFS</name><value>hdfs://127.0.0.1:9</value>"
        "</property></configuration>"
    )
    line = ["ingest", "--dataset", "d", "--source", "d.csv", "--data-engine", "spark"]
    other = {"SPARK_HOME": "/no/such", "SPARK_CONF_DIR": "/no/such", "LC_ALL": "C"}
    done = run(*line, "--warehouse", "ä", cwd=tmp_path, HADOOP_CONF_DIR=str(tmp_path), **other)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ä" / "d" / "reviews").is_dir()
    done = run(*line, "--warehouse", "b", cwd=tmp_path, PYSPARK_SUBMIT_ARGS="--foo")
    assert done.returncode == 1
    assert "where: PYSPARK_SUBMIT_ARGS=--foo" in done.stderr
    assert os.listdir(tmp_path / "b") in ([], ["d"])
