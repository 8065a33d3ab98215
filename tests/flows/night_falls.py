"""The deployment of retraining with a night of five seconds: ``python -m tests.flows.night_falls``.

Where ``NO_LOCK`` is in the environment, the lock of retraining is taken out of its runs too.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from prefect import serve
from prefect.deployments.runner import EntrypointType

from flows import deployments
from flows import retrain as module
from mrl4rec.core.settings import Settings
from tests.flows import retrain_alone

NO_LOCK = "MRL4REC_TEST_NO_LOCK"
if NO_LOCK in os.environ:
    module.locked = lambda *_: nullcontext()  # type: ignore[assignment]

retrain = module.retrain
"""What Prefect's runner imports, in a process of each run."""


def parameters(settings: Settings) -> dict[str, Any]:
    """The small retraining of these tests, as the flow takes it."""
    return retrain_alone.request(str(settings.retrain_dumps)).given()


def main() -> None:
    """Serve it until the end."""
    settings = Settings()
    body = deployments.nightly(settings)
    assert body.pop("cron") == settings.retrain_cron  # whose finest step is a minute
    night = retrain.to_deployment(
        name=deployments.NIGHTLY, entrypoint_type=EntrypointType.MODULE_PATH,
        interval=timedelta(seconds=5), parameters=parameters(settings), **body,
    )  # fmt: skip
    night.entrypoint = f"{__spec__.name}.retrain"
    serve(night, limit=1, pause_on_shutdown=False, print_starting_message=False)


if __name__ == "__main__":
    main()
