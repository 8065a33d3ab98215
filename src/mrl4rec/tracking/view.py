"""A saved view of the runs for MLflow's own page: what differs in columns, best first.

MLflow (3.17) keeps a shared view as JSON in a tag of the experiment and opens it by its name in
the address. Without it the page shows neither parameters nor metrics until one adds them by hand.
"""

from __future__ import annotations

import json

VIEW = "leaderboard"
TAG_VIEW = f"mlflow.sharedViewState.{VIEW}"
PARAMS = ("dataset", "method", "levels", "seed", "protocol")
METRICS = ("recall_10", "recall_20", "recall_50", "ndcg_20", "recall_20_w16")


def view_state() -> str:
    """The view: one row a model, sorted by Recall@20."""
    columns = [f"params.`{name}`" for name in PARAMS] + [f"metrics.`{name}`" for name in METRICS]
    state = {
        "selectedColumns": columns,
        "searchFilter": "metrics.recall_20 >= 0",  # leaves the parents out
        "orderByKey": "metrics.`recall_20`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "columnOrder": [],
        "columnWidths": {},
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
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }
    return json.dumps(state)


def view_link(server: str, experiment_id: str) -> str:
    """The address of the view on a server such as ``http://127.0.0.1:5000``."""
    query = f"viewStateShareKey={VIEW}&workflowType=machine_learning"
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def run_link(server: str, experiment_id: str, run_id: str) -> str:
    """The address of one run on a server."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
