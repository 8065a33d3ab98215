"""The base installation, in an environment of its own: five lines of Python, and what says no."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("prefect", "mlflow", "great_expectations", "pyspark", "matplotlib")
FIVE_LINES = """
import sys
import mrl4rec as mr
data = mr.Dataset.from_frame(sys.argv[1], user="who", item="what", time="at")
train, test = data.split("random", seed=0)
for model in (mr.EASE(lam=5.0), mr.MRL(levels=(2, 4), epochs=2, batch=32)):
    model.fit(train)
    print(len(mr.evaluate(model, test, k=(5,))), len(model.recommend(["u1"], n=3)))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the base installation and nothing else."""
    folder = tmp_path_factory.mktemp("base")
    copy = folder / "mrl4rec"  # building leaves files beside the sources
    for name in ("flows", "jobs", "src"):
        shutil.copytree(ROOT / name, copy / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    found = folder / "venv" / "bin" / "python"
    pip = [uv, "pip", "install", "--python", found] if uv else [found, "-m", "pip", "install"]
    # Links to uv's cache: copies would take 7 GB.
    extra = {"UV_LINK_MODE": "symlink", "UV_SYSTEM_CERTS": "1"}
    subprocess.run(
        [*pip, "-q", "-c", ROOT / "constraints.txt", copy], check=True, env=os.environ | extra
    )
    return found


def run(python: Path, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *words], capture_output=True, text=True, check=False, cwd=cwd, env=env
    )


def test_the_base_has_nothing_of_the_pipeline(python: Path, tmp_path: Path) -> None:
    code = f"import importlib.util as u; print([n for n in {ABSENT!r} if u.find_spec(n)])"
    assert run(python, "-c", code, cwd=tmp_path).stdout.strip() == "[]"


def test_five_lines_run_on_the_base(python: Path, tmp_path: Path) -> None:
    rows = [
        (f"u{u}", f"i{i}", 1_400_000_000 + u * i) for u in range(40) for i in range(u % 3, 30, 3)
    ]
    dump = tmp_path / "pairs.csv"
    pd.DataFrame(rows, columns=["who", "what", "at"]).to_csv(dump, index=False)
    done = run(python, "-c", FIVE_LINES, dump, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "3", "4", "3"]
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


@pytest.mark.parametrize("command", [["run"], ["up"]], ids=" ".join)
def test_a_command_of_the_pipeline_names_the_extra(
    command: list[str], python: Path, tmp_path: Path
) -> None:
    done = run(python, python.with_name("mrl4rec"), *command, cwd=tmp_path)
    assert done.returncode == 1
    assert "pipeline" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_that_need_no_more_run(python: Path, tmp_path: Path) -> None:
    for command in (["--help"], ["datasets"], ["doctor"]):
        done = run(python, python.with_name("mrl4rec"), *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
