"""Great Expectations, behind one function: a suite on a one-row frame of facts, with Data Docs.

The context lives in memory; what was judged and the site of pages lie in the data set's ``gx``
folder, and nothing in there knows where the warehouse is, so that it may be moved.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from mrl4rec.checks.gate import data_docs
from mrl4rec.checks.gate.verdicts import Finding
from mrl4rec.core import lazy
from mrl4rec.tables.expectation import Expectation, Suite

with lazy.imports():
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.core import run_identifier
    from great_expectations.data_context.types import base as gx_base
    from great_expectations.data_context.types import resource_identifiers

_LOCK = threading.Lock()  # Great Expectations keeps its current context in a global


def run_suite(
    suite: Suite, values: Mapping[str, float], frame: Any, folder: Path, run_name: str
) -> tuple[tuple[Finding, ...], Path | None]:
    """What each expectation came to on ``frame``, and the path of the Data Docs page.

    ``frame`` is a pandas frame of one row, a column a fact. Each expectation is one on the column's
    maximum, which of one row is its value; a fact that is null is not within any limits. A column
    that is missing gives a finding with a problem.
    """
    if not suite.expectations:
        return (), None
    if len(frame) != 1:
        raise ValueError(f"facts must be one row, these are {len(frame)}")
    with _LOCK, _quiet():
        context = _context(folder)
        result = _validate(context, suite, values, frame, run_name)
        page = _publish(context, folder / "data_docs")
    answers = {r.expectation_config.meta.get("name"): r for r in result.results}
    findings = tuple(_finding(e, values, answers.get(e.name)) for e in suite.expectations)
    return findings, page


def _context(folder: Path) -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported

    memory = {"class_name": "InMemoryStoreBackend"}
    stores = {
        "expectations": {
            "class_name": "ExpectationsStore",
            "store_backend": _files(folder, "suites"),
        },
        "validations": {
            "class_name": "ValidationResultsStore",
            "store_backend": _files(folder, "validations"),
        },
        "checkpoints": {"class_name": "CheckpointStore", "store_backend": memory},
        "validation_definition_store": {
            "class_name": "ValidationDefinitionStore",
            "store_backend": memory,
        },
    }
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": _files(folder, "data_docs"),
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    configuration = gx_base.DataContextConfig(
        config_version=4.0,
        expectations_store_name="expectations",
        validation_results_store_name="validations",
        checkpoint_store_name="checkpoints",
        stores=stores,
        data_docs_sites={"local": site},
        analytics_enabled=False,
        progress_bars={"globally": False, "metric_calculations": False},
    )
    return gx.get_context(project_config=configuration, mode="ephemeral")


def _files(folder: Path, name: str) -> dict[str, Any]:
    return {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str((folder / name).absolute()),
    }


def _validate(
    context: Any, suite: Suite, values: Mapping[str, float], frame: Any, run_name: str
) -> Any:
    source = context.data_sources.add_pandas("facts")
    batch = source.add_dataframe_asset(suite.tables[0]).add_batch_definition_whole_dataframe("all")
    declared = context.suites.add_or_update(
        gx.ExpectationSuite(
            name=suite.name, expectations=[_as_gx(e, values) for e in suite.expectations]
        )
    )
    definition = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=suite.name, data=batch, suite=declared)
    )
    return definition.run(
        batch_parameters={"dataframe": frame},
        result_format="BASIC",
        run_id=run_identifier.RunIdentifier(run_name=run_name),
    )


def _as_gx(expectation: Expectation, values: Mapping[str, float]) -> Any:
    low, high = expectation.limits(values)
    finding = Finding(expectation.name, expectation.meaning, None, low, high, met=False)
    return gxe.ExpectColumnMaxToBeBetween(
        column=expectation.fact,
        min_value=low,
        max_value=high,
        meta={"name": expectation.name},
        description=f"{expectation.meaning} [{expectation.fact}: {finding.wanted}]",
        severity="warning" if expectation.warns else "critical",
    )


def _publish(context: Any, site: Path) -> Path | None:
    """Build the pages of the newest validation and of its suite; the first one's path."""
    keys = context.validation_results_store.list_keys()
    newest = max(keys, key=lambda key: key.run_id.run_time)
    suite = resource_identifiers.ExpectationSuiteIdentifier(
        name=newest.expectation_suite_identifier.name
    )
    of = [newest, suite]
    context.build_data_docs(site_names=["local"], resource_identifiers=of, build_index=False)
    pages = [page for one in of if (page := _page(context, one)) is not None]
    data_docs.make_local(site.absolute(), pages)
    return pages[0] if pages else None


def _page(context: Any, identifier: Any) -> Path | None:
    sites = context.get_docs_sites_urls(resource_identifier=identifier, site_names=["local"])
    url = sites[0]["site_url"] if sites else None
    return Path(unquote(urlparse(url).path)) if url else None


def _finding(expectation: Expectation, values: Mapping[str, float], answer: Any) -> Finding:
    low, high = expectation.limits(values)
    seen, problem = None, None
    if answer is None:
        problem = "it was declared but not evaluated"
    else:
        observed = answer.result.get("observed_value")
        problem = _raised(answer.exception_info)
        if problem is None and (observed is None or math.isnan(observed)):
            problem = "there was nothing to see: the fact is missing"
        seen = None if problem else float(observed)
    met = problem is None and bool(answer.success)
    return Finding(
        expectation.name,
        expectation.meaning,
        seen,
        low,
        high,
        met,
        problem,
        warns=expectation.warns,
    )


def _raised(info: Mapping[str, Any]) -> str | None:
    """The message of an exception; Great Expectations nests them by metric when it has several."""
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if entry.get("raised_exception"):
            return str(entry.get("exception_message") or "it raised an exception")
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Great Expectations warns of its own internals; a person should see the verdict only."""
    loggers = [logging.getLogger(name) for name in ("great_expectations", "py.warnings")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
