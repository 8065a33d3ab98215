"""What cannot be is refused within a second, before a server or an engine starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import preflight
from flows.config.retrain import RetrainConfig
from flows.config.run import RunConfig
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from tests.flows import warehouse
from tests.flows.test_cli import run

HEAVY = ("prefect", "mlflow", "torch", "pyspark", "deltalake", "great_expectations")
TELL = "import sys; from flows.cli import main; code = main(sys.argv[1:]); " \
       f"print(*[n for n in {HEAVY} if n in sys.modules]); sys.exit(code)"  # fmt: skip
UNCLEAR = "when,who,what,what2\n1,a,b,c\n2,b,c,d\n"


def refused(cwd: Path, *words: str) -> str:
    """What a refused command says, once; nothing is written."""
    before = sorted(cwd.rglob("*"))
    done = run(*words, cwd=cwd)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(cwd.rglob("*")) == before
    first = done.stderr.splitlines()[0]
    assert done.stderr.count(first.partition(": ")[2]) == 1
    return done.stderr


def test_an_unknown_data_set_names_the_nearest(tmp_path: Path) -> None:
    assert "ml-100k" in refused(tmp_path, "run", "--dataset", "ml-100")


@pytest.mark.parametrize("command", ["kcore", "split", "train", "evaluate"])
def test_of_every_command(tmp_path: Path, command: str) -> None:
    assert "'NO_SUCH'" in refused(tmp_path, command, "--dataset", "NO_SUCH")


def test_nothing_heavy_is_imported_for_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", TELL, "run", "--dataset", "NO_SUCH"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (2, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--source", "none.csv"], "where: none.csv"),
        (["retrain", "--dataset", "d", "--dumps", "none.csv"], "where: none.csv"),
        (["retrain", "--dataset", "d", "--dumps", "*.nothing"], "where: *.nothing"),
        (["run", "--dataset", "planted", "--time-unit", "sec"], "--time-unit"),
        (["run", "--source", "unclear.csv"], "--columns user="),
        (["retrain", "--dataset", "d", "--dumps", "unclear.csv"], "--columns user="),
        (["tune", "--dataset", "d", "--source", "unclear.csv", "--method", "BPR"], "--columns"),
        (["ingest", "--dataset", "d", "--source", "unclear.csv"], "--columns user="),
    ],
)
def test_sources_and_options(tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "unclear.csv").write_text(UNCLEAR)
    assert says in refused(tmp_path, *words)


def test_what_is_in_the_warehouse_is_known(settings: Settings) -> None:
    warehouse.build(settings)
    preflight.check(RunConfig(dataset=warehouse.DATASET), settings)
    with pytest.raises(UsageError) as caught:
        preflight.check(RunConfig(dataset=warehouse.DATASET, time_unit="s"), settings)
    assert "--time-unit" in caught.value.what
    assert "--source" in (caught.value.todo or "")
    with pytest.raises(UsageError) as caught:
        preflight.check(RunConfig(dataset="dd"), settings)
    assert "did you mean d?" in str(caught.value)
    # Its dumps are judged by themselves, and set aside.
    preflight.check_dumps(RetrainConfig(dataset=warehouse.DATASET, dumps=("*.nothing",)), settings)
