"""The truth of a planted dump, kept in two files beside it: counts as JSON, groups as Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import write_whole
from mrl4rec.data.synthetic.spec import Planted


@dataclass(frozen=True)
class Truth:
    """What is true of a dump."""

    spec: Planted
    file: Path
    counts: Mapping[str, int]
    """rows_read, rows_accepted, rows_duplicate, rows_quarantined; repeats, pairs, users, items."""
    rules: Mapping[str, int]
    """Quarantined rows by the rule they break."""
    reached: tuple[int, ...]
    """Good rows by how far the choice reached: own leaf, …, anywhere."""
    groups: pa.Table
    """side (user or item), id, group_1 (coarsest) … group_L (leaf), numbered across the tree."""


def group_table(
    spec: Planted, ids: Mapping[str, list[str]], leaves: Mapping[str, NDArray[np.int32]]
) -> pa.Table:
    """The groups of every user and item; ids and leaves by side."""
    sides, names, leaf = [], [], []
    for side, external in ids.items():
        sides += [side] * len(external)
        names += external
        leaf.append(leaves[side])
    place = np.concatenate(leaf)
    columns = {"side": pa.array(sides), "id": pa.array(names)}
    below = spec.leaves
    for depth, children in enumerate(spec.branching, 1):
        below //= children
        columns[f"group_{depth}"] = pa.array((place // below).astype(np.int32))
    return pa.table(columns)


def paths(dump: Path) -> tuple[Path, Path]:
    """Where the counts and the groups of a dump lie."""
    return dump.with_name(f"{dump.name}.truth.json"), dump.with_name(f"{dump.name}.truth.parquet")


def write_truth(truth: Truth) -> None:
    """Write both files, each by rename."""
    counts, groups = paths(truth.file)
    body = {"spec": truth.spec.as_dict(), "counts": dict(truth.counts), "rules": dict(truth.rules),
            "reached": list(truth.reached)}  # fmt: skip
    write_whole(counts, json.dumps(body, indent=1), durable=False)
    part = groups.with_name(groups.name + ".part")
    pq.write_table(truth.groups, part)
    part.replace(groups)


def read_truth(dump: Path) -> Truth:
    """The truth beside a dump. Raises Mrl4recError where it is missing."""
    counts, groups = paths(dump)
    if not (counts.is_file() and groups.is_file()):
        raise Mrl4recError("no truth beside this dump", where=str(dump), todo="write it again")
    body = json.loads(counts.read_text())
    spec = body["spec"] | {name: tuple(body["spec"][name]) for name in ("branching", "reach")}
    return Truth(
        Planted(**spec),
        dump,
        body["counts"],
        body["rules"],
        tuple(body["reached"]),
        pq.read_table(groups),
    )
