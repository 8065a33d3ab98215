"""What the pages say can be typed is understood, and what they point to is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mrl4rec.core.errors import UsageError
from tests.flows.parsed import parsed

ROOT = Path(__file__).resolve().parents[1]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
CODE = ("src", "flows", "jobs", "tests")
BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
VARIABLES = re.compile(r"^(export\s+)?([A-Z][A-Z0-9_]*=\S*\s+)+")


def commands(text: str) -> Iterator[str]:
    """Calls of ``mrl4rec`` with all they need: lines of code, and code amid a sentence."""
    lines: list[str] = []
    for block in BLOCK.findall(text):
        lines += block.replace("\\\n", " ").splitlines()
    inline = re.findall(r"`([^`]+)`", BLOCK.sub("", text))
    lines += [" ".join(code.split()) for code in inline if " --" in code]
    for line in lines:
        command = VARIABLES.sub("", line.strip().removeprefix("$ "))
        answered = command.endswith(("--help", "--version")) or "…" in command
        failure = re.match(r"mrl4rec \w+:", command)  # what a command printed
        if command.startswith("mrl4rec ") and not answered and not failure:
            yield command


def words(command: str) -> list[str]:
    """Its arguments; what may be left out is given, N is a number, of several the first holds."""
    given = re.sub(r"\bN\b", "3", command)
    given = re.sub(r"\[(--[^]]*)\]", r"\1", given)
    given = re.sub(r"(\w+)(\|\w+)+", r"\1", given)
    return shlex.split(given, comments=True)[1:]


@cache
def headings(page: Path) -> frozenset[str]:
    """A page's headings as addresses within it, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return frozenset(title.strip().replace(" ", "-") for title in plain)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_understood(page: Path) -> None:
    for command in commands(page.read_text()):
        parsed(*words(command))  # raises, naming what it does not know


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def test_what_the_code_cites_is_in_the_docs() -> None:
    files = [file for part in CODE for file in (ROOT / part).rglob("*.py")]
    cited = {
        m for file in files for m in re.findall(r"docs/[\w-]+\.md(?:#[\w-]+)?", file.read_text())
    }
    assert cited
    for citation in cited:
        page, _, heading = citation.partition("#")
        assert (ROOT / page).exists(), citation
        assert not heading or heading in headings(ROOT / page), citation


def test_there_are_commands_to_look_at() -> None:
    found = [command for page in PAGES for command in commands(page.read_text())]
    assert len(found) > 50
    with pytest.raises(UsageError):
        parsed(*words("mrl4rec run --no-such-option"))
