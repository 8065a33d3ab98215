"""What is packed is known by its content, read to its end, and refused where it is damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.formats import SourceFile, Unpacking, chunks, digest, packing_of
from mrl4rec.formats.packing import BLOCK
from mrl4rec.formats.text import head

TEXT = b"user,item\n" + b"".join(b"u%d,i%d\n" % (n, n % 77) for n in range(100_000))


def _zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", data)
    return out.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": partial(gzip.compress, compresslevel=1),
    "bz2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),
    "zstd": _zstd,
    "zip": _zip,
}
TAILS = (b"x", b"not packed", bytes(99) + b"x", b"\x1f\x8a" * 999)
STREAMS = ("gzip", "bz2", "xz", "zstd")


def source(folder: Path, content: bytes) -> SourceFile:
    path = folder / "dump.txt"
    path.write_bytes(content)
    (only,) = digest(path)
    return only


@pytest.mark.parametrize("kind", PACK)
def test_what_is_packed_is_read_in_small_pieces(tmp_path: Path, kind: str) -> None:
    packed = source(tmp_path, PACK[kind](TEXT))
    assert packing_of(packed.path) == kind
    pieces = list(chunks(packed))
    assert b"".join(pieces) == TEXT
    assert max(map(len, pieces)) <= BLOCK
    assert head(packed, 100) == (TEXT[:100], False)


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_one_after_the_other_are_one_text(tmp_path: Path, kind: str) -> None:
    pack = PACK[kind]
    content = pack(TEXT[:10]) + pack(b"") + pack(TEXT[10:])
    assert b"".join(chunks(source(tmp_path, content))) == TEXT


@pytest.mark.parametrize("kind", ["gzip", "bz2", "xz"])
@pytest.mark.parametrize("zeros", [1, 512, 3 << 20])
def test_zeros_behind_the_end_are_padding(tmp_path: Path, kind: str, zeros: int) -> None:
    content = PACK[kind](TEXT)
    assert b"".join(chunks(source(tmp_path, content + bytes(zeros)))) == TEXT


@pytest.mark.parametrize("kind", ["gzip", "bz2", "xz"])
@pytest.mark.parametrize(
    "tail", [b"x", b"not packed", bytes(99) + b"x", b"\x1f\x8a" * 999], ids=range(4)
)
def test_other_bytes_behind_the_end_are_refused(tmp_path: Path, kind: str, tail: bytes) -> None:
    with pytest.raises(Mrl4recError, match="follow the end of the"):
        list(chunks(source(tmp_path, PACK[kind](TEXT) + tail)))


@pytest.mark.parametrize("kind", [*STREAMS, "zip"])
@pytest.mark.fault("F14")
def test_what_is_cut_off_or_damaged_is_refused_with_its_name(tmp_path: Path, kind: str) -> None:
    content = PACK[kind](os.urandom(200_000))
    middle = len(content) // 2
    for broken in (content[:-9], content[:middle], content[:middle] + bytes(9) + content[-middle:]):
        with pytest.raises(Mrl4recError, match=r"cut off|damaged") as caught:
            list(chunks(source(tmp_path, broken)))
        assert str(caught.value.where).startswith(str(tmp_path / "dump.txt"))


@pytest.mark.parametrize("kind", [*STREAMS, "zip"])
@pytest.mark.fault("F14")
def test_a_bomb_is_refused_at_its_bound(tmp_path: Path, kind: str) -> None:
    most = Unpacking(most_gb=0.01)
    packed = tmp_path / "bomb"
    packed.write_bytes(PACK[kind](bytes(50 << 20)))
    with pytest.raises(Mrl4recError, match="unpacks to more than"):
        [size for one in digest(packed, most) for size in map(len, chunks(one, most))]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("é,ü\n", "latin-1"), ("“é”\n", "cp1252"), ("é\U0001f600\n", "utf-16"), ("é\n", "utf-8")],
)
def test_other_encodings_become_utf8(tmp_path: Path, text: str, encoding: str) -> None:
    many = text * 300_000
    made = list(chunks(source(tmp_path, many.encode(encoding)), encoding=encoding))
    assert b"".join(made) == many.encode()
    assert max(map(len, made)) <= BLOCK


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert b"".join(chunks(source(tmp_path, b"\xef\xbb\xbfa"))) == b"a"
    assert b"".join(chunks(source(tmp_path, b"\xef\xbb\xbf"))) == b""


def test_bytes_that_are_no_text_in_the_encoding_stay_as_they_are(tmp_path: Path) -> None:
    assert b"".join(chunks(source(tmp_path, b"a\x81\n"), encoding="cp1252")) == b"a\x81\n"
    with pytest.raises(Mrl4recError, match="no utf-16 text"):
        list(chunks(source(tmp_path, b"\xff\xfea"), encoding="utf-16"))
