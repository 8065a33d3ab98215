"""The house stands as drawn: imports point one way, deployments are those that were announced."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

from flows.benchmark import benchmark
from flows.deployments import DEPLOYMENTS

ROOT = Path(__file__).resolve().parents[1]


def test_imports_point_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_no_imports_are_inside_functions() -> None:
    """``core.lazy`` is the one way of importing later."""
    inside = []
    for path in (path for part in ("src", "flows", "jobs") for path in (ROOT / part).rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                inside += [
                    f"{path.relative_to(ROOT)}:{node.lineno}"
                    for node in ast.walk(function)
                    if isinstance(node, ast.Import | ast.ImportFrom)
                ]
    assert not inside


def test_deployments_name_only_parameters_the_flow_has() -> None:
    known = set(inspect.signature(benchmark.fn).parameters)
    assert set(DEPLOYMENTS) == {"full-benchmark", "smoke"}
    for body in DEPLOYMENTS.values():
        assert set(body["parameters"]) <= known


def test_a_wheel_holds_every_file_of_the_packages() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["mrl4rec"]
    package = ROOT / "src" / "mrl4rec"
    data = {path for pattern in patterns for path in package.glob(pattern)}
    listed = subprocess.run(
        ["git", "ls-files", "flows", "jobs", "src"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = [ROOT / name for name in listed.stdout.split()]
    assert {file for file in files if file.suffix != ".py"} == data
    assert all((file.parent / "__init__.py").exists() for file in files)


def test_no_registry_or_index_is_named_in_the_project() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    hosts = ["pypi" + ".org", "files.python" + "hosted.org", "repo1." + "maven", "--index" + "-url"]
    for name in files:
        path = ROOT / name
        if path.suffix in {".py", ".txt", ".toml", ".sh", ".yaml", ".yml", ""} and path.is_file():
            text = path.read_text(errors="replace")
            assert not [host for host in hosts if host in text], name
