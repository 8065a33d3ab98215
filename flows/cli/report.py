"""``mrl4rec report``: the HTML page, or its tables as Markdown."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mrl4rec.core import files, lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec import reporting as pages
    from mrl4rec.reporting import markdown


def add_options(command: argparse.ArgumentParser) -> None:
    """Which data sets, and where the page is written."""
    add = command.add_argument
    add("--dataset", help="only this data set; unset: every one in the warehouse")
    add("--out", help="where to write it; unset: report.html in the warehouse")
    add("--markdown", metavar="FILE", help="write its tables there instead, like docs/results.md")


def run(arguments: argparse.Namespace) -> Any:
    """Write the page and print its path."""
    settings, page = Settings(), arguments.markdown or arguments.out
    if page:
        files.check_file(Path(page), "--markdown" if arguments.markdown else "--out")
    else:
        settings.storage.check_writable()
    chosen = settings.storage.chosen([arguments.dataset] if arguments.dataset else None)
    if arguments.markdown:
        kind, file = "markdown", str(markdown.write(settings, chosen, Path(arguments.markdown)))
    else:
        out = Path(arguments.out) if arguments.out else None
        kind, file = "report", str(pages.build(settings, chosen, out))
    if arguments.json:
        return {kind: file}
    print(file)
    return None
