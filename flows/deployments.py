"""The deployments ``mrl4rec/full-benchmark`` and ``mrl4rec/smoke``, served by one process."""

from __future__ import annotations

from typing import Any

DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "full-benchmark": {
        "description": "MovieLens 100K and the planted hierarchy: every method, two level sets, "
        "three seeds, protocol clean. Takes any data set of the catalogue.",
        "parameters": {
            "datasets": ["ml-100k", "planted"],
            "levels": ["4,8,16,32,64", "16,32,64"],
            "seeds": [0, 1, 2],
            "protocol": "clean",
        },
    },
    "smoke": {
        "description": "A few methods for a few epochs on the planted hierarchy: is it all wired?",
        "parameters": {
            "datasets": ["planted"],
            "methods": ["Pop", "EASE", "BPR-D", "MRL-M"],
            "seeds": [0],
            "epochs": 11,
        },
    },
}
"""What each deployment runs by default, on top of the flow's own defaults."""


def serve_all() -> None:
    """Register the deployments with the server of PREFECT_API_URL and run what is asked for."""
    from prefect import serve
    from prefect.deployments.runner import EntrypointType

    from flows import zombies
    from flows.benchmark import benchmark

    zombies.ensure()
    deployments = [
        benchmark.to_deployment(
            name=name, entrypoint_type=EntrypointType.MODULE_PATH, tags=["mrl4rec"], **body
        )
        for name, body in DEPLOYMENTS.items()
    ]
    serve(*deployments, limit=1, print_starting_message=False)  # type: ignore[arg-type]


if __name__ == "__main__":
    serve_all()
