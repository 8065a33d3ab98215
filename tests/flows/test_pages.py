"""A warehouse's pages over HTTP: the report and Data Docs, and nothing else of it."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import artifacts
from flows.addresses import Addresses, addresses, announced
from flows.server import pages
from mrl4rec.core.settings import Settings
from mrl4rec.tracking.spool import Place


@pytest.fixture
def warehouse(settings: Settings) -> Settings:
    """One with a report, a page of Data Docs, and what must not be served."""
    site = settings.storage.data_docs_dir("d") / "data_docs"
    for file, text in {
        settings.storage.report_file: "report",
        site / "index.html": "index",
        site / "validations" / "a%b.html": "page",
        site / "static" / "data_docs.css": "css",
        site / "secret.json": "secret",
        settings.storage.data_docs_dir("d") / "validations" / "v.html": "secret",
        settings.storage.spool_dir / "r.html": "secret",
        settings.storage.mlflow_database: "secret",
        settings.warehouse.parent / "outside.html": "secret",
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (site / "link.html").symlink_to(settings.warehouse.parent / "outside.html")
    (site / "folder").symlink_to(settings.storage.spool_dir)
    (site / "empty").mkdir()
    (site / "empty" / "index.html").symlink_to(settings.warehouse.parent / "outside.html")
    return settings


@pytest.fixture
def server(warehouse: Settings) -> Iterator[str]:
    with pages.serving(warehouse, 0, {"MLflow": "http://127.0.0.1:5000"}) as address:
        yield address


def ask(address: str, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    """Status and body; the path goes as it is, without a client's tidying."""
    place = address.removeprefix("http://")
    connection = http.client.HTTPConnection(place, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or place)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/report.html", "report"),
        ("/d/gx/data_docs/index.html", "index"),
        ("/d/gx/data_docs/", "index"),
        ("/d/gx/data_docs/validations/a%25b.html", "page"),
        ("/d/gx/data_docs/static/data_docs.css?v=1", "css"),
    ],
)
def test_pages_are_served(server: str, path: str, body: str) -> None:
    assert ask(server, path) == (200, body)
    assert ask(server, path, "HEAD") == (200, "")


@pytest.mark.parametrize(
    "path",
    [
        "/mlflow.db",
        "/spool/r.html",
        "/d/gx/validations/v.html",
        "/d/gx/data_docs/secret.json",
        "/d/gx/data_docs/link.html",
        "/d/gx/data_docs/folder/r.html",
        "/d/gx/data_docs/empty/",
        "/d/gx/data_docs/../validations/v.html",
        "/d/gx/data_docs/%2e%2e/validations/v.html",
        "/d/gx/data_docs/..%2fvalidations%2fv.html",
        "/d/gx/data_docs/../../../../outside.html",
        "/../outside.html",
        "//outside.html",
        "/../gx/data_docs/index.html",
        "/d/gx/data_docs/index.html%00",
        "/d/gx/data_docs/" + "a" * 5000,
        "/d/gx/data_docs/..\\validations\\v.html",
    ],
)
def test_nothing_else_is(server: str, path: str) -> None:
    assert ask(server, path) == (404, "")


def test_it_is_read_only_on_loopback_and_has_one_name(server: str) -> None:
    assert ask(server, "/report.html", "POST")[0] == 501
    assert ask(server, "/report.html", host="evil.example:80")[0] == 404
    port = int(server.rpartition(":")[2])
    assert ask(server, "/report.html", host=f"localhost:{port}")[0] == 200
    other = socket.gethostbyname(socket.gethostname())
    if not other.startswith("127."):
        with socket.socket() as probe:
            assert probe.connect_ex((other, port)) != 0


def test_the_first_page_leads_to_the_rest(server: str, warehouse: Settings) -> None:
    (warehouse.storage.dataset_dir("d") / "gates" / "_delta_log").mkdir(parents=True)
    status, body = ask(server, "/")
    assert status == 200
    for link in ("/report.html", "/d/gx/data_docs/index.html", "http://127.0.0.1:5000"):
        assert f'href="{link}"' in body


# ------------------------------------------------------------------------------------------ links


def test_links_are_http_while_they_are_served_and_paths_otherwise(settings: Settings) -> None:
    page = settings.storage.report_file
    place = {"d": Place("run1", "7")}
    with announced(settings, "http://127.0.0.1:8300", "http://127.0.0.1:5000"):
        found = addresses(settings)
        assert found.page(page) == "http://127.0.0.1:8300/report.html"
        text = artifacts.links_markdown(found, settings, page, ["d"], place)
        assert "[Gates of d](http://127.0.0.1:8300/d/gx/data_docs/index.html)" in text
        assert "(http://127.0.0.1:5000/#/experiments/7/runs/run1?" in text
        assert "file:" not in text
    found = addresses(settings)
    assert (found.pages, found.mlflow) == (None, None)
    text = artifacts.links_markdown(found, settings, page, ["d"], place)
    assert f"Report: `{page.absolute()}`" in text
    assert "run1" in text
    assert "](" not in text


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"pid": 1}', '{"pid": PID, "started": 5.0, "pages": "x"}'],
)
def test_a_server_that_is_gone_or_unknown_is_not_linked(settings: Settings, body: str) -> None:
    file: Path = settings.storage.servers_file
    file.parent.mkdir(parents=True)
    file.write_text(body.replace("PID", str(os.getpid())))
    assert addresses(settings).pages is None


def test_a_servers_password_is_in_no_link(settings: Settings) -> None:
    named = settings.model_copy(update={"tracking_uri": "http://me:pa55word@db:5000/"})
    assert addresses(named) == Addresses(settings.warehouse, None, "http://db:5000")
