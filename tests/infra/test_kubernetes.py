"""The manifests: as the API takes them, and pods that may do little and reach what they need."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import uuid
import zipfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import prefect.settings
import pyspark
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from flows.pools.dispatch import POOLS
from mrl4rec.core.settings import PREFIX, Settings
from tests.infra.composed import example
from tests.infra.manifests import (
    EXECUTOR,
    FOLDER,
    TEMPLATE,
    Object,
    kustomizations,
    kustomize,
    objects,
    pods,
    rendered,
    resources,
)

VERSIONS = ("1.29", "1.34", "1.37")
EVERY = resources()
PODS = dict(pods(EVERY))
WITH_TOKEN = {"Deployment/worker-spark", "Deployment/worker-gpu"}
"""Pods that speak to the API server; the second one with the component training-pods alone."""


def valid(one: Object) -> None:
    for version in VERSIONS:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("one", EVERY.values(), ids=EVERY)
def test_an_object_is_valid(one: Object) -> None:
    valid(one)
    with pytest.raises(kubernetes_validate.ValidationError):
        valid(one | {"spek": {}})


def test_the_executors_template_is_a_pod() -> None:
    (pod,) = objects(EXECUTOR)
    valid(pod)
    assert pod["kind"] == "Pod"


def check_pod(pod: Object) -> None:
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.get("hostNetwork") and not pod.get("hostPID") and not pod.get("hostIPC")  # noqa: PT018
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    assert all("sizeLimit" in volume.get("emptyDir", {"sizeLimit": 0}) for volume in pod["volumes"])
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["runAsNonRoot"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        for kind in ("requests", "limits"):
            assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"][kind])
        written = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/work", "/tmp"} <= written


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_little(name: str) -> None:
    check_pod(PODS[name])


def test_a_token_is_where_the_api_server_is_spoken_to() -> None:
    with_token = {name for name, pod in PODS.items() if pod["automountServiceAccountToken"]}
    assert with_token == {"Deployment/worker-spark"}
    accounts = {name for name in EVERY if name.startswith("ServiceAccount/")}
    assert {f"ServiceAccount/{pod['serviceAccountName']}" for pod in PODS.values()} <= accounts
    assert not any(EVERY[name]["automountServiceAccountToken"] for name in accounts)
    rules = EVERY["Role/spark-driver"]["rules"]
    assert [rule["resources"] for rule in rules] == [["pods"]]


def test_servers_are_asked_whether_they_live() -> None:
    for name, pod in PODS.items():
        for container in pod["containers"] if name != "executor" else ():
            assert {"startupProbe", "livenessProbe"} <= set(container), name


def test_nothing_is_reached_unless_named() -> None:
    policies = {n: p["spec"] for n, p in EVERY.items() if p["kind"] == "NetworkPolicy"}
    deny = policies.pop("NetworkPolicy/default-deny")
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        assert not [rule for rule in policy.get("ingress", ()) if "from" not in rule], name
        open_ended = [r for r in policy.get("egress", ()) if "to" not in r and "ports" not in r]
        assert not open_ended, name
    labels = EVERY["Namespace/mrl4rec"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_what_kustomizations_name_is_there() -> None:
    for path in kustomizations():
        (one,) = objects(path)
        names = [*one["resources"], *(patch["path"] for patch in one.get("patches", ()))]
        for generator in one.get("configMapGenerator", ()):
            names += generator.get("files", ())
        for generator in one.get("secretGenerator", ()):
            names += [f"{name}.example" for name in generator["envs"]]
        for name in names:
            assert (path.parent / name).exists(), f"{path}: {name}"


def test_secrets_are_named_and_never_told() -> None:
    made = {
        generator["name"]: example(path.parent / f"{env}.example")
        for path in kustomizations()
        for generator in objects(path)[0].get("secretGenerator", ())
        for env in generator["envs"]
    }
    assert not [name for name in EVERY if name.startswith("Secret/")]
    asked = re.findall(
        r"secretKeyRef: \{name: ([\w-]+), key: (\w+)\}",
        "".join(path.read_text() for path in FOLDER.rglob("*.yaml")),
    )
    assert len(asked) > 8
    for name, key in asked:
        assert key in made[name]
    text = "".join(
        path.read_text() for path in FOLDER.rglob("*") if path.suffix in {".yaml", ".json"}
    )
    values = {value for one in made.values() for key, value in one.items() if "PASS" in key}
    assert not [value for value in values if value in text]
    ignored = (FOLDER.parents[1] / ".gitignore").read_text().splitlines()
    assert "infra/kubernetes/overlays/*/*.env" in ignored


def test_settings_and_pools_are_those_of_the_code() -> None:
    names = set(EVERY["ConfigMap/settings"]["data"])
    for pod in PODS.values():
        names |= {
            one["name"] for container in pod["containers"] for one in container.get("env", ())
        }
    ours = {name.removeprefix(PREFIX).lower() for name in names if name.startswith(PREFIX)}
    assert ours
    assert ours <= set(Settings.model_fields)
    of_prefect = [name for name in names if name.startswith("PREFECT_")]
    assert not [name for name in of_prefect if not hasattr(prefect.settings, name)]
    pools = {}
    for name, pod in PODS.items():
        words = pod["containers"][0].get("args", [])
        if "--pool" in words:
            pools[words[words.index("--pool") + 1]] = name
    assert pools == {pool: f"Deployment/worker-{pool}" for pool in POOLS}


def test_spark_knows_its_properties() -> None:
    lines = (FOLDER / "base" / "spark" / "spark-defaults.conf").read_text().splitlines()
    properties = dict(line.split() for line in lines if line and not line.startswith("#"))
    classes = {"spark-kubernetes": "org/apache/spark/deploy/k8s/Config$.class",
               "spark-core": "org/apache/spark/internal/config/package$.class"}  # fmt: skip
    known = b""
    for jar, name in classes.items():
        (path,) = Path(pyspark.__file__).parent.glob(f"jars/{jar}_*.jar")
        known += zipfile.ZipFile(path).read(name)
    network = {"spark.authenticate", "spark.network.crypto.enabled", "spark.ui.enabled"}
    for name in set(properties) - network:
        head, _, tail = name.rpartition(".")  # some are made of two
        whole = name.encode() in known
        assert whole or (head.encode() in known and f".{tail}".encode() in known), name
    ports = {str(port["port"]) for port in EVERY["Service/spark-driver"]["spec"]["ports"]}
    assert ports == {properties["spark.driver.port"], properties["spark.driver.blockManager.port"]}
    told = {
        one["name"]: one["value"] for one in PODS["Deployment/worker-spark"]["containers"][0]["env"]
    }
    assert told["MRL4REC_SPARK_DRIVER_HOST"] == "spark-driver"
    assert properties["spark.kubernetes.executor.podTemplateContainerName"] == "executor"


@pytest.mark.parametrize(
    "values", [{}, {"gpus": "0", "image": "mrl4rec-data:2"}], ids=["own", "cpu"]
)
def test_the_job_template_makes_jobs(values: dict[str, Any]) -> None:
    template = json.loads(TEMPLATE.read_text())

    async def made() -> KubernetesWorkerJobConfiguration:
        client = PrefectClient("http://127.0.0.1:1/api")  # asked for nothing: no block is named
        job = await KubernetesWorkerJobConfiguration.from_template_and_values(
            template, values, client=client
        )
        job.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4(), name="tidy-panda"))
        return job

    job = asyncio.run(made()).job_manifest
    pod = job["spec"]["template"]["spec"]
    for name in ("completions", "parallelism"):  # Prefect wants them where they mean nothing
        del pod[name]
    valid(job)
    check_pod(pod)
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == values.get("gpus", "1")
    assert "PREFECT_API_AUTH_STRING" not in json.dumps(job)


@pytest.mark.parametrize("components", [(), ("training-pods",)], ids=["base", "training-pods"])
def test_the_example_is_made_whole(tmp_path: Path, components: tuple[str, ...]) -> None:
    if kustomize() is None:
        pytest.skip("kustomize absent: `make kustomize` builds one (it needs Go)")
    every = rendered(tmp_path, components)
    for one in every.values():
        valid(one)
        assert one["metadata"].get("namespace", "mrl4rec") == "mrl4rec"
    specs = {name: pod for name, pod in pods(every) if name != "executor"}
    for name, pod in specs.items():
        check_pod(pod)
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert container["image"].startswith("registry.example.com/"), name
    (driver,) = specs["Deployment/worker-spark"]["containers"]
    told = {one["name"]: one.get("value") for one in driver["env"]}
    assert told["SPARK_EXECUTOR_IMAGE"] == driver["image"]
    with_token = {name for name, pod in specs.items() if pod["automountServiceAccountToken"]}
    assert with_token == (WITH_TOKEN if components else {"Deployment/worker-spark"})
    limits = specs["Deployment/worker-gpu"]["containers"][0]["resources"]["limits"]
    assert ("nvidia.com/gpu" in limits) is not bool(components)
    stored = base64.b64decode(every["Secret/prefect"]["data"]["PREFECT_API_AUTH_STRING"])
    assert stored == b"mrl4rec:change-me"
    for kind in ("configMap", "secret"):  # the names that pods mount are those that are made
        for pod in specs.values():
            for volume in pod["volumes"]:
                if kind in volume:
                    assert f"ConfigMap/{volume[kind]['name']}" in every


def test_without_a_cluster_the_check_says_so() -> None:
    done = subprocess.run(
        ["sh", FOLDER / "check.sh"], capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if name != "KUBECONFIG"},
    )  # fmt: skip
    assert done.returncode == 0
    assert "KUBECONFIG" in done.stderr
