"""What the clients of an object store say, as one of four messages."""

from __future__ import annotations

import pytest

from mrl4rec.core import store_errors

DELTA = "Generic S3 error: Error performing PUT http://h/k - Server returned non-2xx status code: "


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"Kernel error -> {DELTA}403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "AWS_SECRET"),
        ("key 'a': AWS Error ACCESS_DENIED during HeadObject operation", "AWS_ACCESS_KEY_ID"),
        (f"External: {DELTA}507 Insufficient Storage: <Code>InsufficientStorage", "make room"),
        (f"{DELTA}403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "NTP"),
        (f"{DELTA}503 Slow Down", "doctor"),
    ],
)
def test_what_to_do_is_by_what_the_server_said(said: str, told: str) -> None:
    wrapped = RuntimeError("a stage failed")
    wrapped.__cause__ = OSError(said)
    assert store_errors.is_one(wrapped)
    found = store_errors.explained(wrapped, "s3://lake/w")
    assert found is not None
    assert (found.where, told in str(found.todo)) == ("s3://lake/w", True)


def test_other_errors_are_none_of_it() -> None:
    assert store_errors.explained(OSError("No space left on device"), "s3://lake/w") is None
