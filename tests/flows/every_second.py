"""The deployments with a night of one second: ``python -m tests.flows.every_second [register]``."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from flows import deployments
from flows.server import serve
from mrl4rec.core.settings import Settings

cron = deployments.nightly


def nightly(settings: Settings) -> dict[str, Any]:
    """The same as by cron, whose finest step is a minute."""
    body = cron(settings)
    assert body.pop("cron") == settings.retrain_cron
    return {**body, "interval": timedelta(seconds=1)}


if __name__ == "__main__":
    deployments.nightly = nightly
    if sys.argv[1:] == ["register"]:
        for deployment in deployments.every(Settings()):
            deployment.apply()
    else:
        serve.serve_all()
