"""A matplotlib figure as inline SVG that takes its text colour, font and palette from the page."""

from __future__ import annotations

import html
import io
import re
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.reporting import figures
from mrl4rec.reporting.looks import PALETTE

with lazy.imports():
    import matplotlib as mpl

_METADATA = re.compile(r"<metadata>.*?</metadata>", re.S)
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.S)
_NAMESPACE = re.compile(r"\s+xmlns(:\w+)?=\"[^\"]*\"")
_REFERENCE = re.compile(r"(\bid=\"|url\(#|href=\"#)")


def to_svg(figure: Any, name: str, title: str) -> str:
    """The figure as one ``<svg>`` element; ``name`` keeps its ids apart from those of others."""
    buffer = io.StringIO()
    with mpl.rc_context(figures.STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = _PROLOGUE.sub("", buffer.getvalue(), count=1)
    text = _NAMESPACE.sub("", _METADATA.sub("", text)).replace("xlink:href", "href")
    head, body = text.split(">", 1)
    view = re.search(r'viewBox="([^"]*)"', head)
    box = view.group(1) if view else "0 0 346 230"
    label = html.escape(title, quote=True)
    body = _REFERENCE.sub(lambda m: f"{m.group(1)}{name}-", body)
    for number, colour in enumerate(PALETTE):
        body = body.replace(colour, f"var(--s{number}, {colour})")
    body = body.replace(figures.INK, "currentColor").replace(figures.RULE, "var(--rule, #d9d9d9)")
    return f'<svg viewBox="{box}" role="img" aria-label="{label}">{body.strip()}'
