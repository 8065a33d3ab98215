"""Dumps named by URL, from real servers: copied once, whole, and refused in words."""

from __future__ import annotations

import io
import logging
import pickle
import shutil
import ssl
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from upath import UPath

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened
from mrl4rec.data import elsewhere
from mrl4rec.data.downloads import s3, web
from mrl4rec.formats.copies import Copy, shown
from mrl4rec.formats.sources import digest
from tests.object_store import BUCKET
from tests.web_site import BODY, Site, served

SECRET = "s3cr3t-9f8e7d"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(web, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Settings(downloads=tmp_path / "downloads")


def copied(settings: Settings, *specs: str, beginning: int | None = None) -> list[Path]:
    return list(elsewhere.expand(specs, settings, beginning))


def refusal(settings: Settings, spec: str) -> Mrl4recError:
    with pytest.raises(Mrl4recError) as caught:
        copied(settings, spec)
    return caught.value


def bodies(settings: Settings) -> list[bytes]:
    """What lies in the downloads folder under a name that is not hidden."""
    files = settings.downloads.rglob("*")
    return [f.read_bytes() for f in files if f.is_file() and not f.name.startswith(".")]


def test_a_file_is_copied_once_and_known_by_its_address(site: Site, here: Settings) -> None:
    (copy,) = copied(here, site.url)
    assert copy.read_bytes() == BODY
    (file,) = digest(copy)
    assert file.shown == file.place == site.url
    again = pickle.loads(pickle.dumps(copy))
    assert (again, shown(again)) == (copy, site.url)
    requests = len(site.asked)
    assert copied(here, site.url) == [copy]
    assert len(site.asked) == requests + 1  # whether it has changed


@pytest.mark.parametrize("change", ["there", "here"])
def test_it_is_copied_again_where_it_was_changed(site: Site, here: Settings, change: str) -> None:
    (copy,) = copied(here, site.url)
    if change == "there":
        site.body, site.etag = BODY[::-1], '"two"'
    else:
        copy.write_bytes(b"something else")
    (again,) = copied(here, site.url)
    assert again.read_bytes() == site.body


def test_without_a_version_it_is_copied_once_a_process(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.etag = None
    copied(here, site.url)
    requests = len(site.asked)
    copied(here, site.url)
    assert len(site.asked) == requests + 1
    monkeypatch.setattr(elsewhere, "_once", set())  # as in the next process
    copied(here, site.url)
    assert len(site.asked) == requests + 3


def test_a_cut_copy_is_gone_on_with_by_the_next_run(site: Site, here: Settings) -> None:
    site.cuts = [300_000, 300_000] + [0] * web.TRIES  # the first is of the headers
    error = refusal(here, site.url)
    assert "cut" in error.what
    assert error.where == site.url
    assert bodies(here) == []
    (copy,) = copied(here, site.url)
    assert copy.read_bytes() == BODY
    assert site.asked[-1] == "bytes=300000-"


def test_secrets_are_sent_and_not_kept(
    site: Site, here: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    place = site.url.removeprefix("http://")
    url = f"http://me:{SECRET}@{place}?id=7&X-Amz-Signature={SECRET}&token={SECRET}"
    with caplog.at_level(logging.DEBUG):
        (copy,) = copied(here, url)
    assert shown(copy) == f"http://me:***@{place}?id=7&X-Amz-Signature=***&token=***"
    assert site.users[-1] is not None
    assert SECRET not in caplog.text
    kept = [path for path in here.downloads.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in path.read_bytes() for path in kept)
    assert not any(SECRET in str(path) for path in kept)
    assert copied(here, shown(copy)) == [copy]  # this process has them still
    assert copied(here, url.replace("X-Amz-Signature=s", "X-Amz-Signature=t")) == [copy]
    site.status = 403
    assert SECRET not in str(refusal(here, url))


def test_what_only_secrets_tell_apart_is_refused(site: Site, here: Settings) -> None:
    with pytest.raises(UsageError, match="nothing but their secrets"):
        copied(here, f"{site.url}?token=a", f"{site.url}?token=b")
    lost = f"{site.url}?signature=***"
    assert refusal(here, lost).where == lost
    assert site.asked == []


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [(404, None, 2), (403, None, 2), (401, None, 2), (500, None, 1), (200, "text/html", 2)],
)
def test_answers_that_are_no_dump(
    site: Site, here: Settings, status: int, kind: str | None, exit_code: int
) -> None:
    site.status, site.kind = status, kind
    error = refusal(here, site.url)
    assert (error.where, error.exit_code) == (site.url, exit_code)
    assert str(status) in error.what or "HTML" in error.what
    assert error.todo
    assert not here.downloads.exists()


@pytest.mark.parametrize(
    "spec",
    [
        "ftp://host/a.csv", "gs://bucket/a.csv", "http:///a.csv", "http://[::1/a.csv",
        "http://host/folder/", "https://host/*.csv", "https://host", "http://127.0.0.1:9/a.csv",
        "http://host:99999/a.csv", "s3://",
    ],
)  # fmt: skip
def test_addresses_of_no_file(here: Settings, spec: str) -> None:
    error = refusal(here, spec)
    assert error.where == spec
    assert not here.downloads.exists()


def test_nothing_is_copied_where_one_of_several_is_missing(site: Site, here: Settings) -> None:
    with pytest.raises(UsageError):
        copied(here, site.url, str(here.downloads / "none.csv"))
    assert not here.downloads.exists()


def test_a_server_that_says_nothing_is_given_up(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.seconds = 2
    monkeypatch.setattr(web, "TIMEOUT", web.httpx.Timeout(0.2))
    assert "cannot be reached" in refusal(here, site.url).what


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(
    site: Site, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert "are free" in refusal(here, site.url).what
    assert bodies(here) == []


def test_https_is_not_left(
    site: Site, here: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl absent: a certificate is made with it")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
         certificate, "-days", "1", "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with served(tls) as safe:
        assert copied(here, safe.url)[0].read_bytes() == BODY
        safe.location = site.url
        assert "from https to http" in refusal(here, safe.url).what
        assert site.asked == []
        site.location, safe.location = safe.url, None
        assert copied(here, site.url)[0].read_bytes() == BODY


def test_no_more_than_the_beginning_of_a_large_file(site: Site, here: Settings) -> None:
    (start,) = copied(here, site.url, beginning=1000)
    assert isinstance(start, Copy)
    assert (start.read_bytes(), start.whole) == (BODY[:1000], len(BODY))
    assert shown(start) == site.url
    site.ranges = False
    assert copied(here, site.url, beginning=2000)[0].read_bytes() == BODY[:2000]
    (copy,) = copied(here, site.url)
    assert copy.read_bytes() == BODY
    assert copied(here, site.url, beginning=1000) == [copy]


def test_what_is_read_from_its_end_is_copied_whole(site: Site, here: Settings) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", "user,item\n1,2\n" * 1000)
    site.body = out.getvalue()
    (copy,) = copied(here, site.url, beginning=1000)
    assert copy.read_bytes() == site.body
    assert [file.shown for file in digest(copy)] == [f"{site.url}/a.csv"]


# In an object store.


@pytest.fixture
def dumps(lake: Settings) -> UPath:
    """A folder of the test's own, with three files and one in a folder below."""
    folder = opened(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    assert isinstance(folder, UPath)
    for name in ("b.csv", "a.csv", ".hidden", "odd %41 name.csv", "sub/c.csv"):
        (folder / name).write_bytes(name.encode() * 1000)
    return folder


def names(paths: Sequence[Path], folder: UPath) -> list[str]:
    return [shown(path).removeprefix(f"{folder}/") for path in paths]


def test_objects_folders_and_globs(dumps: UPath, here: Settings) -> None:
    (one,) = copied(here, f"{dumps}/a.csv")
    assert one.read_bytes() == b"a.csv" * 1000
    stamp = one.stat().st_mtime_ns
    files = ["a.csv", "b.csv", "odd %41 name.csv"]
    for spec in (f"{dumps}/", str(dumps), f"{dumps}/*.csv"):
        found = copied(here, spec)
        assert names(found, dumps) == files
        assert [path.read_bytes()[:5] for path in found] == [name.encode()[:5] for name in files]
    assert one.stat().st_mtime_ns == stamp
    assert names(copied(here, f"{dumps}/**/c.csv"), dumps) == ["sub/c.csv"]
    for name in ("train.txt", "test.txt"):
        (dumps / name).write_bytes(b"0 1 2\n")
    found = copied(here, str(dumps))
    assert names(found, dumps) == ["train.txt", "test.txt"]
    assert {path.parent for path in found} == {elsewhere.folder(str(dumps), here)}


@pytest.mark.parametrize("missing", ["none.csv", "none/", "*.gz", "**/*.gz"])
def test_objects_that_are_not_there(dumps: UPath, here: Settings, missing: str) -> None:
    error = refusal(here, f"{dumps}/{missing}")
    assert (error.where, error.exit_code) == (f"{dumps}/{missing}", 2)
    elsewhere_too = f"s3://no-such-bucket-{uuid.uuid4().hex}/{missing}"
    assert "bucket" in refusal(here, elsewhere_too).what
    assert not here.downloads.exists()


def test_wrong_keys_are_refused_without_them(
    dumps: UPath, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    s3.object_store.s3fs.S3FileSystem.clear_instance_cache()
    try:
        for spec in (f"{dumps}/a.csv", f"{dumps}/"):
            error = refusal(here, spec)
            assert "AWS_SECRET_ACCESS_KEY" in str(error.todo)
            assert SECRET not in str(error)
    finally:
        s3.object_store.s3fs.S3FileSystem.clear_instance_cache()


def test_an_object_that_changes_after_it_was_listed(
    dumps: UPath, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = s3.find

    def then_changed(address: str) -> list[s3.Object]:
        found = find(address)
        (dumps / "a.csv").write_bytes(b"shorter")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(s3, "find", then_changed)
        assert "changed" in refusal(here, f"{dumps}/a.csv").what
    assert bodies(here) == []
    assert copied(here, f"{dumps}/a.csv")[0].read_bytes() == b"shorter"


def test_without_the_extra_it_is_named() -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from mrl4rec.core.settings import Settings\n"
        "from mrl4rec.data import elsewhere\n"
        "elsewhere.expand(['s3://bucket/a.csv'], Settings())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UsageError" in done.stderr
    assert "mrl4rec[s3]" in done.stderr
