"""The model as an MLflow LoggedModel: a pyfunc whose loader is a module, so nothing is pickled."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import tempfile
from pathlib import Path
from typing import Any

LOADER = "mrl4rec.pyfunc"
"""Module with ``_load_pyfunc(path)``: an object whose ``predict`` answers top-N for user ids."""
NAME = "recommender"

log = logging.getLogger(__name__)


def log_model(client: Any, experiment_id: str, run_id: str, folder: Path) -> str | None:
    """Log a model folder as the run's pyfunc, once; answer why not where that failed.

    The model is a convenience beside the folder, so nothing that goes wrong in it fails the run.
    """
    if importlib.util.find_spec(LOADER) is None:
        return f"{LOADER} is not installed"
    try:
        _log(client, experiment_id, run_id, folder)
    except (ConnectionError, TimeoutError):
        raise  # the server went away: the whole record is pushed again
    except Exception as error:
        log.debug("pyfunc of %s", folder, exc_info=True)
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    return None


def _log(client: Any, experiment_id: str, run_id: str, folder: Path) -> None:
    import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    loader = importlib.import_module(LOADER)
    if not hasattr(loader, "_load_pyfunc"):
        raise AttributeError(f"{LOADER} has no _load_pyfunc")
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    if any(model.status == LoggedModelStatus.READY for model in found):
        return
    with tempfile.TemporaryDirectory(prefix="mrl4rec-pyfunc-") as temporary:
        local = Path(temporary) / "model"
        mlflow.pyfunc.save_model(
            path=str(local),
            loader_module=LOADER,
            data_path=str(folder),
            pip_requirements=["mrl4rec"],  # else MLflow starts a process to guess them
            signature=getattr(loader, "SIGNATURE", None),
        )
        # A model left PENDING by a push that was cut is filled again, not doubled.
        model = found[0] if found else client.create_logged_model(experiment_id, NAME, run_id)
        client.log_model_artifacts(model.model_id, str(local))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
