"""Probes: what is measured inside a process of its own, asked for by kind and values.

A probe prints one JSON object on its last line: ``seconds`` and what else the measurement found, or
``missing`` with the name of a peer that is not installed.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks import child

PEERS = ("implicit", "polars", "duckdb", "torch", "recbole", "torch_rechub", "rectools")
KINDS = {
    "epoch": "training:epoch",
    "epoch-plain": "published:plain",
    "epoch-implicit": "published:implicit_bpr",
    "epoch-authors": "published:authors",
    "vectors": "training:vectors",
    "epoch-recbole": "recbole:epoch",
    "epoch-sequences": "sequences:ours",
    "epoch-rechub": "sequences:rechub",
    "epoch-rectools": "sequences:rectools",
    "rank": "ranking:ours",
    "rank-interests": "ranking:interests",
    "rank-each-interest": "ranking:each_interest",
    "rank-implicit": "ranking:implicit",
    "rank-torch": "ranking:torch_chunks",
    "ials": "ials:ours",
    "ials-implicit": "ials:implicit",
    "dump": "planted:dump",
    "without-broken": "planted:without_broken",
    "respelled": "planted:respelled",
    "reviews": "planted:reviews",
    "kcore-polars": "peers:kcore_polars",
    "ingest-polars": "peers:ingest_polars",
    "ingest-duckdb": "peers:ingest_duckdb",
}


def ask(kind: str, **values: Any) -> tuple[dict[str, Any], child.Outcome]:
    """Run a probe in a child; its answer and what the process took."""
    outcome = child.python("-m", "tests.benchmarks.probes", kind, json.dumps(values, default=str))
    return outcome.answer(), outcome


def best_of(times: int, function: Callable[[], Any]) -> float:
    """The least seconds of so many calls."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main(kind: str, values: dict[str, Any]) -> None:
    """Run one probe here and print its answer."""
    module, _, name = KINDS[kind].partition(":")
    try:
        function = getattr(importlib.import_module(f"tests.benchmarks.probes.{module}"), name)
        answer = function(**values)
    except ModuleNotFoundError as error:
        if error.name not in PEERS:
            raise
        answer = {"missing": error.name}
    print(json.dumps(answer))
