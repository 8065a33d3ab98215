"""The catalogue: complete entries, and counts that are held against what was ingested."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.data.catalog import CATALOG, Counts, Generated, Web, entry
from mrl4rec.data.synthetic.dump import write


def test_the_known_sets_are_there_under_their_names() -> None:
    assert list(CATALOG) == [
        "ml-100k",
        "ml-1m",
        "retailrocket",
        "amazon-2014-phones",
        "amazon-2014-sports",
        "amazon-2014-tools",
        "planted",
    ]
    assert all(name == known.name for name, known in CATALOG.items())


@pytest.mark.parametrize("name", CATALOG)
def test_each_can_be_verified(name: str) -> None:
    known = CATALOG[name]
    assert known.counts or known.rows
    for source in known.sources:
        if isinstance(source, Web):
            assert source.url.startswith("https://")
            assert source.checksum or known.counts or known.rows


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean ml-100k"):
        entry("ml100k")


def test_counts_that_differ_are_an_error() -> None:
    phones = entry("amazon-2014-phones")
    phones.check_counts(194_439, 27_879, 10_429, 194_439)
    with pytest.raises(Mrl4recError, match="194438"):
        phones.check_counts(194_438, 27_879, 10_429, 194_439)
    entry("retailrocket").check_counts(1, 1, 1, 2_756_101)
    with pytest.raises(Mrl4recError, match="2756100"):
        entry("retailrocket").check_counts(1, 1, 1, 2_756_100)


def test_the_planted_counts_are_those_of_its_truth(tmp_path: Path) -> None:
    planted = entry("planted")
    (source,) = planted.sources
    assert isinstance(source, Generated)
    counts = write(source.spec, tmp_path / "dump.json").counts
    seen = Counts(counts["rows_accepted"], counts["users"], counts["items"])
    assert seen == planted.counts
