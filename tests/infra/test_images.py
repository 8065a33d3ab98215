"""What the images are made of, and that the data stages run on what theirs holds: without torch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable

from flows.deployments import COUNT
from infra.images.requirements import ROOT, TRAINING, name_of, needed
from mrl4rec.core.settings import Settings

IMAGES = ROOT / "infra" / "images"
FILES = sorted(IMAGES.glob("Containerfile.*"))
COPIED = re.compile(r"^COPY (?!--from)(.+) \S+$", re.M)
SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|_KEY|AUTH_STRING")


def of_each() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned_and_torch_is_in_one_image_alone() -> None:
    pins = {
        plain(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    asked = {image: {name_of(one) for one in needed(image)} for image in ("data", "train")}
    assert {plain(name) for names in asked.values() for name in names} <= pins
    assert asked["train"] == TRAINING
    assert not asked["data"] & {*TRAINING, "mrl4rec"}
    assert {"prefect", "mlflow", "pyspark", "duckdb", "psycopg2-binary"} <= asked["data"]


@of_each()
def test_a_base_may_be_named_and_is_of_a_version(path: Path) -> None:
    text = path.read_text()
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.M)
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {"${BASE}"}
    assert base == "mrl4rec-data:latest" or re.search(r":\d+\.\d+", base)


@of_each()
def test_an_image_is_nobodys_in_particular(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^USER (\S+)$", text, re.M)[-1] == "10001:10001"
    environment = re.findall(r"(\w+)=\S+", "".join(re.findall(r"^ENV (?:.|\\\n)+", text, re.M)))
    assert environment
    assert not [name for name in environment if SECRET.search(name)]
    of_pip = re.findall(r"RUN (?:.|\\\n)*?pip install (?:.|\\\n)*", text)
    assert all("-c /src/constraints.txt" in run or "--no-deps" in run for run in of_pip)


@of_each()
def test_what_is_copied_is_there_and_in_the_context(path: Path) -> None:
    allowed = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    names = [name for copied in COPIED.findall(path.read_text()) for name in copied.split()]
    assert names
    for name in names:
        assert (ROOT / name).exists(), name
        assert any(name == one or name.startswith(f"{one}/") for one in allowed), name


@pytest.mark.parametrize("path", sorted((ROOT / "infra").rglob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_one(path: Path) -> None:
    subprocess.run(["sh", "-n", path], check=True)


def test_an_executor_starts_with_what_the_driver_tells(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    java.chmod(0o755)
    told = {"EXECUTOR_MEMORY": "512m", "DRIVER_URL": "spark://d@host:7078", "EXECUTOR_ID": "3",
            "EXECUTOR_CORES": "1", "APPLICATION_ID": "spark-1", "EXECUTOR_POD_IP": "10.0.0.1",
            "RESOURCE_PROFILE_ID": "0", "EXECUTOR_POD_NAME": "exec-3", "HOME": "/spark",
            "JAVA_OPT_0": "-Done=a b", "JAVA_OPT_1": "-Dtwo=c"}  # fmt: skip
    done = subprocess.run(
        ["sh", IMAGES / "entrypoint.sh", "executor"], capture_output=True, text=True, check=True,
        env={f"SPARK_{name}": value for name, value in told.items()}
        | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    words = done.stdout.splitlines()
    assert words[:4] == ["-Done=a b", "-Dtwo=c", "-Xms512m", "-Xmx512m"]
    assert words[words.index("--driver-url") + 1] == "spark://d@host:7078"
    assert words[words.index("--podName") + 1] == "exec-3"


def run(*words: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a module where torch is absent."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.infra.without_torch", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_data_stages_run_without_torch(tmp_path: Path) -> None:
    lines = [f"u{u},i{i},5,{1_500_000_000 + u * 60 + i}" for u in range(20) for i in range(12)]
    (tmp_path / "dump.csv").write_text("\n".join(["user,item,rating,time", *lines, ""]))
    place = ("--dataset", "d", "--warehouse", tmp_path / "lake")
    run("jobs.ingest", *place, "--source", "dump.csv", cwd=tmp_path)
    run("jobs.kcore", *place, cwd=tmp_path)
    said = json.loads(run("jobs.split", *place, cwd=tmp_path))
    assert said["train"] + said["valid"] + said["test"] == len(lines)
    splits = Settings(warehouse=tmp_path / "lake").storage.table_uri("d", "splits")
    assert DeltaTable(splits).to_pyarrow_table().num_rows == len(lines)


def test_commands_and_deployments_need_no_torch(tmp_path: Path) -> None:
    assert int(run("tests.infra.registered", cwd=tmp_path)) == COUNT
    doctor = ("flows.cli", "doctor", "--json")
    findings = json.loads(run(*doctor, cwd=tmp_path, MRL4REC_DATA_ENGINE="duckdb"))["findings"]
    assert any("torch is not installed" in finding["what"] for finding in findings)
