"""What is fuzzed: each target takes bytes, and raises only where the code is wrong.

Every reader is held against another one that shares no code with it (Python's json, csv and int,
the safetensors library), or, where there is none, against what must hold of any answer.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mrl4rec import models
from mrl4rec.core import tensor_file
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import folder_name
from mrl4rec.data import split_files
from mrl4rec.formats.lines import MARK, MAX_RECORD, MAX_TOKEN, author_pairs, cut_long_lines
from mrl4rec.formats.literals import literal_fields, read_literal
from mrl4rec.models.model_folder import ModelCard, card
from tests.fuzz import dumps, seeds

NAMES = ("reviewerID", "asin", "overall", "unixReviewTime")


@dataclass(frozen=True)
class Target:
    """One reader under fuzz."""

    run: Callable[[bytes], None]
    of: str
    """What it is, and what it is held against, in words."""
    seeds: list[bytes] = field(default_factory=list)


PLACE = "MRL4REC_FUZZ_PLACE"
"""Names a folder to the fuzzer's process, which libFuzzer ends before it could clean up."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@cache
def place() -> Path:
    """A folder for files to be read, in memory where the system has such a place."""
    if PLACE in os.environ:
        return Path(os.environ[PLACE])
    folder = tempfile.mkdtemp(prefix="mrl4rec-fuzz-", dir=MEMORY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def pieces(data: bytes, size: int) -> list[bytes]:
    """``data`` in chunks of at least one byte."""
    step = max(size, 1)
    return [data[at : at + step] for at in range(0, len(data), step)]


def hold(true: bool, error: Exception) -> None:
    """That what was refused was refused for the right reason."""
    if not true:
        raise AssertionError(f"refused, and not so: {error}")


# ---------------------------------------------------------------------- dumps


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def literal(data: bytes) -> None:
    """Python literals: never run, never an error, fields that are text; json's values alike."""
    text = data.decode("utf-8", "replace")
    record = read_literal(text)
    fields = literal_fields(text, NAMES)
    assert (record is None) == (fields is None)
    for value in fields or []:
        assert value is None or value.encode("utf-8") is not None
    try:
        same = json.loads(text, parse_constant=float, object_pairs_hook=_first_of_each)
    except (ValueError, RecursionError):
        return
    plain = isinstance(same, dict) and "\\" not in text and text.isprintable()
    if plain and all(isinstance(v, str | int) and type(v) is not bool for v in same.values()):
        assert record == same


def author_lists(data: bytes) -> None:
    """Pairs of the authors' lists, against split; the same however the text comes."""
    if not data:
        return
    size, content = data[0], data[1:]
    pairs = b"".join(author_pairs(pieces(content, size)))
    expected = []
    for line in content.split(b"\n"):
        user, *items = line.split() or [b""]
        expected += [(user, item) for item in items]
    found = pairs.split(b"\n")[:-1]
    assert len(found) == len(expected)
    for pair, (user, item) in zip(found, expected, strict=True):
        assert pair == b" ".join(
            t if len(t) <= MAX_TOKEN else t[:MAX_TOKEN] + "…".encode() for t in (user, item)
        )


def long_lines(data: bytes) -> None:
    """Lines cut, against split; every byte stands for so many that some lines are too long."""
    lines = [line * (1 + MAX_RECORD // 4) for line in data[:40].split(b"\n")]
    content = b"\n".join(lines)
    chunks = pieces(content, min(4096 * (16 + (data[:1] or b"x")[0]) + 1, MAX_RECORD))
    cut = b"".join(cut_long_lines(chunks)).split(b"\n")
    assert [len(line) for line in lines] == [
        int(line.rpartition(MARK)[2]) if len(line) > MAX_RECORD else len(line) for line in cut
    ]


def detection(data: bytes) -> None:
    """See ``dumps.detection``."""
    dumps.detection(data, place())


def split_pair(data: bytes) -> None:
    """Train and test files, against int; every pair once."""
    files = {}
    for fold, content in zip(split_files.FOLDS, (data + b"\0").split(b"\0")[:2], strict=True):
        files[fold] = place() / f"{fold}.txt"
        files[fold].write_bytes(content)
    expected: set[tuple[int, int, str]] | None = set()
    try:
        expected = {
            (int(user), int(item), fold)
            for fold, path in files.items()
            for line in path.read_bytes().split(b"\n")
            for user, *items in [list(map(_digits, line.split() or [b"0"]))]
            for item in items
        }
    except ValueError:
        expected = None
    try:
        table = split_files.read(files)
    except Mrl4recError as error:
        hold(expected is None or "given twice" in str(error), error)
        return
    rows = list(zip(*table.to_pydict().values(), strict=True))
    assert expected is not None
    assert rows == sorted(expected)


def _digits(token: bytes) -> int:
    if not token.isdigit() or len(token) > MAX_TOKEN or int(token) >= 2**31 - 1:
        raise ValueError(token)
    return int(token)


# ---------------------------------------------------------------------- models


def tensors(data: bytes) -> None:
    """A safetensors file, its tensors mapped, against the library's reader of bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = place() / "model.safetensors"
    path.write_bytes(data)
    try:
        theirs = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError):
        theirs = None
    try:
        with patch.object(tensor_file, "MAPPED_BYTES", 1):
            ours = tensor_file.read(path)
    except Mrl4recError as error:  # of a type that is never written here, or damaged
        hold(theirs is None or "KeyError" in str(error), error)
        return
    assert theirs is not None, "the library refuses what was read"
    assert sorted(ours) == sorted(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert tensor.shape == theirs[name].shape
        assert tensor.tobytes() == theirs[name].tobytes()


def model_card(data: bytes) -> None:
    """A card whose digest is right, whatever it says: a card, or refused."""
    folder = place()
    (folder / card.CARD).write_bytes(data)
    try:
        body = json.loads(data)
        if isinstance(body, dict):
            body["sha256"] = card.digest(body)
            (folder / card.CARD).write_text(json.dumps(body))
    except (ValueError, RecursionError):
        pass
    try:
        found, files = card.read(folder)
    except Mrl4recError as error:
        hold(str(folder) in str(error), error)
        return
    assert isinstance(found, ModelCard)
    assert isinstance(found.widths, tuple)
    assert isinstance(found.method, dict)
    assert all(isinstance(facts.bytes, int) for facts in files.values())


# ---------------------------------------------------------------------- requests


def method_options(data: bytes) -> None:
    """Names, level sets and values of methods: a method, or a usage error."""
    name, levels, *overrides = (data.decode("utf-8", "replace") + "\n").split("\n")
    try:
        method = models.resolve(name, [text for text in overrides if text])
    except UsageError:
        method = None
    try:
        found = models.parse_levels(levels, None)
    except UsageError:
        return
    assert list(found) == [int(word.strip()) for word in levels.split(",")]
    assert list(found) == sorted(set(found))
    assert found[0] > 0
    if isinstance(method, models.Trained) and found[-1] < 10_000:
        assert method.width(found) > 0


def names(data: bytes) -> None:
    """The name of a data set never leads out of the warehouse."""
    name = data.decode("utf-8", "replace")
    settings = Settings(warehouse=Path("/w/arehouse"))
    try:
        folder_name(name, "--dataset")
    except UsageError:
        return
    folder = Path(os.path.normpath(settings.storage.table_uri(name, "reviews")))
    assert folder.parts[:4] == ("/", "w", "arehouse", name)
    assert "\0" not in name


def spooled(data: bytes) -> None:
    """A record in MLflow's spool that is no record is set aside, never an error."""
    from mrl4rec.tracking.spool import Spool

    folder = place() / "spool"
    folder.mkdir(exist_ok=True)
    path = folder / "x.json"
    path.write_bytes(data)
    record = Spool(folder).read(path)
    assert record is not None or not path.exists()


def wrong(data: bytes) -> None:
    """Wrong of all that is long enough: whether the fuzzer would tell."""
    if len(data) > 3:
        raise ValueError("this one is broken")


SELF_TEST = {"self-test": Target(wrong, "the fuzzer itself", [b"a"])}

TARGETS: dict[str, Target] = {
    "json-lines": Target(dumps.json_lines, "JSON, quick; strict", seeds.ways(seeds.JSON_LINES, 8)),
    "csv-rows": Target(dumps.csv_rows, "rows of CSV, quick; strict", seeds.ways(seeds.CSV, 7)),
    "loose-lines": Target(
        dumps.literals, "Python literals, quick; strict", seeds.ways(seeds.LITERALS, 3)
    ),
    "framing": Target(dumps.framing, "records of lines, CSV, arrays, objects", seeds.FRAMED),
    "read-options": Target(dumps.options, "--columns, --time-unit …", seeds.OPTIONS),
    "python-literals": Target(literal, "Python-literal lines; json", seeds.LITERALS),
    "author-lists": Target(author_lists, "the authors' lists; split", seeds.LISTS),
    "long-lines": Target(
        long_lines, "cutting of long lines; split", [b"ab\ncdefgh\n\ni", b"\xff\n\0\0\0\0\0\n"]
    ),
    "detection": Target(detection, "what a file is, plain and gzip", seeds.FILES),
    "split-files": Target(split_pair, "train.txt and test.txt; int", seeds.LISTS),
    "safetensors": Target(tensors, "safetensors files; the library", seeds.tensors()),
    "model-card": Target(model_card, "model.json with a right digest", seeds.cards()),
    "methods": Target(method_options, "methods, level sets, --set", seeds.METHODS),
    "names": Target(names, "names of data sets", [b"ml-100k", b"../x", b"a/b"]),
    "spool": Target(spooled, "records of the MLflow spool", seeds.records()),
}
