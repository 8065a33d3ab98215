"""The fuzzers' targets under hypothesis: inputs near to good ones, in every run of the tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import run
from tests.fuzz.targets import SELF_TEST, TARGETS, Target

TRICKS = [
    b"", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"\r", b"\n", b"\r\n",
    b"\x00", b"\x1f", b"\x7f", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc2\xa0",
    b"\\u0000", b"\\ud800", b"\\u00e9", b"NaN", b"-Infinity", b"1e400", b"-0", b"00", b"1_0",
    b"0x1", b"null", b"None", b"true", b"#", b"//", b"=", b"::", b"..", b"/", b"9" * 400, b"[" * 70,
    '\u2028☃'.encode(),
]  # fmt: skip


EXAMPLES = {"long-lines": 8, "json-lines": 60, "csv-rows": 60, "loose-lines": 60}
"""Of targets of which one run takes long."""


@st.composite
def near(draw: st.DrawFn, target: Target) -> bytes:
    """A seed with some pieces put in, taken out or doubled; or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(target.seeds)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 0, 1, 1, 2, 9))))
        data[start:end] = draw(st.sampled_from([*TRICKS, bytes(data[start:end] * 2)]))
    return bytes(data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_is_near_to_good_input_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        target.run(seed)

    @settings(max_examples=EXAMPLES.get(name, 120), deadline=None)
    @given(near(target))
    def fuzz(data: bytes) -> None:
        target.run(data)

    fuzz()


FOUND = {
    "csv-rows": [
        b"", b"\x00\r", b"\x00\r\r", b"\x00A1,B1,5\t,1400630400", b"\x00A1\r,B1,5,1400630400",
        b"\x00\xe2\x80\x83A1,B1,5,1400630400", b"\x06a,b\n 1,2\n1,2 \n\xef\xbb\xbf1,2",
        b"\x00A1,B1,1e0005,1400630400", b"\x00A1,B1,5,1400630400\x0b", b"\x04a;b;1;1_0",
    ],
    "json-lines": [
        b'\x00{"reviewerID": %b, "asin": "B1", "overall": 4.0, "unixReviewTime": 1400630400}%b' % x
        for x in ((b"1e18", b""), (b"0.00001", b""), (b'"A1"', b"\x0b"), (b'"A\\ud800"', b","),
                  (b'"\xe2\x80\x83A"', b""), (b'"\xef\xbb\xbfnan\\t"', b""))
    ],
    "loose-lines": [
        b"\x00{'reviewerID': %b, 'asin': 'B1', 'overall': 4.0, 'unixReviewTime': 1400630400}" % x
        for x in (b"true", b"-inf", b"1e400", b"'A', 'reviewerID': 'B'", b"1e18", b"'x', 'y': nan")
    ] + [b"\x01{'x': {'y': 'A1'}, 'asin': 'B1', 'overall': 4.0, 'unixReviewTime': 1400630400}"],
    "framing": [
        b'\x02\x01[\n    {"a": "x,\n    {"b": 1}\n]', b'\x02\x07[{"a": "x, "b": 1}, {"a": 2}]',
        b"\x03\x00 000.00 \xe8\xbc3 \"a, b", b"\x02\x07[" + b'\n{"a":[' * 900,
        b'\x01\x03a,b"x,1,2\n"a\nb",c,d,e\n',
    ],
    "read-options": [b"\ruser=a,item=b\ns", b"\n\n\n0.1:10.1234567"],
    "python-literals": [b"{'asin': 0x" + b"f" * 4000 + b"}", b"{'asin': '\\ud800'}"],
    "methods": [b"Pop\n" + b"9" * 4400, b"MRL-M\n\x1c\xd9\xa3,4"],
    "detection": [
        b'\x00\xc2\xa0{"reviewerID": "A1B2C", "asin": "B00001", "overall": 4.0, '
        b'"unixReviewTime": 1400630400}',
    ],
    "spool": [b'{"key": "k", "name": "n", "params": []}', b"[" * 100_000],
    "safetensors": [
        (99).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],'
        b'"data_offsets":[0,0]}}'.ljust(99),
    ],
    "model-card": [b"[" * 100_000, b'{"format": 1}', b'{"format": 1, "widths": null}'],
}  # fmt: skip
"""What was found once, by hand or by a fuzzer."""


@pytest.mark.parametrize("name", sorted(FOUND))
def test_what_was_found_once_stays_mended(name: str) -> None:
    for data in FOUND[name]:
        TARGETS[name].run(data)


@pytest.mark.slow
def test_a_target_that_raises_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip(run.MISSING)
    assert run.main(["--seconds", "1", "--target", "names", "--corpus", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "| names | names of data sets |" in out
    (row,) = [line for line in out.splitlines() if line.startswith("| names")]
    assert int(row.split("|")[3].replace(",", "")) > 100
    outcome = run.fuzz("self-test", SELF_TEST["self-test"], 5, tmp_path)
    assert outcome.findings
    assert "ValueError: this one is broken" in outcome.said
