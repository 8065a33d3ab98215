"""docs/adding-a-method.md, followed word for word in a copy of the project without its methods."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "adding-a-method.md").read_text()
FILES = {
    Path(path): code
    for path, code in re.findall(r"`(src/[\w/]+\.py)`:\n\n```python\n(.*?)```", PAGE, re.S)
}
NAMES = ("RecentPop", "Hinge", "Hinge-D", "Hinge-M")


def test_the_page_shows_the_method_that_is_there() -> None:
    there = {path.name: (ROOT / path).exists() for path in FILES}
    assert there == {"recent_popularity.py": True, "hinge.py": False}
    for path, code in FILES.items():
        assert not (ROOT / path).exists() or (ROOT / path).read_text() == code


@pytest.mark.slow
def test_who_follows_the_page_has_methods_that_conform(tmp_path: Path) -> None:
    for part in ("src", "tests", "flows", "jobs"):
        shutil.copytree(
            ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "src/mrl4rec/models/recent_popularity.py").unlink()

    asked = f"from mrl4rec.models import METHODS; print(*(n in METHODS for n in {NAMES}))"
    place = os.pathsep.join(str(tmp_path / part) for part in ("", "src"))
    environment = {**os.environ, "PYTHONPATH": place}
    here = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}

    def known() -> set[str]:
        done = subprocess.run([sys.executable, "-c", asked], check=True, **here)  # type: ignore[call-overload]
        return set(done.stdout.split())

    assert known() == {"False"}
    for path, code in FILES.items():
        (tmp_path / path).write_text(code)
    assert known() == {"True"}
    (command,) = re.findall(r"```bash\n(python -m pytest .*?)\n```", PAGE)
    words = ["-q", "-p", "no:cacheprovider", *shlex.split(command)[3:]]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], check=False, **here)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{2 * len(NAMES)} passed" in done.stdout
