"""Files that are written whole or stay as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrl4rec.core.files import sha256, write_whole


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_written_whole_in_a_new_folder(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "new" / "file.json"
    write_whole(path, "é", durable=durable)
    write_whole(path, b"ab", durable=durable)
    assert path.read_bytes() == b"ab"
    assert list(path.parent.iterdir()) == [path]


def test_where_it_fails_the_old_content_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_of_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert sha256(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
