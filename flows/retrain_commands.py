"""The command ``retrain``."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from flows import ahead, console, ephemeral, preflight, reading
from flows.retrain_request import RetrainRequest
from mrl4rec.settings import Settings

FIELDS = (*reading.NAMES, "kcore", "min_rating", "as_of", "start", "epochs", "device", "window",
          "alpha", "min_gain", "width_margin", "slice_margin", "refit", "dry_run",
          "retry_set_aside")  # fmt: skip
LISTS = ("methods", "levels", "overrides", "seeds")


def retrain(arguments: Namespace) -> Any:
    """The flow, on a server of its own unless PREFECT_API_URL names one."""
    from flows.options import _seeds

    arguments.refit = not arguments.no_refit
    if isinstance(arguments.seeds, str):
        arguments.seeds = _seeds(arguments.seeds)
    values: dict[str, Any] = {name: getattr(arguments, name) for name in FIELDS}
    lists: dict[str, Any] = {name: tuple(getattr(arguments, name)) for name in LISTS}
    request = RetrainRequest(arguments.dataset, tuple(arguments.dumps), **values, **lists)
    settings = Settings()
    preflight.check_dumps(request, settings)
    server = ephemeral.start()
    ahead.begin(request.stages(), settings)
    from flows.retrain import retrain as flow

    if server:
        from flows.pipeline import preload

        preload()
        ahead.imports_while_waiting(request.stages(), settings)
        server.wait()
    lists = {name: list(given) for name, given in lists.items()}
    outcome = flow(dataset=request.dataset, dumps=list(request.dumps), **values, **lists)
    if arguments.json:
        return outcome.as_dict()
    print(f"{request.dataset}  {outcome.outcome}")
    for reason in outcome.why.split("; "):
        print(f"why     {reason}")
    for state, paths in outcome.dumps.items():
        for path in paths:
            print(f"dump    {path}: {state}")
    if outcome.seq is not None:
        told = console.command(settings, "ledger", "--dataset", request.dataset)
        print(f"ledger  row {outcome.seq}; {told}")
    if outcome.report is not None:
        print(f"report  {outcome.report}")
    print(f"next    {console.command(settings, 'up')}   (MLflow and Prefect in the browser)")
    return None
