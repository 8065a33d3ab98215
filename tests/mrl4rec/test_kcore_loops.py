"""The loops of the k-core against plain Python, and codes of texts where every hash collides."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec import kcore
from mrl4rec.errors import Mrl4recError
from mrl4rec.kernels import dictionary, pairs
from mrl4rec.kernels.dictionary import Dictionary

TEXTS = st.lists(st.text(max_size=20), max_size=40)
ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 90), st.integers(0, 9), st.integers(0, 9)),
    max_size=300,
)


def added(batches: list[list[str]], kind: pa.DataType) -> tuple[list[int], list[str]]:
    codes, known = [], Dictionary()
    for batch in batches:
        codes += known.add(pa.array(batch, kind)).tolist()
    return codes, known.texts().to_pylist()


@settings(deadline=None)  # the first call compiles
@given(st.lists(TEXTS, max_size=4), st.sampled_from([pa.string(), pa.large_string()]))
def test_codes_are_dense_and_stand_for_their_texts(
    batches: list[list[str]], kind: pa.DataType
) -> None:
    codes, texts = added(batches, kind)
    flat = [text for batch in batches for text in batch]
    assert [texts[code] for code in codes] == flat
    assert len(texts) == len(set(flat))


@pytest.mark.parametrize("hashes", [1, 3])
def test_texts_with_one_hash_stay_apart(monkeypatch: pytest.MonkeyPatch, hashes: int) -> None:
    whole = dictionary.hash_texts
    monkeypatch.setattr(
        dictionary, "hash_texts", lambda *text: whole(*text) % np.uint64(hashes) << np.uint64(40)
    )
    flat = [f"user {n * n % 700}" for n in range(3_000)] + ["", "user", "\x00", "\x00\x00"]
    codes, texts = added([flat[:5], flat[5:2_000], flat[2_000:]], pa.string())
    assert [texts[code] for code in codes] == flat
    assert len(texts) == len(set(flat))


def test_a_slice_and_growth_keep_the_codes() -> None:
    known = Dictionary()
    whole = pa.array([f"{n:x}" for n in range(50_000)])
    codes = [known.add(whole[at : at + 7_001]) for at in range(0, 50_000, 7_001)]
    assert np.concatenate(codes).tolist() == list(range(50_000))
    assert known.add(whole[123:456]).tolist() == list(range(123, 456))
    assert known.texts().equals(whole)


@settings(deadline=None)  # the first call compiles
@given(ROWS)
def test_sorted_pairs_have_no_repeats_and_the_smallest_of_each(
    rows: list[tuple[int, int, int, int]],
) -> None:
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    got = pairs.sort_pairs(
        table[:, 0].astype(np.int32), table[:, 1].astype(np.int32), table[:, 2].copy(),
        table[:, 3].copy(), 7,
    )  # fmt: skip
    wanted: dict[tuple[int, int], tuple[int, int]] = {}
    for user, item, place, time in rows:
        old = wanted.get((user, item), (place, time))
        wanted[user, item] = (min(old[0], place), min(old[1], time))
    assert list(zip(*(column.tolist() for column in got), strict=True)) == [
        (*pair, *wanted[pair]) for pair in sorted(wanted)
    ]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50)), max_size=40))
def test_first_places(rows: list[tuple[int, int]]) -> None:
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    got = pairs.first_places(table[:, 0].astype(np.int32), table[:, 1].copy(), 6, 99)
    assert got.tolist() == [min((p for c, p in rows if c == code), default=99) for code in range(6)]


def batch(rows: list[tuple[str | None, str, str, int, int | None]]) -> pa.RecordBatch:
    names = ["user_id", "item_id", "source_sha256", "record_no", "reviewed_at"]
    kinds = [pa.string()] * 3 + [pa.int64(), pa.timestamp("us", tz="UTC")]
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(list(c), kind) for c, kind in zip(columns, kinds, strict=True)], names
    )


def test_an_encoder_merges_over_batches() -> None:
    encoder = kcore.Encoder({"s": 0, "t": 2})
    encoder.add(batch([("a", "x", "t", 1, 9), ("b", "x", "s", 0, None)]))
    encoder.add(batch([("a", "x", "s", 7, None), ("a", "y", "s", 8, 5)]))
    got = encoder.pairs()
    named = {
        (got.user_ids[u].as_py(), got.item_ids[i].as_py()): (place, time)
        for u, i, place, time in zip(
            got.users_P, got.items_P, got.places_P.tolist(), got.times_P.tolist(), strict=True
        )
    }
    assert named == {
        ("a", "x"): (7, 9),
        ("b", "x"): (0, kcore.NEVER),
        ("a", "y"): (8, 5),
    }


def test_an_encoder_refuses_what_cannot_be_placed() -> None:
    with pytest.raises(Mrl4recError, match="rows have no user_id"):
        kcore.Encoder({"s": 0}).add(batch([(None, "x", "s", 0, 0)]))
    with pytest.raises(Mrl4recError, match="sources does not list"):
        kcore.Encoder({"s": 0}).add(batch([("a", "x", "s", 0, 0), ("a", "x", "t", 1, 0)]))
    assert len(kcore.Encoder({}).pairs()) == 0
