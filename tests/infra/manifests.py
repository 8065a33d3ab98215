"""The Kubernetes manifests: every object of the base and of the components, and their pods."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mrl4rec.core import home
from tests.infra.composed import INFRA

FOLDER = INFRA / "kubernetes"
EXECUTOR = FOLDER / "base" / "spark" / "executor.yaml"
TEMPLATE = FOLDER / "components" / "training-pods" / "job-template.json"

Object = dict[str, Any]


def objects(path: Path) -> list[Object]:
    """Those of a file."""
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def kustomizations() -> list[Path]:
    return sorted(FOLDER.rglob("kustomization.yaml"))


def resources() -> dict[str, Object]:
    """Every whole object that a kustomization names, by kind and name."""
    found = {}
    for kustomization in kustomizations():
        for name in objects(kustomization)[0]["resources"]:
            path = kustomization.parent / name
            for one in objects(path) if path.is_file() else ():
                found[f"{one['kind']}/{one['metadata']['name']}"] = one
    return found


def pods(every: dict[str, Object]) -> Iterator[tuple[str, Object]]:
    """The pods that the objects lead to: their specs."""
    for name, one in every.items():
        if "template" in one.get("spec", {}):
            yield name, one["spec"]["template"]["spec"]
    yield "executor", objects(EXECUTOR)[0]["spec"]


def kustomize() -> str | None:
    """Where `make kustomize` has put it, else where PATH has it; None: nowhere."""
    built = home.cache() / "bin" / "kustomize"
    return str(built) if built.exists() else shutil.which("kustomize")


def rendered(folder: Path, components: tuple[str, ...] = ()) -> dict[str, Object]:
    """The objects of the example overlay, made in ``folder`` with its example secrets."""
    program = kustomize()
    assert program is not None
    shutil.copytree(FOLDER, folder / "kubernetes")
    overlay = folder / "kubernetes" / "overlays" / "example"
    for example in overlay.glob("*.env.example"):
        shutil.copy(example, example.with_suffix(""))
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write(yaml.safe_dump({"components": [f"../../components/{c}" for c in components]}))
    done = subprocess.run([program, "build", overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    every = list(yaml.safe_load_all(done.stdout))
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in every}
