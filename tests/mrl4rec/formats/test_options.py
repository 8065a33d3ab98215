"""Reading options are checked as they are typed."""

from __future__ import annotations

import json
import shlex

import pytest

from mrl4rec.core.errors import UsageError
from mrl4rec.formats import ReadOptions


def test_what_is_typed_is_what_is_printed() -> None:
    typed = {
        "columns": 'user=the user,"item=a,b",time=when',
        "separator": "\\t",
        "time_format": "%d/%m/%Y",
        "rating_range": "0:10",
        "encoding": "latin1",
    }
    options = ReadOptions.parse(**typed)
    assert options.columns == {"user": "the user", "item": "a,b", "time": "when"}
    assert (options.separator, options.rating_range) == ("\t", (0.0, 10.0))
    words = shlex.split(options.command())
    again = dict(zip((w[2:].replace("-", "_") for w in words[::2]), words[1::2], strict=True))
    assert ReadOptions.parse(**again) == options


def test_params_hold_what_was_given_alone() -> None:
    assert not ReadOptions.parse().is_given
    assert ReadOptions.parse().as_params() == {}
    given = ReadOptions.parse(time_unit="ms", rating_range="1:5")
    assert json.loads(json.dumps(given.as_params())) == {
        "time_unit": "ms",
        "rating_range": [1.0, 5.0],
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"columns": "user=a"}, "as item"),
        ({"columns": "user=a,item"}, "ROLE=COLUMN"),
        ({"columns": "usr=a,item=b"}, "did you mean user"),
        ({"columns": "user=a,item=a"}, "twice"),
        ({"columns": "user=a,user=b,item=c"}, "twice"),
        ({"format": "movielens"}, "did you mean movielens"),
        ({"format": "movielens-csv", "columns": "user=a,item=b"}, "exclude"),
        ({"format": "movielens-csv", "separator": ";"}, "exclude"),
        ({"time_unit": "ms", "time_format": "%Y"}, "exclude"),
        ({"time_unit": "minutes"}, "unknown unit"),
        ({"time_format": "day/month"}, "strptime"),
        ({"rating_range": "5"}, "LOWEST:HIGHEST"),
        ({"rating_range": "5:1"}, "LOWEST:HIGHEST"),
        ({"rating_range": "nan:5"}, "LOWEST:HIGHEST"),
        ({"separator": ""}, "separate"),
        ({"separator": '"'}, "separate"),
        ({"separator": "x"}, "separate"),
        ({"encoding": "no-such"}, "unknown encoding"),
        ({"encoding": "base64"}, "unknown encoding"),
        ({"encoding": "idna"}, "unknown encoding"),
        ({"encoding": "a\0b"}, "unknown encoding"),
    ],
)
def test_what_cannot_be_meant_names_the_option(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        ReadOptions.parse(**given)
    assert "--" in str(caught.value)
