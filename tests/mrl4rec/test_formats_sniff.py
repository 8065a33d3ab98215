"""The form of a dump is seen from its content, and what is no dump is refused with a reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.formats import FORMATS, known_format, sniff

OLD = {"reviewerID": "A1YJEY40YUW4SE", "asin": "B000000001", "overall": 4.0, "unixReviewTime": 1}
NEW = {
    "user_id": "A" + "B" * 27,
    "parent_asin": "B000000001",
    "rating": 5.0,
    "timestamp": 1600000000000,
}
USERS = ["A1YJEY40YUW4SE", "AC2278WPK3EU", "A30TL5EWN6DFXT"]
ITEMS = ["B00005N7P0", "120401325X", "132793040"]

CONTENT = {
    "amazon-2014-json": json.dumps(OLD | {"helpful": [0, 0]}) + "\n",
    "amazon-2014-json-array": json.dumps([OLD, OLD]),
    "amazon-2014-loose": "{u'reviewerID': u'A1', 'asin': 'B1', 'x': None, 'unixReviewTime': 1}\n",
    "amazon-2014-csv": "asin,reviewerID,unixReviewTime\nB1,A1,1\n",
    "amazon-2018-json": json.dumps(OLD | {"verified": True}) + "\n",
    "amazon-2018-json-array": json.dumps([OLD, OLD | {"vote": "3"}], indent=2),
    "amazon-2023-json": json.dumps(NEW) + "\r\n",
    "amazon-2023-json-array": "[\n" + json.dumps(NEW) + ",\n" + json.dumps(NEW)[:30],
    "amazon-2023-csv": '"rating","user_id","timestamp","parent_asin"\n5.0,A1,1600000000000,B1\n',
    "amazon-ratings-user-item": "".join(f"{u},{i},5.0,1365811200\n" for u in USERS for i in ITEMS),
    "amazon-ratings-item-user": "".join(f"{i},{u},5.0,1365811200\n" for u in USERS for i in ITEMS),
    "recbole-inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3\t4\n",
    "movielens-tab": "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
    "movielens-dat": "1::1193::5::978300760\n1::661::3::978302109\n",
    "movielens-csv": "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n",
    "author-lists": "0 0 377 522\n1\n2 414\n",
    "empty": " \n\n",
}


def put(folder: Path, content: str | bytes) -> Path:
    path = folder / "misleading.parquet"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_every_form_has_a_fixture() -> None:
    assert set(CONTENT) == set(FORMATS) | {"empty"}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("change", ["plain", "gzip", "bom", "leading blank line"])
def test_the_form_is_seen_from_the_content(tmp_path: Path, name: str, change: str) -> None:
    content = CONTENT[name].encode()
    content = {
        "plain": content,
        "gzip": gzip.compress(content),
        "bom": b"\xef\xbb\xbf" + content,
        "leading blank line": b"\n" + content,
    }[change]
    assert sniff(put(tmp_path, content)).form.name == name


def test_a_broken_first_line_does_not_hide_the_form(tmp_path: Path) -> None:
    content = '{"reviewerID": "A1YJ' + "\n" + CONTENT["amazon-2014-json"] * 3
    assert sniff(put(tmp_path, content)).form.name == "amazon-2014-json"


def test_columns_are_found_in_any_order(tmp_path: Path) -> None:
    layout = sniff(put(tmp_path, CONTENT["amazon-2023-csv"]))
    assert layout.columns == ("rating", "user_id", "timestamp", "parent_asin")
    assert layout.header == '"rating","user_id","timestamp","parent_asin"'


def test_a_typed_header_may_leave_times_out(tmp_path: Path) -> None:
    layout = sniff(put(tmp_path, "item_id:token\tuser_id:token\n7\t8\n"))
    assert layout.form.name == "recbole-inter"
    assert not layout.has_time


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x01\x02" * 99, "binary"),
        (bytes(range(1, 32)) * 99, "binary"),
        (b"PK\x03\x04 zip", "ZIP"),
        (b"PAR1 columns", "Parquet"),
        ("reviewerID".encode("utf-16"), "UTF-16"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "gzip inside gzip"),
        (gzip.compress(CONTENT["movielens-tab"].encode() * 9999, mtime=0)[:-9], "cut off"),
        (b"\x1f\x8b" + b"no gzip at all", "damaged"),
        ("user_id,rating,timestamp\nA1,5,1600000000000\n", "'parent_asin'"),
        ("userId,movieId,tag,timestamp\n1,2,fun,1260759144\n", "'rating'"),
        ("user_id:token\titem:token\n1\t2\n", "'item_id'"),
        (json.dumps({"reviewerID": "A1", "unixReviewTime": 1}), "'asin'"),
        (json.dumps([{"user_id": "A1", "timestamp": 1}]), "'parent_asin'"),
        (json.dumps({"title": "a film", "year": 1999}), "no record has a known user"),
        ("[1, 2, 3]\n[4, 5]\n", "holds no JSON object"),
        ("Dear reader, this is a letter.\nIt holds no reviews.\n", "CSV columns"),
        ("just words\nand more words\n", "none of the known forms"),
        ("1::Toy Story (1995)::Animation|Comedy\n", "none of the known forms"),
    ],
)
@pytest.mark.fault("F14", "F15")
def test_what_is_no_dump_is_refused_with_file_and_reason(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = put(tmp_path, content)
    with pytest.raises(Mrl4recError, match=said) as caught:
        sniff(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "rows",
    ["1,31,2.5,1260759144\n2,10,4,835355493\n", "A1YJEY40YUW4SE,A30TL5EWN6DFXT,5,1365811200\n"],
)
def test_columns_that_do_not_tell_their_order_are_asked_for(tmp_path: Path, rows: str) -> None:
    path = put(tmp_path, rows)
    with pytest.raises(UsageError, match="--format amazon-ratings-item-user"):
        sniff(path)
    assert sniff(path, "amazon-ratings-item-user").columns[0] == "item"


def test_a_form_asked_for_still_needs_its_columns_and_takes_arrays(tmp_path: Path) -> None:
    array = put(tmp_path, CONTENT["amazon-2014-json-array"])
    assert sniff(array, "amazon-2018-json").form.name == "amazon-2018-json-array"
    with pytest.raises(Mrl4recError, match="'userId'"):
        sniff(put(tmp_path, CONTENT["amazon-2023-csv"]), "movielens-csv")


def test_an_unknown_form_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean amazon-2018-json"):
        known_format("amazon-2018-jsn")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("samples/2014_Cell*.json.gz", "amazon-2014-json"),
        ("samples/2014_Cell*.jsonarray.gz", "amazon-2014-json-array"),
        ("samples/2014_Musical*", "amazon-2014-json"),
        ("samples/2014_ratings*", "amazon-ratings-user-item"),
        ("samples/2018_Gift*", "amazon-2018-json"),
        ("samples/2018_AMAZON*", "amazon-2018-json"),
        ("samples/2018_ratings*", "amazon-ratings-item-user"),
        ("samples/2023_All*", "amazon-2023-csv"),
        ("samples/2023_Sub*", "amazon-2023-json"),
        ("amazon2014/reviews*", "amazon-2014-json"),
        ("author-splits/phone/train*", "author-lists"),
        ("sequential/ml-1m*", "recbole-inter"),
    ],
)
def test_real_dumps(real_data: Path, pattern: str, name: str) -> None:
    (path,) = real_data.glob(pattern)
    assert sniff(path).form.name == name
