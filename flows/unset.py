"""What a request leaves unset, chosen from its data: k of the k-core, the split, the sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.config.run import RunConfig
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data import elsewhere
from mrl4rec.data.catalog import CATALOG


def core_k(request: RunConfig, ingest: Commit) -> int:
    """The k of the k-core: sessions are short, and published ones are filtered already."""
    if request.kcore is None and ingest.summary.get("lists"):
        return 0
    k: int = _of_pairs(request, ingest, "kcore", authors=0, otherwise=5)
    return k


def strategy(request: RunConfig, ingest: Commit, *, of_sequences: bool) -> str:
    """The split: for sequences the catalogue's, else each user's last events."""
    if of_sequences:
        known = CATALOG.get(request.dataset)
        return request.split or (known.sequence_split if known is not None else "last_out")
    name: str = _of_pairs(request, ingest, "split", authors="predefined", otherwise="random")
    return name


def split_files(request: RunConfig, strategy: str, settings: Settings) -> Path | None:
    """Where a predefined split lies: the folder named, else the source itself."""
    if strategy != "predefined":
        return None
    named = request.split_files or (request.source[0] if request.source else None)
    return elsewhere.folder(named, settings) if named else None


def sequence_options(request: RunConfig) -> dict[str, Any]:
    """How sequences are made."""
    return {
        "repeats": not request.drop_repeats,
        "max_length": request.max_length,
        "ties": request.ties or "hash",
    }


def _of_pairs(
    request: RunConfig, ingest: Commit, field: str, *, authors: Any, otherwise: Any
) -> Any:
    """What was asked, else the catalogue's (for its own source), else by the dump's form."""
    asked = getattr(request, field)
    if asked is not None:
        return asked
    if not request.source and request.dataset in CATALOG:
        return getattr(CATALOG[request.dataset], field)
    return authors if ingest.summary.get("ids") == "integer" else otherwise
