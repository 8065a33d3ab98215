"""The model as an MLflow LoggedModel, beside the run that it came from."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

from mrl4rec.core import lazy

with lazy.imports():
    from mlflow import entities

    from mrl4rec.models import model_folder
    from mrl4rec.tracking import pyfunc

NAME = "recommender"

log = logging.getLogger(__name__)


def log_model(client: Any, experiment_id: str, run_id: str, folder: Path) -> str | None:
    """Log a model folder as the run's pyfunc, once; answer why not where it is not a pyfunc.

    The model is a convenience beside the folder, so one that cannot be packed does not fail the
    run. Raises what MLflow raises where the server or its artifact store fails: then the record
    stays in the spool, and a model left PENDING is filled by the next try.
    """
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    if any(model.status == entities.LoggedModelStatus.READY for model in found):
        return None
    with tempfile.TemporaryDirectory(prefix="mrl4rec-pyfunc-") as temporary:
        local = Path(temporary) / "model"
        reason = _pack(folder, local)
        if reason:
            return reason
        model = found[0] if found else client.create_logged_model(experiment_id, NAME, run_id)
        client.log_model_artifacts(model.model_id, str(local))
    client.finalize_logged_model(model.model_id, entities.LoggedModelStatus.READY)
    client.log_outputs(run_id, [entities.LoggedModelOutput(model.model_id, 0)])
    return None


def _pack(folder: Path, local: Path) -> str | None:
    """Write the pyfunc to ``local``; answer why not where that failed."""
    if not model_folder.is_complete(folder):
        return "not a complete model folder"
    try:
        with warnings.catch_warnings():
            # It asks for an input example, which it would run the model on.
            warnings.filterwarnings("ignore", message=".*input example.*")
            pyfunc.save(folder, local)
    except Exception as error:  # whatever MLflow's packing raises
        log.debug("pyfunc of %s", folder, exc_info=True)
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None
