"""A cut in time from the command line: made, judged, and found again by its moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.dumps import WITHOUT_JAVA, answer, mrl4rec, ratings_csv

pytestmark = pytest.mark.slow


def test_split_since_is_judged_and_found_again(tmp_path: Path) -> None:
    """User n's ten pairs are within the ten seconds after 10⁹ + 1000·n: users 40 to 59 are test."""
    dump = ratings_csv(tmp_path / "ratings.csv", users=60, items=30, each=10)
    asked = ["--dataset", "d", "--source", str(dump), "--kcore", "0", "--split", "since"]

    def split(since: str, **environment: str) -> dict[str, object]:
        done = mrl4rec("split", *asked, "--since", since, warehouse=tmp_path / "w", **environment)
        found: dict[str, object] = answer(done)
        return found

    made = split("2001-09-09T12:53:20")  # 10⁹ + 40,000 s
    assert made["strategy"] == "since"
    assert made["since"] == "2001-09-09T12:53:20+00:00"
    assert made["test_users"] == 20
    assert split("2001-09-09T14:53:20+02:00", **WITHOUT_JAVA) == made
