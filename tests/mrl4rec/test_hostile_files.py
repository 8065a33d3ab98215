"""Files made to do harm: links, globs, archives, and model folders that lie about themselves."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import resource
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrl4rec.core import tensor_file
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.data import downloads
from mrl4rec.data.catalog import CATALOG, Entry, Web
from mrl4rec.data.downloads import web
from mrl4rec.formats import expand, packing
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import card as cards
from tests.mrl4rec.models.model_samples import kinds, saved, sparse

# ---------------------------------------------------------------------- paths


@pytest.mark.parametrize("spec", ["", "*.json", "**/*.json"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, spec: str) -> None:
    (tmp_path / "secret.json").write_text("x")
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.json").write_text("x")
    (drop / "b.json").symlink_to("a.json")
    assert expand([drop / spec]) == (drop / "a.json", drop / "b.json")
    (drop / "c.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(UsageError, match="leads out of its folder") as caught:
        expand([drop / spec])
    assert caught.value.where == str(drop / "c.json")
    assert expand([drop / "c.json"]) == (drop / "c.json",)  # named by the person who asks


def test_links_that_lead_back_end_no_glob_in_folders_without_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path)  # 2^40 paths
    (tmp_path / "c" / "d").mkdir(parents=True)
    for name in ("x.json", "c/d/y.json", "c/.hidden.json"):
        (tmp_path / name).write_text("x")
    assert expand([tmp_path / "**/*.json"]) == (tmp_path / "c/d/y.json", tmp_path / "x.json")
    with pytest.raises(UsageError, match="no glob"):
        expand([tmp_path / "a**/x.json"])


def test_special_files_are_no_dumps(tmp_path: Path) -> None:
    from mrl4rec.formats import digest

    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="not a regular file"):
            digest(path)


# ---------------------------------------------------------------------- archives


def known(monkeypatch: pytest.MonkeyPatch, name: str, member: str | None, body: bytes) -> Settings:
    """The catalogue's entry ``t``, whose address serves ``body``."""

    def retrieve(url: str, checksum: str | None, target: Path, progress: Any) -> None:
        target.write_bytes(body)

    monkeypatch.setattr(downloads.bring, "retrieve", retrieve)
    source = Web(f"https://example.org/{name}", None, member=member)
    monkeypatch.setitem(CATALOG, "t", Entry("t", "a test", (source,), "none", 0, "random"))
    monkeypatch.setattr(packing, "SMALL", 1 << 20)
    return Settings(downloads=Path.cwd() / "downloads")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(web.time, "sleep", lambda _: None)


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def test_names_in_an_archive_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    members = {"../../evil": b"x", "/tmp/evil-mrl4rec": b"x", "set/u.data": b"1\t2\t3\t4\n"}
    settings = known(monkeypatch, "a.zip", "set/u.data", zipped(**members))
    (file,) = downloads.fetch("t", settings).files
    assert file == settings.downloads / "t" / "u.data"
    assert not Path("/tmp/evil-mrl4rec").exists()
    assert {path.name for path in Path.cwd().rglob("*") if path.is_file()} == {
        "u.data", ".lock", "fetched.json",
    }  # fmt: skip


@pytest.mark.parametrize("packed", ["zip", "gz"])
def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch, packed: str) -> None:
    body = b"x" * (16 << 20)
    content = zipped(data=body) if packed == "zip" else gzip.compress(body, 9)
    member = "data" if packed == "zip" else None
    settings = known(monkeypatch, f"bomb.{packed}", member, content)
    with pytest.raises(Mrl4recError, match="more than 100 times its size"):
        downloads.fetch("t", settings)
    left = [path for path in settings.downloads.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) < 1 << 20


def test_a_receipt_names_no_file_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = known(monkeypatch, "a.txt", None, b"1 2\n")
    downloads.fetch("t", settings)
    receipt = settings.downloads / "t" / "fetched.json"
    told = json.loads(receipt.read_text())
    Path("secret").write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    for odd in ({"file": "../../secret", "sha256": digest}, {"file": 3}, {"file": "/"}):
        receipt.write_text(json.dumps(told | odd))
        (file,) = downloads.fetch("t", settings).files
        assert file == settings.downloads / "t" / "a.txt"
    receipt.write_text("[]")
    assert downloads.fetch("t", settings).files == (settings.downloads / "t" / "a.txt",)


# ---------------------------------------------------------------------- model folders


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch unpickled",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    seen = sparse(rng, 12, 20, 60)
    return saved(tmp_path / "model", kinds(rng, 12, 20, seen)[0], seen)


def rewrite(folder: Path, **changes: Any) -> None:
    """Put the card right after its folder was changed: its digests are no signature."""
    body = json.loads((folder / cards.CARD).read_text()) | changes
    for name in body["files"]:
        path = folder / name
        body["files"][name] = {"bytes": path.stat().st_size, "sha256": cards.sha256(path)}
    body["sha256"] = cards.digest(body)
    (folder / cards.CARD).write_text(json.dumps(body))


@pytest.mark.parametrize("name", [cards.MODEL, cards.SEEN, cards.USERS, cards.CARD])
def test_a_pickle_is_refused_wherever_it_lies(folder: Path, name: str) -> None:
    (folder / name).write_bytes(pickle.dumps(Evil()))
    if name != cards.CARD:
        rewrite(folder)
    with pytest.raises(Mrl4recError):
        model_folder.load(folder)
    assert not Path("unpickled").exists()


HEADERS: dict[str, Any] = {
    "a length beyond the file": struct.pack("<Q", 2**63) + b"{}",
    "a length of nothing": struct.pack("<Q", 0),
    "a header of 200 MB": 200 << 20,
    "overlapping tensors": {"a": ("F32", [2], [0, 8]), "b": ("F32", [2], [4, 12])},
    "the same bytes twice": {"a": ("F32", [2], [0, 8]), "b": ("F32", [2], [0, 8])},
    "a gap": {"a": ("F32", [1], [0, 4]), "b": ("F32", [1], [8, 12])},
    "an end that is not the file's": {"a": ("F32", [1], [0, 4])},
    "a shape that wraps round": {"a": ("F32", [2**32, 2**32, 0x4000], [0, 12])},
    "a negative shape": {"a": ("F32", [-1, -3], [0, 12])},
    "a shape of fractions": {"a": ("F32", [1.5, 2], [0, 12])},
    "a tensor of 100 GB": {"a": ("F32", [25 << 30], [0, 100 << 30])},
    "an end before its beginning": {"a": ("F32", [3], [12, 0])},
    "an unknown type": {"a": ("F8_E5M2", [12], [0, 12])},
    "no object": [1, 2],
    "objects without end": b"[" * 100_000,
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies_is_refused_in_bounded_memory(tmp_path: Path, name: str) -> None:
    header, path = HEADERS[name], tmp_path / "model.safetensors"
    if isinstance(header, int):
        with path.open("wb") as out:  # sparse: of all that long header only its length is read
            out.write(struct.pack("<Q", header))
            out.truncate(header + 4096)
    elif isinstance(header, bytes):
        length = b"" if len(header) < 11 else struct.pack("<Q", len(header))
        path.write_bytes(length + header + b"\0" * 12)
    else:
        if isinstance(header, dict):
            names = ("dtype", "shape", "data_offsets")
            header = {k: dict(zip(names, v, strict=True)) for k, v in header.items()}
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 12)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Mrl4recError, match="not a whole safetensors file") as caught:
        tensor_file.read(path)
    assert caught.value.where == str(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_indices_outside_the_matrix_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = sparse(rng, 12, 20, 60)
    folder = saved(tmp_path / "model", kinds(rng, 12, 20, seen)[2], seen)
    good = tensor_file.read(folder / cards.MODEL)
    changes = {
        "weights.indices": (0, 2**30), "weights.indptr": (1, 2**40), "history.indices": (0, -5),
    }  # fmt: skip
    for name, (place, value) in changes.items():
        tensors = {key: tensor.copy() for key, tensor in good.items()}
        tensors[name][place] = value
        tensor_file.write(folder / cards.MODEL, tensors)
        rewrite(folder)
        with pytest.raises(Mrl4recError, match=r"matrix|history"):
            model_folder.load(folder)
    tensor_file.write(folder / cards.MODEL, good | {"weights.data": good["weights.data"][:-1]})
    rewrite(folder, shapes={n: list(t.shape) for n, t in good.items()}
            | {"weights.data": [len(good["weights.data"]) - 1]})  # fmt: skip
    with pytest.raises(Mrl4recError, match="values for"):
        model_folder.load(folder)


def test_tensors_of_another_form_are_refused(folder: Path) -> None:
    good = tensor_file.read(folder / cards.MODEL)
    odd: dict[str, Any] = {
        "flat": {"user_vectors": good["user_vectors"].ravel()},
        "one number": {"item_vectors": np.array(1.0, np.float32)},
        "whole numbers": {"user_vectors": good["user_vectors"].astype(np.int32)},
        "a stranger": {"x": np.zeros(3, np.float32)},
    }
    for change in odd.values():
        tensor_file.write(folder / cards.MODEL, good | change)
        written = tensor_file.read(folder / cards.MODEL)
        rewrite(folder, shapes={name: list(tensor.shape) for name, tensor in written.items()})
        with pytest.raises(Mrl4recError, match="belongs to no model"):
            model_folder.load(folder)


def test_ids_of_another_form_are_refused(folder: Path) -> None:
    for table in (pa.table({"x": ["a"] * 12}), pa.table({"user_id": [[1]] * 12}), pa.table({})):
        pq.write_table(table, folder / cards.USERS)
        rewrite(folder)
        with pytest.raises(Mrl4recError, match="ids cannot be read"):
            model_folder.load(folder)


@pytest.mark.parametrize(
    "change",
    [{"levels": 3}, {"widths": None}, {"method": []}, {"shapes": {"a": "b"}}, {"epoch": "x"},
     {"history": [1]}, {"kind": 5}, {"stage_key": None}],
)  # fmt: skip
def test_a_card_with_fields_of_other_types_is_refused(folder: Path, change: dict[str, Any]) -> None:
    rewrite(folder, **change)
    with pytest.raises(Mrl4recError, match=f"cannot be read: {next(iter(change))}"):
        model_folder.read_card(folder)


def test_a_card_too_deep_or_too_long_is_refused(folder: Path) -> None:
    path = folder / cards.CARD
    for content in (b"[" * 200_000, b'{"a":' * 200_000, b"{}", b"null"):
        path.write_bytes(content)
        with pytest.raises(Mrl4recError, match="card"):
            model_folder.read_card(folder)
    os.truncate(path, cards.MOST_BYTES + 1)  # sparse
    with pytest.raises(Mrl4recError, match="more than 64 MiB"):
        model_folder.read_card(folder)


def test_the_library_loads_no_pickle() -> None:
    """None of its modules calls what could: checked where they are written."""
    root = Path(tensor_file.__file__).parent
    words = ("pickle.load", "torch.load(", "allow_pickle=True", "joblib", "cloudpickle", "eval(",
             "exec(", "yaml.load(", "shell=True")  # fmt: skip
    found = []
    for folder in (root, root.parents[1] / "flows", root.parents[1] / "jobs"):
        for path in folder.rglob("*.py"):
            text = path.read_text().replace("literal_eval(", "").replace(".eval()", "")
            found += [(path.name, word) for word in words if word in text]
    assert found == []
