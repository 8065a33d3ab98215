"""How a file is read is seen from its content; what does not tell is refused with what to type."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from subprocess import run

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.formats import (
    FORMATS,
    Detected,
    Mapping,
    ReadOptions,
    describe,
    detect,
    digest,
    known_format,
    options_of,
)
from tests.mrl4rec.formats.cases import CASES, NAMES, PLAIN, ROWS, Case

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
    "recbole-inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3\t1e9\n",
    "movielens-tab": "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
    "movielens-dat": "1::1193::5::978300760\n1::661::3::978302109\n",
    "movielens-csv": "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n",
    "author-lists": "0 0 377 522\n1\n2 414\n",
    "session-lists": '[1, 2, 1]\n["a", "b"]\n[3]\n',
    "retailrocket-events": "timestamp,visitorid,event,itemid,transactionid\n"
    "1433221332117,257597,view,355908,\n1433224214164,992329,transaction,248676,4000\n",
    "empty": " \n\n",
}


def put(folder: Path, content: str | bytes) -> Path:
    path = folder / "misleading.parquet"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def seen(path: Path, first: Mapping | None = None, **options: str) -> Detected:
    (source,) = digest(path)
    return detect(source, ReadOptions.parse(**options), first)  # type: ignore[arg-type]


def typed(command: str) -> dict[str, str]:
    words = shlex.split(command)
    names = [word.removeprefix("--").replace("-", "_") for word in words[::2]]
    return dict(zip(names, words[1::2], strict=True))


def offered(error: UsageError) -> list[dict[str, str]]:
    """The options of each command that a refusal prints."""
    pattern = r"--[a-z-]+ (?:'[^']*'|[^\s',][^\s]*[^\s,;])(?: --[a-z-]+ (?:'[^']*'|[^\s]*[^\s,;]))*"
    return [typed(found) for found in re.findall(pattern, error.todo or "")]


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_read_or_refused_as_it_should_be(tmp_path: Path, name: str) -> None:
    case: Case = CASES[name]
    path = put(tmp_path, case.content)
    if case.refused or case.options:
        with pytest.raises(Mrl4recError, match=re.escape(case.refused or "--")):
            seen(path)
    if case.refused is None:
        mapping = seen(path, **case.options).mapping
        assert {field: getattr(mapping, field) for field in case.facts} == case.facts
        assert Mapping.from_json(json.loads(json.dumps(mapping.to_json()))) == mapping
        assert seen(path, **typed(options_of(mapping))).mapping == mapping
        assert describe(mapping)


def test_every_known_format_has_a_fixture() -> None:
    assert set(CONTENT) == set(FORMATS) | {"empty"}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("change", ["plain", "gzip", "bom", "leading blank line"])
def test_a_known_format_is_seen_from_the_content(tmp_path: Path, name: str, change: str) -> None:
    content = CONTENT[name].encode()
    content = {
        "plain": content,
        "gzip": gzip.compress(content),
        "bom": b"\xef\xbb\xbf" + content,
        "leading blank line": b"\n" + content,
    }[change]
    mapping = seen(put(tmp_path, content)).mapping
    assert mapping.name == name
    if name in FORMATS:
        assert seen(put(tmp_path, content), format=name).mapping == mapping
        kept = [*FORMATS[name].roles.values()]
        assert [c for c in kept if c in mapping.roles.values()] == [*mapping.roles.values()]


def test_a_broken_first_line_does_not_hide_the_format(tmp_path: Path) -> None:
    content = '{"reviewerID": "A1YJ' + "\n" + CONTENT["amazon-2014-json"] * 3
    assert seen(put(tmp_path, content)).mapping.name == "amazon-2014-json"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x01\x02" * 99, "binary"),
        (bytes(range(1, 32)) * 99, "binary"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "gzip inside"),
        (b"\x1f\x8b" + b"no gzip at all", "damaged"),
        (b"PK\x03\x04 zip", "damaged"),
        (b"PAR1 columns", "damaged"),
        ("user_id,rating,timestamp\nA1,5,1600000000000\n", "which is the item"),
        ("userId,movieId,tag,timestamp\n1,2,fun,1260759144\n", "'rating'"),
        (json.dumps({"review_id": "A1", "unixReviewTime": 1}), "which is the user"),
        ("[1, 2.5, 3]\n[4, null]\n", "JSON array"),
        ("[[1, 2], [3, 4]]", "no JSON object"),
        ("Dear reader, this is a letter.\nIt holds no reviews.\n", "columns of one number"),
        ("just words\nand more words\n", "columns"),
        ("1::Toy Story (1995)::Animation|Comedy\n", "which is the user"),
        ("user,item,item\n1,2,3\n", "'item' twice"),
        ("user,item,date\na,b,soon\n", "no pattern that is known"),
        ("user,item,timestamp\na,b,17\n", "from 1990 on"),
        ("user,item,timestamp\na,b,1400000000\na,b,1400000000000\n", "some of its numbers"),
        ("user_id,movie,track\na,b,c\n", "the item may be movie or track"),
    ],
)
@pytest.mark.fault("F14", "F15")
def test_what_cannot_be_read_is_refused_with_file_and_reason(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = put(tmp_path, content)
    with pytest.raises(Mrl4recError, match=said) as caught:
        seen(path)
    assert str(caught.value.where).startswith(str(path))


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if "columns" in c.options])
def test_a_refusal_lists_columns_with_values_and_its_options_work(
    tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    path = put(tmp_path, case.content)
    given = {k: v for k, v in case.options.items() if k == "encoding"}
    with pytest.raises(UsageError, match=r"like '|first '") as caught:
        seen(path, **given)
    first, *_ = offered(caught.value)
    assert seen(path, **first).mapping.roles == seen(path, **case.options).mapping.roles


def test_both_readings_of_a_date_are_offered(tmp_path: Path) -> None:
    path = put(tmp_path, CASES["day or month first"].content)
    with pytest.raises(UsageError) as caught:
        seen(path)
    assert [o.get("time_format") for o in offered(caught.value)][:2] == ["%d/%m/%Y", "%m/%d/%Y"]


def test_columns_that_are_not_there_name_the_nearest(tmp_path: Path) -> None:
    path = put(tmp_path, PLAIN)
    with pytest.raises(UsageError, match="did you mean user_id"):
        seen(path, columns="user=user_idd,item=item_id")
    table = put(tmp_path, "user,item\na,b\n")
    with pytest.raises(UsageError, match="user=user,item=item"):
        seen(table, columns="user=1,item=2")


def test_options_that_do_not_fit_the_values_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "user,item,date\na,b,2020-01-02\n")
    with pytest.raises(UsageError, match="'2020-01-02'"):
        seen(path, time_format="%d.%m.%Y")
    with pytest.raises(UsageError, match="bad directive"):
        seen(path, time_format="%Q")
    with pytest.raises(UsageError, match="'2020-01-02'"):
        seen(path, time_unit="ms")
    with pytest.raises(Mrl4recError, match="csv"):
        seen(path, format="amazon-2014-json")


def test_the_first_file_says_how_later_ones_are_read(tmp_path: Path) -> None:
    table = put(tmp_path, "who,what,mark,at\na,b,8,1500000000000\nc,d,3,1500000000001\n")
    given = seen(table, columns="user=who,item=what,rating=mark,time=at", rating_range="0:10")
    later = put(tmp_path, "mark;extra;at;what;who\n9;x;1500000000000;b;a\n7;x;1500000000000;b;c\n")
    mapping = seen(later, first=given.mapping).mapping
    assert mapping.roles == given.mapping.roles
    assert (mapping.separator, mapping.columns[0], mapping.header) == (
        ";", "mark", "mark;extra;at;what;who",
    )  # fmt: skip
    assert (mapping.time_unit, mapping.rating_range) == ("ms", (0.0, 10.0))
    other = put(tmp_path, PLAIN)
    assert seen(other, first=given.mapping).mapping.rating_range == (0.0, 10.0)


def test_a_data_set_of_lists_reads_triples_as_lists(tmp_path: Path) -> None:
    path = put(tmp_path, "1 2 3\n4 5 6\n")
    with pytest.raises(UsageError, match="is the third number a rating"):
        seen(path)
    assert seen(path, first=FORMATS["author-lists"]).mapping.name == "author-lists"
    assert seen(path, format="author-lists").mapping.integer_ids


def test_rare_bad_bytes_are_no_encoding(tmp_path: Path) -> None:
    good = (",".join(NAMES) + "\n" + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in ROWS)).encode()
    assert seen(put(tmp_path, good + b"\xff,p1,5,1500000000\n")).mapping.encoding == "utf-8"
    with pytest.raises(UsageError, match="--encoding latin-1"):
        seen(put(tmp_path, good + "é,p1,5,1500000000\n".encode("latin-1") * 4))


HOSTILE = {
    "brackets": b"[" * (4 << 20),
    "braces": b'{"a":' * (1 << 20),
    "long line": b"x" * (5 << 20),
    "commas": b"," * (5 << 20),
    "columns": (",".join(map(str, range(200_000))) + "\n").encode(),
    "quotes": b'user,item\n"' + b"x\n" * (2 << 20),
    "integers": (b'{"user_id": ' + b"9" * 9999 + b', "item_id": 1}\n') * 99,
    "times": b"user,item,time\n" + (b"1,2," + b"9" * 100_000 + b"\n") * 40,
    "surrogates": b'{"user\\ud800": "\\ud800", "item_id": "\\udc00"}\n' * 9,
    "objects": b'{"a": [' + b"{}," * (1 << 20) + b"{}]}",
    "literals": (b"{'a': [" + b"1," * 7000 + b"1]}\n") * 200,
    "numbers": b"1 " * (2 << 20),
    "blank": b" \n" * (3 << 20),
    "carriage returns": b"user,item\r1,2\r" * 999,
    "types": b"a:token" + b"\ta:token" * 500_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.fault("F15")
def test_hostile_content_is_refused_soon(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, HOSTILE[name])
    began = time.monotonic()
    with suppress(Mrl4recError):
        seen(path)
    assert time.monotonic() - began < 5  # 2 s where nothing else runs


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean amazon-2018-json"):
        known_format("amazon-2018-jsn")


def test_importing_formats_is_cheap() -> None:
    code = "import sys, mrl4rec.formats; print({'duckdb', 'pyarrow', 'numpy'} & {*sys.modules})"
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


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
        ("sequential/CGENet_retailrocket_all*", "session-lists"),
    ],
)
def test_real_dumps(real_data: Path, pattern: str, name: str) -> None:
    (path,) = real_data.glob(pattern)
    assert seen(path).mapping.name == name


@pytest.mark.parametrize("content", ["[1, 2, 3]\n", '["a", "b"]\n["c", "d"]\n["e", "f"]\n'])
def test_lists_of_one_length_may_be_rows_of_a_table(tmp_path: Path, content: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(UsageError) as refused:
        seen(path)
    assert offered(refused.value) == [{"format": "session-lists"}]
    assert seen(path, format="session-lists").mapping.name == "session-lists"
    assert seen(path, first=FORMATS["session-lists"]).mapping.name == "session-lists"


@pytest.mark.parametrize("line", ["[7, [1, 2], 2, 1441940543]", "[1.5, 2]", "[true]", "[[1], [2]]"])
def test_other_lists_are_no_sessions(tmp_path: Path, line: str) -> None:
    path = put(tmp_path, f"{line}\n" * 20 + "[1]\n[1, 2]\n")
    with pytest.raises(UsageError):
        seen(path)
    assert seen(path, format="session-lists").mapping.name == "session-lists"
    with pytest.raises(UsageError):
        seen(put(tmp_path, "no list\n"), format="session-lists")
    array = json.dumps([OLD] * 9999)  # in one line, which is too long to be looked at
    for first in (None, FORMATS["session-lists"]):
        assert seen(put(tmp_path, array), first).mapping.container == "array"


def test_lists_with_other_values_say_how_they_are_read_all_the_same(tmp_path: Path) -> None:
    path = put(tmp_path, "[1, 2]\n[3, null]\n[4]\n")
    with pytest.raises(UsageError, match="null") as refused:
        seen(path)
    assert offered(refused.value) == [{"format": "session-lists"}]
    assert seen(path, format="session-lists").mapping.name == "session-lists"
    assert seen(put(tmp_path, "[1, 2]\n[]\n[]\n[4]\n")).mapping.name == "session-lists"
    with pytest.raises(UsageError):
        seen(put(tmp_path, "[]\n[]\n"))


@pytest.mark.parametrize(
    ("content", "column"),
    [
        ('user_id,item_id\nu,"[1, 2]"\nv,"[3]"\n', "item_id"),
        ("user_id;basket\nu;['a', 'b']\nv;[]\n", "basket"),
        ('{"user_id": "u", "item_id": [1, 2], "time": 1400000000}\n', "item_id"),
        ('{"who": "u", "items": [1, 2]}\n{"who": "v", "items": [3]}\n', "items"),
        ("{'user_id': 'u', 'item_id': ['a', 'b']}\n", "item_id"),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_lists_in_a_column_are_no_ids(
    tmp_path: Path, content: str, column: str, is_named: bool
) -> None:
    user = "who" if "who" in content else "user_id"
    options = {"columns": f"user={user},item={column}"} if is_named else {}
    with pytest.raises(UsageError, match=f"'{column}' holds a list"):
        seen(put(tmp_path, content), **options)


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.string())])
def test_lists_of_a_parquet_file_are_no_ids(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "lists.parquet"
    lists = pa.array([[1], [2, 3]]).cast(kind)
    for columns in ({"user_id": ["u", "v"], "item_id": lists}, {"baskets": lists}):
        pq.write_table(pa.table(columns), path)
        with pytest.raises(UsageError, match=f"'{list(columns)[-1]}' holds a list"):
            seen(path)
    pq.write_table(pa.table({"user": [""], "item": ["i"], "tags": lists[:1]}), path)
    assert seen(path).mapping.read == ["user", "item"]


def test_events_of_a_shop_need_the_whole_header(tmp_path: Path) -> None:
    shorter = CONTENT["retailrocket-events"].replace(",transactionid", "").replace(",4000", "")
    with pytest.raises(UsageError, match="visitorid"):
        seen(put(tmp_path, shorter.replace(",\n", "\n")))
