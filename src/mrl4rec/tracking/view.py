"""Saved views of a data set's runs for MLflow's own page: what differs in columns.

MLflow (3.17) keeps a shared view as JSON in a tag of the experiment and opens it by its name in
the address. Without it the page shows neither parameters nor metrics until one adds them by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from mrl4rec.tracking.record import COMMON

PAGES = "workflowType=machine_learning"
"""MLflow has other pages for prompts and agents."""
RUN_NAME = "attributes.`Run Name`"


@dataclass(frozen=True, slots=True)
class View:
    """Which runs are shown, what of them, and in which order."""

    name: str
    only: str
    """The runs' filter, in MLflow's words."""
    order_by: str
    columns: tuple[str, ...]
    """Left to right."""
    apart_by: str | None = None
    """A parameter: runs that differ in it are not ranked together."""

    @property
    def tag(self) -> str:
        """The experiment's tag that holds the view."""
        return f"mlflow.sharedViewState.{self.name}"


def _columns(kind: str, names: str) -> tuple[str, ...]:
    return tuple(f"{kind}.`{name}`" for name in names.split())


LEADERBOARD: Final = View(
    "leaderboard",
    only="metrics.recall_20 >= 0",  # leaves the parents out, and retrainings
    order_by="metrics.`recall_20`",
    columns=_columns("params", "method levels settings seed")
    + _columns("metrics", "recall_10 recall_20 recall_50 ndcg_20 recall_20_w16"),
    apart_by="board",
)
"""One row a model, the best Recall@20 first."""

RETRAININGS: Final = View(
    "retrainings",
    only="tags.kind = 'retraining'",
    order_by="attributes.start_time",
    columns=_columns("tags", "decision champion challenger")
    + _columns(
        "metrics", "users champion_ndcg_20 challenger_ndcg_20 gain_difference gain_low gain_high"
    ),
)
"""One row a retraining, the latest first: both sides' NDCG@20 and the interval between them."""

VIEWS: Final = (LEADERBOARD, RETRAININGS)


def view_tags(experiment: str) -> dict[str, str]:
    """The views as an experiment's tags: in that of all data sets, none is ranked with another."""
    board = replace(LEADERBOARD, apart_by="dataset") if experiment == COMMON else LEADERBOARD
    return {view.tag: view_state(view) for view in (board, RETRAININGS)}


def _groups(view: View) -> dict[str, Any] | None:
    """Runs under headings, which are not ranked with each other; None: one list."""
    if view.apart_by is None:
        return None
    key = {"mode": "param", "groupByData": view.apart_by}
    return {"aggregateFunction": "average", "groupByKeys": [key]}


def view_state(view: View) -> str:
    """The view as MLflow keeps it, descending."""
    state = {
        "selectedColumns": list(view.columns),
        "searchFilter": view.only,
        "orderByKey": view.order_by,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "columnOrder": [RUN_NAME, *view.columns],
        "columnWidths": {RUN_NAME: 260, **dict.fromkeys(view.columns, 100)},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": _groups(view),
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }
    return json.dumps(state)


def view_link(server: str, experiment_id: str, view: View) -> str:
    """The address of a view on a server such as ``http://127.0.0.1:5000``."""
    query = f"viewStateShareKey={view.name}&{PAGES}"
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def view_note(experiment_id: str) -> str:
    """Markdown for the experiment's page: MLflow opens without its views."""
    links = [f"[{view.name}]({view_link('', experiment_id, view)})" for view in VIEWS]
    return (
        f"One run a trained model, under the benchmark that trained it. Views: {', '.join(links)}"
    )


def run_link(server: str, experiment_id: str, run_id: str) -> str:
    """The address of one run on a server."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?{PAGES}"
