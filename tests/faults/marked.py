"""A pytest plugin: each test says in its reports which faults it stands for, across processes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import pytest

from tests.faults.catalogue import FAULT, FAULTS


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Write on each test which faults it stands for, where its reports carry it along."""
    for item in items:
        marks = item.iter_markers("fault")
        said = {fault: mark.kwargs.get("without") for mark in marks for fault in mark.args}
        for fault, without in said.items():
            assert fault in FAULTS, f"{item.nodeid}: there is no {fault}"
            item.user_properties.append((FAULT, (fault, without, _done(item))))


def _done(item: pytest.Item) -> str:
    """The first line of the test's docstring, else its name in words."""
    function: Any = getattr(item, "function", None)
    doc = inspect.getdoc(function)
    name = item.nodeid.rpartition("::")[2].partition("[")[0]
    return doc.splitlines()[0].rstrip(".") if doc else name.removeprefix("test_").replace("_", " ")
