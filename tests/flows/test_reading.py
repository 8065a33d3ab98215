"""How dumps are read is asked for in the same words wherever dumps are named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.benchmark import benchmark
from flows.config import mlprojects
from flows.config.base import READ_FIELDS, Config, to_yaml
from flows.config.retrain import RetrainConfig
from flows.config.run import RunConfig
from flows.retrain import retrain
from mrl4rec.core.errors import UsageError
from tests.flows.parsed import parsed, run_config

ROOT = Path(__file__).resolve().parents[2]
SAID = {
    "columns": "user=a,item=b,rating=c,time=d",
    "time_unit": "ms",
    "rating_range": "1:10",
    "separator": ";",
    "encoding": "latin-1",
}
COMMANDS = {
    "run": [],
    **{name: ["--dataset", "d"] for name in ("ingest", "kcore", "split", "train", "evaluate")},
    "tune": ["--dataset", "d", "--method", "MRL-M"],
    "retrain": ["--dataset", "d", "--dumps", "x"],
    "inspect": ["x"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_names_dumps_takes_the_options(command: str) -> None:
    given = [f"--{name.replace('_', '-')}={value}" for name, value in SAID.items()]
    arguments = parsed(command, *COMMANDS[command], *given)
    assert {name: getattr(arguments, name) for name in SAID} == SAID


def test_a_configuration_checks_and_holds_them() -> None:
    retraining = RetrainConfig(dataset="d", dumps=("x",), **SAID)
    for config in (RunConfig(dataset="d", **SAID), retraining, retraining.stages()):
        assert config.reading() == SAID
        options = config.read_options()
        assert options.columns == {"user": "a", "item": "b", "rating": "c", "time": "d"}
        assert options.rating_range == (1.0, 10.0)


def test_an_empty_text_is_unset() -> None:
    nothing = dict.fromkeys(READ_FIELDS, "")
    assert RunConfig(dataset="d", source=("",), **nothing) == RunConfig(dataset="d")


@pytest.mark.parametrize(
    ("flow", "kind"), [(benchmark, RunConfig), (retrain, RetrainConfig)], ids=["run", "retrain"]
)
def test_the_flows_take_the_same_with_their_choices(flow: Any, kind: type[Config]) -> None:
    shown = flow.parameters.properties
    assert set(kind.model_fields) <= set(shown)
    assert shown["columns"]["description"]
    assert "cuda" in str(shown["device"])
    assert shown["epochs"]["minimum"] == 1
    assert shown["epochs"]["default"] == 300


@pytest.mark.parametrize("project", mlprojects.COMMANDS)
def test_mlflow_projects_pass_them_on(project: str) -> None:
    file = (ROOT / "mlflow_projects" / project / "MLproject").read_text()
    assert file == mlprojects.text(project), "run python -m flows.config.mlprojects"
    main = yaml.safe_load(file)["entry_points"]["main"]
    defaults = {name: declared["default"] for name, declared in main["parameters"].items()}

    def asked(**given: str) -> RunConfig:
        quoted = {name: shlex.quote(str(v)) for name, v in {**defaults, **given}.items()}
        words = shlex.split(main["command"].format(**quoted))
        return run_config(*words[words.index("flows.cli") + 1 :])

    methods = ("Pop", "EASE", "BPR-D", "MRL-M")
    assert asked() == RunConfig(dataset="ml-100k", methods=methods)
    mine = asked(source="/a b/dump.csv", epochs="7", **SAID)
    assert (mine.source, mine.epochs, mine.reading()) == (("/a b/dump.csv",), 7, SAID)


@pytest.mark.parametrize("project", mlprojects.COMMANDS)
def test_mlflow_projects_name_an_environment_of_tested_versions(project: str) -> None:
    folder = ROOT / "mlflow_projects" / project
    named = yaml.safe_load((folder / "MLproject").read_text())["python_env"]
    file = (folder / named).read_text()
    assert file == mlprojects.environment(), "run python -m flows.config.mlprojects"
    pins, *needed = yaml.safe_load(file)["dependencies"]
    assert (folder / pins.removeprefix("-c ")).resolve() == ROOT / "constraints.txt"
    tested = {_package(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {_package(one) for one in needed} <= tested


def _package(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_a_file_of_options_repeats_a_run_and_given_options_win(tmp_path: Path) -> None:
    config = RunConfig(dataset="d", preset="demo", seeds=(3,), columns="user=a,item=b", epochs=7)
    file = tmp_path / "run.yaml"
    file.write_text(to_yaml(config))
    again = run_config("run", "--config", str(file))
    assert again.parameters() == config.parameters()
    assert run_config("run", "--config", str(file), "--epochs", "9").epochs == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [("epochs: 0", "--epochs"), ("epoch: 1", "epochs"), ("- 1", "options"), ("a: [", "run.yaml"),
     ("set: [EASE.lam=1]\nmethods: EASE\ndataset: d", None)],
)  # fmt: skip
def test_what_a_file_of_options_says_wrong(tmp_path: Path, text: str, said: str | None) -> None:
    (tmp_path / "run.yaml").write_text(text)
    if said is None:
        assert run_config("run", "--config", str(tmp_path / "run.yaml")).overrides == (
            "EASE.lam=1",
        )
        return
    with pytest.raises(UsageError, match=said):
        run_config("run", "--config", str(tmp_path / "run.yaml"))
