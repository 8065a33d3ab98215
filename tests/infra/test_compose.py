"""The compose file: as Compose takes it, closed to the outside, and naming only what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import compose_spec
import prefect.settings
import pytest

from flows.pools.dispatch import CPU, GPU, SPARK
from mrl4rec.core.settings import PREFIX, Settings
from tests.infra.composed import INFRA, VARIABLE, composed, example

SERVICES: dict[str, dict[str, Any]] = composed()["services"]
OURS = ("mrl4rec-data", "mrl4rec-train")


def of_each() -> Any:
    return pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_takes_it(name: str) -> None:
    text = json.dumps(composed(name))
    assert len(compose_spec.PyCompose.from_json(text)) == text.count('"deploy":')
    with pytest.raises(ValueError):  # the check sees what is wrong
        compose_spec.PyCompose.from_json(text.replace('"deploy":', '"deplyo":', 1))


@of_each()
def test_a_container_may_do_little(service: dict[str, Any]) -> None:
    assert service["user"] not in {"0", "root", "0:0"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert not any("docker.sock" in volume for volume in service.get("volumes", ()))


@of_each()
def test_ports_are_published_on_loopback(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service.get("network_mode") is None


def test_the_database_is_reached_by_its_two_servers_alone() -> None:
    inside = {name for name, body in SERVICES.items() if "databases" in body["networks"]}
    assert inside == {"postgres", "prefect", "mlflow"}
    assert composed()["networks"]["databases"]["internal"] is True
    assert "ports" not in SERVICES["postgres"]


@of_each()
def test_what_a_service_names_is_there(service: dict[str, Any]) -> None:
    volumes = composed()["volumes"]
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        assert (INFRA / source).is_file() if source.startswith(".") else source in volumes
    for name, need in service.get("depends_on", {}).items():
        ends = SERVICES[name]["restart"] == "no"
        wanted = "service_completed_successfully" if ends else "service_healthy"
        assert need["condition"] == wanted
        assert ends or "healthcheck" in SERVICES[name]


@of_each()
def test_images_are_of_one_version(service: dict[str, Any]) -> None:
    name, _, tag = service["image"].partition(":")
    assert tag
    if name in OURS:
        assert (INFRA / "images" / f"Containerfile.{name.removeprefix('mrl4rec-')}").is_file()
    else:
        assert re.search(r"\d+\.\d+", tag), "a version, not a name that moves"


def test_a_worker_serves_each_pool() -> None:
    pools = {}
    for service in SERVICES.values():
        words = service.get("command", [])
        if "worker" in words:
            pools[words[words.index("--pool") + 1]] = service["image"].partition(":")[0]
    assert pools == {CPU: OURS[0], SPARK: OURS[0], GPU: OURS[1]}


def test_settings_are_those_of_the_code() -> None:
    names = {name for service in SERVICES.values() for name in service.get("environment", {})}
    ours = {name.removeprefix(PREFIX).lower() for name in names if name.startswith(PREFIX)}
    assert ours
    assert ours <= set(Settings.model_fields)
    of_prefect = {name for name in names if name.startswith("PREFECT_")} - {"PREFECT_DB_PASSWORD"}
    assert of_prefect
    assert not [name for name in of_prefect if not hasattr(prefect.settings, name)]


def test_secrets_come_from_a_file_that_is_not_committed() -> None:
    text = (INFRA / "compose.yaml").read_text()
    secret = re.compile(r"^\s+(\w*(?:PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY)\w*): (.+)$", re.M)
    found = secret.findall(text)
    assert len(found) > 10
    assert all(VARIABLE.match(value) for _, value in found), found
    asked = {name for name, kind, _ in VARIABLE.findall(text) if kind != "-"}
    assert asked == set(example(INFRA / ".env.example"))
    ignored = (INFRA.parent / ".gitignore").read_text().splitlines()
    assert "infra/.env" in ignored
    assert Path(INFRA, ".env.example").read_text().count("change-me") >= len(asked) - 1
