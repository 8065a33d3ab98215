"""What the tests of downloads share: a web server of each test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web_site import Site, served


@pytest.fixture
def site() -> Iterator[Site]:
    """A server with one file, which does what the test says."""
    with served() as state:
        yield state
