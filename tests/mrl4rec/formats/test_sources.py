"""Files and members of archives are known by the digest of their bytes."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.formats import chunks, digest, expand


def archive(folder: Path, members: dict[str, str]) -> Path:
    path = folder / "dumps.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def test_members_of_an_archive_are_sources_of_their_own(tmp_path: Path) -> None:
    path = archive(
        tmp_path,
        {"b.json": "{}", "in/a.csv": "user,item\n", "in/": "", ".x": "x", "__MACOSX/b": "x"},
    )
    first, second = digest(path)
    assert [first.shown, second.shown] == [f"{path}/b.json", f"{path}/in/a.csv"]
    assert first.sha256 == hashlib.sha256(b"{}").hexdigest()
    assert (first.bytes, second.bytes) == (2, 10)
    assert b"".join(chunks(second)) == b"user,item\n"


def test_a_member_has_the_digest_of_the_file_that_it_is(tmp_path: Path) -> None:
    plain = tmp_path / "b.json"
    plain.write_text("{}\n")
    (alone,) = digest(plain)
    (packed,) = digest(archive(tmp_path, {"b.json": "{}\n"}))
    assert (alone.sha256, alone.member, packed.member) == (packed.sha256, None, "b.json")


def test_a_change_after_the_digest_is_seen(tmp_path: Path) -> None:
    path = archive(tmp_path, {"b.json": "{}"})
    (packed,) = digest(path)
    assert not packed.changed()
    os.utime(path, ns=(1, 1))
    assert packed.changed()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "holds no file"),
        ({".hidden": "x"}, "holds no file"),
        ({"a\x1b[31m": "x"}, "control characters"),
        ({"[Content_Types].xml": "x", "xl/a.xml": "x"}, "Excel"),
        ({f"{n}.json": "" for n in range(1001)}, "1,001 files"),
    ],
)
@pytest.mark.fault("F14")
def test_archives_that_hold_no_dumps_are_refused(
    tmp_path: Path, members: dict[str, str], said: str
) -> None:
    with pytest.raises(Mrl4recError, match=said):
        digest(archive(tmp_path, members))


def test_a_folder_with_the_authors_files_means_these_two(tmp_path: Path) -> None:
    for name in ("test.txt", "train.txt.gz", "notes.md", ".hidden"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in expand([tmp_path])] == ["train.txt.gz", "test.txt"]
    assert [path.name for path in expand([f"{tmp_path}/*.md"])] == ["notes.md"]
    with pytest.raises(UsageError, match="no such file"):
        expand([tmp_path / "nothing"])


def test_expand_takes_files_folders_globs_and_the_authors_form(tmp_path: Path) -> None:
    for name in (
        "b.json",
        "a.json",
        ".hidden",
        "author/test.txt.gz",
        "author/train.txt",
        "none/x/y",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("x")
    a, b, author = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "author"
    assert expand([b, str(tmp_path / "*.json")]) == (b, a, b)
    assert expand([str(tmp_path)]) == (a, b)
    assert expand([author]) == (author / "train.txt", author / "test.txt.gz")
    for missing in (tmp_path / "no.json", tmp_path / "no*.gz", tmp_path / "none"):
        with pytest.raises(UsageError, match=r"no (such )?file"):
            expand([missing])
    with pytest.raises(UsageError):
        expand([])


def test_a_digest_is_of_the_bytes_and_notices_change(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    (source,) = digest(path)
    # SHA-256 of "abc", FIPS 180-2, appendix B.1
    assert source.sha256.startswith("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f200")
    assert source.bytes == 3
    assert not source.changed()
    path.write_bytes(b"abcd")
    assert source.changed()
    with pytest.raises(UsageError, match="regular"):
        digest(tmp_path)
    with pytest.raises(Mrl4recError, match="cannot be read"):
        digest(tmp_path / "gone")
