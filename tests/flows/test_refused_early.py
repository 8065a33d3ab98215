"""What cannot be is refused within a second, before a server or an engine starts."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows import preflight
from flows.cli import main
from flows.config.retrain import RetrainConfig
from flows.config.run import RunConfig
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.kernels import devices
from tests.flows import warehouse

HEAVY = ("prefect", "mlflow", "torch", "pyspark", "deltalake", "great_expectations")
TELL = "import sys; from flows.cli import main; code = main(sys.argv[1:]); " \
       f"print(*[n for n in {HEAVY} if n in sys.modules]); sys.exit(code)"  # fmt: skip
UNCLEAR = "when,who,what,what2\n1,a,b,c\n2,b,c,d\n"


@dataclass(frozen=True)
class Refusal:
    """What a refused command says: what, where and what to do."""

    what: str
    where: str
    todo: str


@pytest.fixture
def refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Refusal]]:
    """Runs a command in an empty folder, which must refuse it with code 2 in three lines; nothing
    is printed besides, nothing written, and the message is there once.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "DRIVERS", ())  # no GPU, as on most machines
    environment, log = dict(os.environ), logging.getLogger("mrl4rec")
    logging_before = log.handlers[:], log.level, log.propagate

    def call(*words: str) -> Refusal:
        before = sorted(tmp_path.rglob("*"))
        assert main(words) == 2
        said = capsys.readouterr()
        assert sorted(tmp_path.rglob("*")) == before
        assert said.out == ""
        what, where, todo = said.err.splitlines()
        assert where.startswith("  where: ")
        assert todo.startswith("  what to do: ")
        return Refusal(what, where, todo)

    yield call
    os.environ.clear()
    os.environ.update(environment)
    log.handlers[:], log.level, log.propagate = logging_before


def test_nothing_heavy_is_imported_for_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TELL, "run", "--dataset", "NO_SUCH"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (2, "")


DATA = ("ingest", "kcore", "split", "train", "evaluate")
STAGES = ("run", *DATA)
READERS = ("compare", "report", "tables", "quarantine", "ledger", "registry", "rollback --why w",
           "recommend --user u", "vacuum", "hierarchy", "promote a --why w", "models",
           "register a")  # fmt: skip


@pytest.mark.parametrize("command", [*STAGES, "tune --method BPR", *READERS])
def test_an_unknown_data_set(refuse: Callable[..., Refusal], command: str) -> None:
    said = refuse(*command.split(), "--dataset", "NO_SUCH")
    assert "NO_SUCH" in said.what or "empty" in said.what


@pytest.mark.parametrize("command", ["run", "evaluate", "tune --method BPR"])
@pytest.mark.parametrize(
    ("wrong", "named", "nearest"),
    [
        ("--source none.csv", "none.csv", "path"),
        ("--source *.nothing", "*.nothing", "path"),
        ("--source unclear.csv", "unclear.csv", "--columns user="),
        ("--source unclear.csv --format movielens-cvs", "--format", "movielens-csv"),
        ("--source unclear.csv --columns user=1,itm=2", "--columns", "item"),
        ("--time-unit sec", "--time-unit", ""),
        ("--device cpuu", "--device", "cpu"),
        ("--device cuda", "--device", "--device cpu"),
        ("--set BPR.lrr=1", "lrr", "lr"),
        ("--set BPR.lr=x", "--set BPR.lr", ""),
        ("--split randm", "--split", "random"),
        ("--split-seed 99999999999999999999", "--split-seed", "64 bits"),
        ("--epochs 0", "--epochs", "at least 1"),
        ("--kcore -1", "--kcore", "at least 0"),
        ("--as-of yesterday", "--as-of", "2014-07-23"),
        ("--data-engine dukdb", "--data-engine", "duckdb"),
        ("--config none.yaml", "none.yaml", ""),
        ("--dataset a/b", "--dataset", "letters"),
        ("--datset x", "--datset", "--dataset"),
        ("--source", "--source", "--help"),
    ],
)  # fmt: skip
def test_an_option_of_the_data(
    refuse: Callable[..., Refusal], tmp_path: Path, command: str, wrong: str, named: str,
    nearest: str,
) -> None:  # fmt: skip
    (tmp_path / "unclear.csv").write_text(UNCLEAR)
    methods = [] if command.startswith("tune") else ["--methods", "EASE,BPR"]
    said = refuse(*command.split(), "--dataset", "planted", *methods, *wrong.split())
    assert named in said.what + said.where
    assert nearest in said.todo


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize(
    ("wrong", "named", "nearest"),
    [
        ("--methods MRL-N", "--methods", "MRL-M"),
        ("--source bare.csv --methods Pop,RecentPop", "RecentPop needs", "--methods"),
        ("--methods MRL-M --levels 4,x", "--levels", ""),
        ("--methods MRL-M --levels 64,4", "--levels", ""),
        ("--seeds x", "--seeds", ""),
        ("--seeds 99999999999999999999", "--seeds", "64 bits"),
        ("--protocol cleen", "--protocol", "clean"),
        ("--preset demoo", "--preset", "demo"),
        ("--widths 0", "--widths", ""),
        ("--engine fusd", "--engine", "fused"),
        ("--methods LightGCN --engine fused", "--", ""),
        ("--devices 0", "--devices", "at least 1"),
        ("--devices 99", "--devices", "at most"),
    ],
)
def test_an_option_of_the_models(
    refuse: Callable[..., Refusal], tmp_path: Path, command: str, wrong: str, named: str,
    nearest: str,
) -> None:  # fmt: skip
    (tmp_path / "bare.csv").write_text("user,item\nu,i\n")
    said = refuse(command, "--dataset", "planted", *wrong.split())
    assert named in said.what + said.where
    assert nearest in said.todo


@pytest.mark.parametrize(
    ("line", "named", "nearest"),
    [
        ("", "COMMAND", "--help"),
        ("rn", "'rn'", "run"),
        ("--warehouse w run", "after the command", "mrl4rec COMMAND"),
        ("bench", "'bench'", "make bench"),
        ("run extra", "'extra'", "--help"),
        ("tune --dataset planted --method MRL-N", "'MRL-N'", "MRL-M"),
        ("tune --dataset planted --method BPR --trials 0", "--trials", "at least 1"),
        ("inspect none.csv", "none.csv", "path"),
        ("inspect unclear.csv --rows 0", "--rows", "at least 1"),
        ("inspect unclear.csv --columns user=1,itm=2", "itm", "item"),
        ("quarantine --dataset d --rows x", "--rows", ""),
        ("compare --protocol cleen", "--protocol", "clean"),
        ("compare --k x", "--k", ""),
        ("compare --metrc ndcg", "--metrc", "--metric"),
        ("report --out .", "--out", ""),
        ("tables reviws", "'reviws'", "reviews"),
        ("export m --format nyp", "--format", "npy"),
        ("export m --width x", "--width", ""),
        ("export m --neighbours 0", "--neighbours", ""),
        ("recommend --user u --model", "--model", "--model=VALUE"),
        ("register", "MODEL", "--help"),
        ("export nothing", "'nothing'", ""),
        ("retrain", "--dataset", "--dataset"),
        ("retrain --dataset d --dumps none.csv", "none.csv", "path"),
        ("retrain --dataset d --dumps *.nothing", "*.nothing", "name the files"),
        ("retrain --dataset d --dumps unclear.csv", "unclear.csv", "--columns user="),
        ("retrain --dataset d --dumps unclear.csv --device cuda", "--device", "cpu"),
        ("retrain --dataset d --dumps unclear.csv --methods MRL-N", "'MRL-N'", "MRL-M"),
        ("retrain --dataset d --dumps unclear.csv --alpha 2", "--alpha", ""),
        ("simulate --weeks 0", "--weeks", "at least 1"),
        ("simulate --poison flod", "--poison", "flood"),
        ("promote m", "--why", "--help"),
        ("registry --widths 8,0", "--widths", "--help"),
        ("recommend --user u --n 0", "--n", ""),
        ("recommend --user --id", "--user", "--user=VALUE"),
        ("vacuum --keep-days x", "--keep-days", ""),
        ("up --prefect-port x", "--prefect-port", ""),
        ("up --mlflow-port 99999", "--mlflow-port", ""),
        ("up --mlflow-prt 5000", "--mlflow-prt", "--mlflow-port"),
    ],
)
def test_an_option_of_each_command(
    refuse: Callable[..., Refusal], tmp_path: Path, line: str, named: str, nearest: str
) -> None:
    (tmp_path / "unclear.csv").write_text(UNCLEAR)
    said = refuse(*line.split())
    assert named in said.what + said.where
    assert nearest in said.todo


@pytest.mark.parametrize(
    "command", ["run", "compare", "report", "recommend --user u", "up", "retrain", "simulate"]
)
@pytest.mark.parametrize(
    "path", ["gs://b/w", "s3://b//w", "a?b", "a#b", "a%25b", "a[2]", "a\nb", "file"]
)
def test_a_warehouse_where_no_table_can_lie(
    refuse: Callable[..., Refusal], tmp_path: Path, command: str, path: str
) -> None:
    (tmp_path / "file").touch()
    said = refuse(*command.split(), "--warehouse", path)
    assert "warehouse" in said.what
    assert "--warehouse" in said.todo


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("MRL4REC_DEVICE", "gpu", "'cpu'"),
        ("MRL4REC_MEMORY_GB", "lots", ""),
        ("MRL4REC_RECOMMEND_N", "0", "1"),
        ("MRL4REC_TRACKING_URI", "htp://host", "http"),
        ("MLFLOW_TRACKING_URI", "http://host:port", "http://localhost:5000"),
        ("MLFLOW_TRACKING_URI", "localhost:5000", "http://localhost:5000"),
        ("PREFECT_API_URL", "htp://host", "http://127.0.0.1:4200/api"),
        ("PREFECT_API_URL", "http://host:port/api", "http://127.0.0.1:4200/api"),
        ("HTTPS_PROXY", "ftp://host", "HTTPS_PROXY"),
        ("all_proxy", "socks4://host:1080", "all_proxy"),
        ("SSL_CERT_FILE", "/no/such.pem", "SSL_CERT_FILE"),
        ("SSL_CERT_FILE", "unclear.csv", "SSL_CERT_FILE"),
    ],
)
def test_a_variable(
    refuse: Callable[..., Refusal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    value: str, nearest: str,
) -> None:  # fmt: skip
    (tmp_path / "unclear.csv").write_text(UNCLEAR)
    monkeypatch.setenv(name, value)
    said = refuse("run", "--dataset", "planted")
    assert name in said.where
    assert nearest in said.todo


def test_a_file_of_variables_that_is_no_utf_8(
    refuse: Callable[..., Refusal], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_bytes("NAME=Müller".encode("latin-1"))
    assert refuse("run", "--dataset", "planted").where.endswith("/.env")
    assert refuse("up").where.endswith("/.env")


def test_a_password_in_a_variable_is_not_told(
    refuse: Callable[..., Refusal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRL4REC_TRACKING_URI", "htp://me:pa55word@host")
    said = refuse("run", "--dataset", "planted")
    assert "pa55word" not in f"{said}"


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
