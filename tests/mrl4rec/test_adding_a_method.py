"""docs/adding-a-method.md, followed word for word in a copy of the house that has not got it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adding-a-method.md"
KNOWN = Path("src/mrl4rec/methods/known.py")
FAMILIES = re.compile(r"(?m)^(from mrl4rec\.methods import [^\n]*|FAMILIES = \([^)\n]*)")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)


def file_block() -> tuple[Path, str]:
    """The first step: the path before the code, and the code."""
    match = re.search(r"`(src/[\w/]+\.py)`:\n\n```python\n(.*?)```", PAGE.read_text(), re.S)
    assert match is not None
    return Path(match[1]), match[2]


def test_the_page_shows_the_method_that_is_there() -> None:
    path, code = file_block()
    assert (ROOT / path).read_text() == code
    known = (ROOT / KNOWN).read_text()
    assert all("recent" in line for line in FAMILIES.findall(known)[:1])
    assert blocks("python")[1].startswith("FAMILIES = (")


@pytest.mark.slow
def test_who_follows_the_page_has_a_method_that_conforms(tmp_path: Path) -> None:
    path, code = file_block()
    for part in ("src", "tests", "flows", "jobs"):
        shutil.copytree(
            ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    known = tmp_path / KNOWN
    without = FAMILIES.sub(lambda m: re.sub(r",?\s*\brecent\b", "", m[0]), known.read_text())
    known.write_text(without)
    (tmp_path / path).unlink()
    spaces = tmp_path / "src/mrl4rec/methods/spaces.py"
    spaces.write_text(spaces.read_text().replace('"RecentPopularity"', '"Nobody"'))

    asked = "from mrl4rec.methods import METHODS; print('RecentPop' in METHODS)"
    place = os.pathsep.join(str(tmp_path / part) for part in ("", "src"))
    environment = {**os.environ, "PYTHONPATH": place}
    here = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    before = subprocess.run([sys.executable, "-c", asked], check=True, **here)  # type: ignore[call-overload]
    assert before.stdout == "False\n"

    (tmp_path / path).write_text(code)
    name = path.stem
    known.write_text(FAMILIES.sub(lambda m: f"{m[0]}, {name}", known.read_text()))
    (command,) = [text for text in blocks("bash") if "pytest" in text]
    words = command.split()
    assert words[:3] == ["python", "-m", "pytest"]
    options = ["-q", "-p", "no:cacheprovider", *words[3:]]
    done = subprocess.run([sys.executable, "-m", "pytest", *options], check=False, **here)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout[-3000:]
    assert "2 passed" in done.stdout
