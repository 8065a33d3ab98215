"""How dumps are read is asked for in the same words wherever dumps are named."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path

import pytest
import yaml

from flows import reading
from flows.benchmark import benchmark
from flows.commands import _request
from flows.options import build_parser
from flows.request import Request
from flows.retrain import retrain
from flows.retrain_request import RetrainRequest

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
    arguments = build_parser().parse_args([command, *COMMANDS[command], *given])
    found = {name: getattr(arguments, name) for name in reading.NAMES}
    assert found == {"format": None, "time_format": None, **SAID}


def test_a_request_checks_and_holds_them() -> None:
    for request in (Request("d", **SAID), RetrainRequest("d", ("x",), **SAID)):
        assert reading.said(request) == SAID
        options = request.read_options()
        assert options.columns == {"user": "a", "item": "b", "rating": "c", "time": "d"}
        assert options.rating_range == (1.0, 10.0)
        assert reading.options(request)[0] == "--columns"
    assert RetrainRequest("d", ("x",), **SAID).stages().read_options() == options


def test_an_empty_text_says_nothing() -> None:
    nothing = dict.fromkeys(reading.NAMES, "")
    assert Request("d", ("",), **nothing) == Request("d")
    assert Request("d", **nothing).parameters() == Request("d").parameters()


@pytest.mark.parametrize("flow", [benchmark, retrain], ids=lambda flow: flow.name)
def test_the_flows_take_the_same(flow: object) -> None:
    parameters = inspect.signature(flow.fn).parameters  # type: ignore[attr-defined]
    assert {*reading.NAMES, "data_engine"} <= set(parameters)
    assert {parameters[name].default for name in reading.NAMES} == {None}


@pytest.mark.parametrize("project", ["benchmark", "train", "evaluate"])
def test_mlflow_projects_pass_them_on(project: str) -> None:
    text = (ROOT / "mlflow_projects" / project / "MLproject").read_text()
    main = yaml.safe_load(text)["entry_points"]["main"]
    defaults = {name: declared["default"] for name, declared in main["parameters"].items()}
    assert {*reading.NAMES, "source", "data_engine"} <= set(defaults)

    def asked(**given: str) -> Request:
        quoted = {name: shlex.quote(str(v)) for name, v in {**defaults, **given}.items()}
        words = shlex.split(main["command"].format(**quoted))
        return _request(build_parser().parse_args(words[words.index("flows.cli") + 1 :]))

    assert reading.said(asked()) == {}
    assert asked().source == ()
    mine = asked(source="/a b/dump.csv", **SAID)
    assert (mine.source, reading.said(mine)) == (("/a b/dump.csv",), SAID)
