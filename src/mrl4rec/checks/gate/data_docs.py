"""Data Docs that need no network: styles beside the pages, and an index of a data set's gates.

Great Expectations' pages load their styles and scripts from servers elsewhere; here each page that
was built gets those of this folder in their place.
"""

from __future__ import annotations

import html
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrl4rec.checks.gate import verdicts
from mrl4rec.core.files import write_whole
from mrl4rec.core.settings import Settings

log = logging.getLogger("mrl4rec.checks.gate")

HERE = Path(__file__).parent
STYLE, SCRIPT = "data_docs.css", "data_docs.js"
STATIC = {name: HERE / name for name in (STYLE, SCRIPT)}
LOGO = "static/images/logo-long.png"
_ELSEWHERE = re.compile(
    r"<script[^>]*\bsrc=[\"']https?://[^>]*>\s*</script>|<link[^>]*\bhref=[\"']https?://[^>]*>"
    r"|<link rel=\"shortcut icon\"[^>]*>|<script>.*?</script>|<footer>.*?</footer>"
    r"|Data asset: None<br>",
    re.DOTALL,
)
_LOGO = re.compile(r"src=\"https?://[^\"]*logo-long\.png[^\"]*\"")
KEY = 64
"""Digits of a stage key, which is the version of a model."""


def make_local(site: Path, pages: Sequence[Path]) -> None:
    """Give pages of a site the styles of its own folder.

    Where the site has them not, or older ones, every page of it gets them: those of earlier
    versions too.
    """
    static = site / "static"
    changed = [name for name, file in STATIC.items() if not _same(static / name, file)]
    for page in sorted({*pages, *(site.rglob("*.html") if changed else ())}):
        if page != site / "index.html":
            _rewrite(site, page)
    for name in changed:  # last, so that a rewriting that was cut short is done again
        write_whole(static / name, STATIC[name].read_bytes(), durable=False)


def _same(there: Path, wanted: Path) -> bool:
    return there.is_file() and there.read_bytes() == wanted.read_bytes()


def _rewrite(site: Path, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    root = os.path.relpath(site, page.parent) + "/"
    local = _LOGO.sub(f'src="{root}{LOGO}"', _ELSEWHERE.sub("", text))
    if STYLE not in local:
        local = local.replace("</head>", _head(root) + "</head>", 1)
    if local != text:
        write_whole(page, local, durable=False)


def _head(root: str) -> str:
    return (
        f'<link rel="stylesheet" href="{root}static/{STYLE}">\n'
        f'<link rel="icon" href="{root}static/images/favicon.ico">\n'
        f'<script src="{root}static/{SCRIPT}"></script>\n'
    )


def refresh(settings: Settings) -> None:
    """Bring the pages of every data set to today's styles and index, where they can be written."""
    for dataset in settings.storage.datasets("gates"):
        site = settings.storage.data_docs_dir(dataset) / "data_docs"
        try:
            if site.is_dir():
                if isinstance(site, Path):
                    make_local(site, ())
                write_index(settings, dataset)
        except OSError as error:
            log.warning("Data Docs of %s are left as they are: %s", dataset, error)


def write_index(settings: Settings, dataset: str) -> None:
    """Write the list of a data set's verdicts, ``gx/data_docs/index.html``."""
    site = settings.storage.data_docs_dir(dataset) / "data_docs"
    if not site.is_dir():
        return
    rows = verdicts.listed(settings, dataset)
    text = page(f"Gates of {dataset}", table(rows, "../../"), "")
    write_whole(site / "index.html", text, durable=False)


def table(rows: Sequence[Mapping[str, Any]], root: str) -> str:
    """Verdicts (``verdicts.listed``) as an HTML table; ``root`` leads to the data set's folder."""
    head = "".join(f"<th>{name}</th>" for name in
                   ("table", "version", "gate", "verdict", "met", "judged (UTC)"))  # fmt: skip
    body = "\n".join(_row(row, root) for row in rows)
    return f'<table class="table"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'


def _row(row: Mapping[str, Any], root: str) -> str:
    passed = row["verdict"] == "pass"
    word = "✓ passed" if passed else "✗ failed"
    if row["data_docs"]:
        word = f'<a href="{html.escape(root + row["data_docs"])}">{word}</a>'
    version = str(row["version"])
    shown = version[:12] if len(version) == KEY else version
    met = f"{row['evaluated'] - row['failed']} of {row['declared']}"
    return (
        f"<tr><td>{html.escape(row['table'])}</td>"
        f'<td title="{html.escape(version)}">{html.escape(shown)}</td>'
        f"<td>{html.escape(row['suite'])}</td>"
        f'<td class="{"passed" if passed else "failed"}">{word}</td>'
        f"<td>{met}</td><td>{row['judged_at']:%Y-%m-%d %H:%M:%S}</td></tr>"
    )


def page(title: str, body: str, root: str) -> str:
    """A page in the style of Data Docs; ``root`` leads to their folder."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n{_head(root)}</head>\n"
        f"<body><main><h1>{html.escape(title)}</h1>\n{body}\n</main></body></html>\n"
    )
