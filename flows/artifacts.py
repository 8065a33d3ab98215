"""What the flows leave on Prefect's pages: counts, verdicts, the leaderboard, and where to look."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.addresses import Addresses, addresses
from mrl4rec import reporting as report
from mrl4rec.checks.gate import Verdict, markdown
from mrl4rec.core import lazy
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tracking import run_link, view_link
from mrl4rec.tracking.view import LEADERBOARD

with lazy.imports():
    import prefect.artifacts

if TYPE_CHECKING:
    from flows.benchmarking.execute import Outcome
    from mrl4rec.tracking.spool import Place


def of_stage(name: str, result: Any, settings: Settings) -> None:
    """Leave on a task's page what a person would look for there."""
    text = None
    if isinstance(result, Commit):
        text = _stage(result)
    elif isinstance(result, Verdict):
        page = result.page(settings)
        docs = addresses(settings).link("Data Docs", page) if page else None
        text = markdown(result, docs)
    if text:
        key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        prefect.artifacts.create_markdown_artifact(text, key=key, description=name)


def of_benchmark(outcome: Outcome, settings: Settings) -> None:
    """Leave on the run's page its leaderboard, and links to report, gates and MLflow."""
    board = report.as_markdown(outcome.rows, settings)
    prefect.artifacts.create_markdown_artifact(board, key="leaderboard")
    datasets = list(dict.fromkeys(row["dataset"] for row in outcome.rows))
    links(settings, outcome.report, datasets, outcome.runs)


def links(
    settings: Settings, page: AnyPath, datasets: Sequence[str], runs: Mapping[str, Place]
) -> None:
    """Leave the places of the report, each data set's gates and its runs: links while they are
    served, else paths.
    """
    found = addresses(settings)
    if (address := found.page(page)) is not None:
        prefect.artifacts.create_link_artifact(address, "the HTML report", key="report")
    text = links_markdown(found, settings, page, datasets, runs)
    prefect.artifacts.create_markdown_artifact(text, key="links", description="where to look")


def links_markdown(
    found: Addresses,
    settings: Settings,
    page: AnyPath,
    datasets: Sequence[str],
    runs: Mapping[str, Place],
) -> str:
    """The places as a Markdown list."""
    lines = [found.link("Report", page)]
    for dataset in datasets:
        index = settings.storage.data_docs_dir(dataset) / "data_docs" / "index.html"
        lines.append(found.link(f"Gates of {dataset}", index))
        if dataset in runs:
            lines.append(_run(found, dataset, runs[dataset]))
    if found.pages is None:
        lines.append("`mrl4rec up` shows all of it in the browser")
    return "\n".join(f"- {line}" for line in lines) + "\n"


def _run(found: Addresses, dataset: str, place: Place) -> str:
    if found.mlflow is None:
        return f"MLflow run of {dataset}: `{place.run_id}`"
    run = run_link(found.mlflow, place.experiment_id, place.run_id)
    board = view_link(found.mlflow, place.experiment_id, LEADERBOARD)
    return f"MLflow: [run of {dataset}]({run}), [leaderboard]({board})"


def _stage(commit: Commit) -> str:
    facts = "\n".join(
        f"| {name} | `{json.dumps(value, default=str)}` |" for name, value in commit.summary.items()
    )
    state = "found done, nothing ran" if commit.found else "ran"
    return (
        f"**{commit.stage}**: {state}. Marker `{commit.table}` version {commit.version}, "
        f"stage key `{commit.key}`\n\n| fact | value |\n|---|---|\n{facts}\n"
    )
