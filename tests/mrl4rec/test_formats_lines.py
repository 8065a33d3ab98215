"""One record a line, whatever the container: nothing is lost where files are cut or broken."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.formats import (
    FORMATS,
    MARK,
    MAX_RECORD,
    Format,
    SourceFile,
    Unpacking,
    array,
    bounds,
    digest,
    expand,
    literal_fields,
    write_all,
    write_lines,
)
from mrl4rec.formats import lines as lines_module
from mrl4rec.formats.array import array_elements
from mrl4rec.formats.authors import author_pairs
from mrl4rec.formats.bounds import cut_long_lines, has_long_lines

VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(['"', "\\", "},{", "\n["]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=5)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def spell(records: list[dict[str, object]], style: str, ascii_only: bool) -> str:
    if style == "pretty":
        return json.dumps(records, indent=2, ensure_ascii=ascii_only)
    rows = [json.dumps(record, ensure_ascii=ascii_only) for record in records]
    return {"line": "[" + ", ".join(rows) + "]", "lines": "[" + ",\n".join(rows) + "\n]\n"}[style]


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.sampled_from(["pretty", "line", "lines"]), st.booleans(), st.integers(1, 40))
def test_an_array_gives_its_elements(
    records: list[dict[str, object]], style: str, ascii_only: bool, size: int
) -> None:
    content = spell(records, style, ascii_only).encode("utf-8", errors="surrogatepass")
    found = list(array_elements(pieces(content, size)))
    assert [json.loads(element.decode("utf-8", errors="surrogatepass")) for element in found] == (
        records
    )
    assert not any(b"\n" in element for element in found)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.sampled_from(["pretty", "line", "lines"]), st.floats(0, 1), st.integers(1, 40))
@pytest.mark.fault("F14")
def test_an_array_cut_off_loses_only_its_last_record(
    records: list[dict[str, object]], style: str, share: float, size: int
) -> None:
    content = spell(records, style, True).encode()
    cut = content[: int(len(content) * share)]
    found = list(array_elements(pieces(cut, size)))
    whole = found[:-1] if found and not parses(found[-1]) else found
    assert [json.loads(element) for element in whole] == records[: len(whole)]
    text = squeeze(cut)[1:]
    closed = cut.rstrip() == content.rstrip()  # only blanks were cut, so the array's end is there
    assert squeeze(b"".join(found)) == (text[:-1] if closed else text)


def parses(element: bytes) -> bool:
    try:
        return json.loads(element) is not None
    except ValueError:
        return False


def squeeze(text: bytes) -> bytes:
    """Without what stands between elements (and as much inside them)."""
    return b"".join(text.split()).replace(b",", b"")


def test_one_broken_element_does_not_take_the_next_with_it() -> None:
    content = b'[{"a": "x, "b": 1},\n{"c": 2},\n{"d": 3}]'
    found = list(array_elements([content]))
    assert found[1:] == [b'{"c": 2}', b'{"d": 3}']


def test_an_element_without_end_is_bounded_and_the_next_is_found() -> None:
    endless = b'[{"a": "' + b"x" * (6 * MAX_RECORD) + b",\n" + b'{"b": 1},\n{"c": 2}]'
    first, *rest = array_elements(pieces(endless, 1 << 20))
    # 7 bytes before the x, 6 MiB of them, and the comma
    assert first == endless[1 : 1 + MAX_RECORD] + MARK + b"6291464"
    assert rest == [b'{"b": 1}', b'{"c": 2}']


@given(st.lists(st.lists(st.integers(0, 9999), min_size=0, max_size=5)), st.integers(1, 9))
def test_lists_become_pairs_in_the_order_of_the_file(users: list[list[int]], size: int) -> None:
    content = "\n".join(" ".join(map(str, [u, *items])) for u, items in enumerate(users)).encode()
    pairs = b"".join(author_pairs(pieces(content, size))).decode().split("\n")[:-1]
    assert pairs == [f"{u} {item}" for u, items in enumerate(users) for item in items]


NAMES = ("reviewerID", "asin", "overall", "unixReviewTime")


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            r"""{u'reviewerID': u'A1', 'asin': "B'1", 'x': 'it\'s \u2603', 'overall': 4.0,"""
            " 'unixReviewTime': 1400630400}",
            ["A1", "B'1", "4.0", "1400630400"],
        ),
        ("{'reviewerID': None, 'asin': 7, 'ok': True}", [None, "7", None, None]),
        ("{'reviewerID': ['A1'], 'overall': True}", ["[…]", None, "true", None]),
        ("{'reviewerID': 'A1'", None),
        ("__import__('os').getcwd()", None),
        ("{'a': open('/etc/passwd')}", None),
        ("['A1']", None),
        ("{[]: 1}", None),
        ("(" * 5000, None),
        ("{'a': 1}\x00", None),
        ("{'a': " + "-" * 5000 + "1}", None),
        (None, None),
    ],
)
def test_literals_are_read_and_never_run(line: str | None, fields: list[str | None] | None) -> None:
    assert literal_fields(line, NAMES) == fields


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


@pytest.mark.fault("F14")
def test_gzip_is_seen_from_its_bytes_and_cut_gzip_is_refused(tmp_path: Path) -> None:
    content = b'{"a": 1}\n\n{"b": 2}' * 9999
    odd, cut = tmp_path / "dump.json", tmp_path / "cut.gz"
    odd.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))
    cut.write_bytes(gzip.compress(content)[:-20])
    form = FORMATS["amazon-2014-json"]
    assert write_lines(digest(odd), form, tmp_path).read_bytes() == content
    with pytest.raises(Mrl4recError, match="cut off") as caught:
        write_lines(digest(cut), form, tmp_path)
    assert caught.value.where == str(cut)


LONG = [b"a", b"x" * MAX_RECORD, b"y" * (MAX_RECORD + 1), b"", b"z" * (3 * MAX_RECORD + 5), b"b"]
CUT = [b"a", b"x" * MAX_RECORD, b"y" * MAX_RECORD + MARK + b"1048577", b"",
       b"z" * MAX_RECORD + MARK + b"3145733", b"b"]  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_of_a_line_too_long_its_beginning_and_its_length_are_kept(
    tmp_path: Path, zipped: bool, end: bytes
) -> None:
    path, content = tmp_path / "long.json", b"\n".join(LONG) + end
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    staged = write_lines(digest(path), FORMATS["amazon-2014-json"], tmp_path)
    assert staged.read_bytes() == b"\n".join(CUT) + end
    assert not staged.is_symlink()


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 16), min_size=1))
def test_lines_are_cut_the_same_however_they_come(lines: list[bytes], sizes: list[int]) -> None:
    content, chunks, at = b"\n".join(lines), [], 0
    while at < len(content):
        chunks.append(content[at : at + sizes[len(chunks) % len(sizes)]])
        at += len(chunks[-1])
    expected = [x if len(x) <= 16 else x[:16] + MARK + b"%d" % len(x) for x in content.split(b"\n")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MAX_RECORD", 16)  # as many bytes as the longest chunk, here too
        assert b"".join(cut_long_lines(chunks)) == b"\n".join(expected)
        assert has_long_lines(chunks) == any(len(x) > 16 for x in content.split(b"\n"))


def test_a_plain_file_without_long_lines_is_linked_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_bytes(b"x" * MAX_RECORD + b"\n" + b"y" * MAX_RECORD)
    assert write_lines(digest(path), FORMATS["amazon-2014-json"], tmp_path).is_symlink()


def bomb(path: Path, block: bytes, blocks: int) -> Path:
    with gzip.open(path, "wb", 9) as out:
        for _ in range(blocks):
            out.write(block)
    return path


@pytest.mark.parametrize("block", [b"x" * (1 << 20), b"\n" * (1 << 20), b'{"a": 1}\n' * 100_000])
def test_a_gzip_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, block: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SMALL", 2 << 20)
    path, folder = bomb(tmp_path / "bomb.gz", block, 16), tmp_path / "staged"
    folder.mkdir()
    most = Unpacking(most_times=50)
    with pytest.raises(Mrl4recError, match="more than 50 times its size") as caught:
        write_lines(digest(path), FORMATS["amazon-2014-json"], folder, most)
    assert caught.value.where == str(path)
    assert "MRL4REC_MAX_UNPACKED_RATIO" in (caught.value.todo or "")
    limit = max(2 << 20, 50 * path.stat().st_size)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= limit
    with pytest.raises(Mrl4recError, match=r"more than 0\.001 GB"):
        write_lines(digest(path), FORMATS["amazon-2014-json"], folder, Unpacking(0.001, 1e9))
    whole = write_lines(digest(path), FORMATS["amazon-2014-json"], folder, Unpacking(1, 1e9))
    assert whole.stat().st_size == (len(block) * 16 if b"\n" in block else MAX_RECORD + 16)


def test_a_small_file_may_be_as_dense_as_it_likes(tmp_path: Path) -> None:
    path = bomb(tmp_path / "dense.gz", b'{"a": 1}\n' * 100_000, 20)  # 18 MB of 40 kB
    staged = write_lines(digest(path), FORMATS["amazon-2014-json"], tmp_path)
    assert staged.stat().st_size > 100 * path.stat().st_size


def test_a_list_of_one_user_does_not_multiply_its_name(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(b"u" * 300_000 + b" 1" * 300_000)
    staged = write_lines(digest(path), FORMATS["author-lists"], tmp_path)
    lines = staged.read_bytes().splitlines()
    assert lines == ["uuuuuuuuuuuuuuuuuuuu… 1".encode()] * 300_000


def test_an_array_of_nothing_but_beginnings_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array, "LOOKS", 10_000)
    path = tmp_path / "array.json"
    path.write_bytes(b'[{"a": 1},' + b"\n{" * 100_000)
    with pytest.raises(Mrl4recError, match="broken in so many places") as caught:
        write_lines(digest(path), FORMATS["amazon-2014-json-array"], tmp_path)
    assert caught.value.where == str(path)


def test_the_blanks_before_an_element_count_wherever_the_text_is_cut() -> None:
    content = b'[\n    {"a": "x,\n    {"b": 1}\n]'
    for size in range(1, len(content)):
        assert list(array_elements(pieces(content, size))) == [b'{"a": "x,', b'{"b": 1}'], size


def test_many_broken_elements_are_told_apart() -> None:
    element = b'{"a": "' + b"x" * 300 + b'", "b": [1, 2}},\n'
    broken = b'{"a": "x, "b": [1]},\n'
    found = list(array_elements([b"[" + (broken + element) * 3000 + b"]"]))
    assert len(found) >= 6000


def test_a_digest_is_of_the_bytes_and_notices_change(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    source = digest(path)
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


def test_many_files_are_unpacked_side_by_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "CORES", 3)
    running, most = 0, 0
    lock, all_here = threading.Lock(), threading.Barrier(3, timeout=20)

    def slow(source: SourceFile, form: Format, folder: Path, limit: Unpacking | None) -> Path:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        all_here.wait()  # nobody goes on alone
        with lock:
            running -= 1
        return write_lines(source, form, folder)

    contents = [b"".join(b'{"a": %d}\n' % (n * k) for k in range(500)) for n in range(6)]
    files = []
    for n, content in enumerate(contents):
        (tmp_path / f"{n}.gz").write_bytes(gzip.compress(content))
        files.append((digest(tmp_path / f"{n}.gz"), FORMATS["amazon-2014-json"]))
    with monkeypatch.context() as patch:
        patch.setattr(lines_module, "write_lines", slow)
        with caplog.at_level("INFO", "mrl4rec"):
            paths = write_all(files, tmp_path)
    assert most == 3
    assert [path.read_bytes() for path in paths] == contents
    assert "6 gzip files, each one stream on one core, 3 side by side" in caplog.text


def test_of_many_files_the_first_that_is_damaged_is_named(tmp_path: Path) -> None:
    for n in range(6):
        content = gzip.compress(b'{"a": 1}\n' * 9_000)
        (tmp_path / f"{n}.gz").write_bytes(content[:-20] if n in (2, 4) else content)
    files = [(digest(tmp_path / f"{n}.gz"), FORMATS["amazon-2014-json"]) for n in range(6)]
    with pytest.raises(Mrl4recError, match="cut off") as caught:
        write_all(files, tmp_path)
    assert caught.value.where == str(tmp_path / "2.gz")
