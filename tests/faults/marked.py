"""A pytest plugin: each test says in its reports which faults it stands for, across processes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.faults.catalogue import FAULT, FAULTS


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which faults: those with this first letter."""
    parser.addoption("--faults", default="F")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Write on each test which faults it stands for, where its reports carry it along; leave out
    those of others.
    """
    letter = config.getoption("--faults")
    items[:] = [item for item in items if _faults(item, letter)]
    for item in items:
        for fault, without in _faults(item, letter).items():
            assert fault in FAULTS, f"{item.nodeid}: there is no {fault}"
            item.user_properties.append((FAULT, (fault, without, _done(item))))


def _faults(item: pytest.Item, letter: str) -> dict[str, str | None]:
    """Fault → the guard that is taken out in its test."""
    marks = item.iter_markers("fault")
    said = {fault: mark.kwargs.get("without") for mark in marks for fault in mark.args}
    return {fault: without for fault, without in said.items() if fault.startswith(letter)}


def _done(item: pytest.Item) -> str:
    """The first line of the test's docstring, else its name in words."""
    function: Any = getattr(item, "function", None)
    doc = inspect.getdoc(function)
    name = item.nodeid.rpartition("::")[2].partition("[")[0]
    return doc.splitlines()[0].rstrip(".") if doc else name.removeprefix("test_").replace("_", " ")
