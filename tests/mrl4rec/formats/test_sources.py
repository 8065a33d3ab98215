"""Files and members of archives are known by the digest of their bytes."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from mrl4rec.errors import Mrl4recError, UsageError
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
