"""The model as an MLflow LoggedModel, beside the run that it came from."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrl4rec.core import lazy

with lazy.imports():
    from mlflow import entities

    from mrl4rec.models import model_folder
    from mrl4rec.tracking import pyfunc

if TYPE_CHECKING:
    from mrl4rec.tracking.record import RunRecord

NAMED_BY = ("dataset", "method", "levels", "seed", "protocol", "split", "split_key", "identity")
"""Parameters of the run that the model bears too."""

log = logging.getLogger(__name__)


class NotPacked(Exception):
    """A model folder cannot be a pyfunc; the message says why."""


def log_model(client: Any, run: Any, folder: Path, record: RunRecord) -> str:
    """Log a model folder as the run's artifact and as its pyfunc, once; the LoggedModel's id.

    The model is a convenience beside the folder, so a caller does not fail the run by NotPacked.
    Raises what MLflow raises where the server or its artifact store fails: then the record stays in
    the spool, and a model left PENDING is filled by the next try.
    """
    run_id, experiment = run.info.run_id, run.info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    for model in found:
        if model.status == entities.LoggedModelStatus.READY:
            return str(model.model_id)
    client.log_artifacts(run_id, str(folder), "model_folder")
    with tempfile.TemporaryDirectory(prefix="mrl4rec-pyfunc-") as temporary:
        local = Path(temporary) / "model"
        _pack(folder, local)
        model = found[0] if found else _create(client, experiment, run_id, record)
        client.log_model_artifacts(model.model_id, str(local))
    client.finalize_logged_model(model.model_id, entities.LoggedModelStatus.READY)
    client.log_outputs(run_id, [entities.LoggedModelOutput(model.model_id, 0)])
    return str(model.model_id)


def _create(client: Any, experiment: str, run_id: str, record: RunRecord) -> Any:
    params = {name: record.params[name] for name in NAMED_BY if name in record.params}
    return client.create_logged_model(experiment, record.model_name, run_id, params=params)


def _pack(folder: Path, local: Path) -> None:
    """Write the pyfunc to ``local``. Raises NotPacked."""
    if not model_folder.is_complete(folder):
        raise NotPacked("not a complete model folder")
    try:
        with warnings.catch_warnings():
            # It asks for an input example, which it would run the model on.
            warnings.filterwarnings("ignore", message=".*input example.*")
            pyfunc.save(folder, local)
    except Exception as error:  # whatever MLflow's packing raises
        log.debug("pyfunc of %s", folder, exc_info=True)
        raise NotPacked(f"{type(error).__name__}: {str(error)[:200]}") from error
