"""The numbers printed in the MRL4Rec paper (arXiv 2406.07432), as data.

Only what is known to be printed: Tables 2 and 3 (Recall@20 and NDCG@20 of every row, more cut-offs
of a few), Table 4 (Recall@20 by number of levels) and the row of MRL-M on a one-layer LightGCN.
They were made with the protocol ``paper`` on the authors' own split, with one seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PROTOCOL = "paper"
"""The only protocol whose numbers may be held against the printed ones."""


@dataclass(frozen=True)
class PaperSet:
    """One of the paper's data sets, known by its counts."""

    name: str
    users: int
    items: int
    train: int
    """Pairs of the authors' training file (their validation pairs are among them)."""
    test: int

    @property
    def interactions(self) -> int:
        """All pairs of the 5-core."""
        return self.train + self.test


@dataclass(frozen=True)
class Printed:
    """One printed number."""

    dataset: str
    table: str
    """2, 3, 4, or ``text`` for a row outside the numbered tables."""
    method: str
    levels: tuple[int, ...] | None
    """The level set, for methods that have one."""
    metric: str
    k: int
    value: float
    note: str | None = None


SETS: Mapping[str, PaperSet] = {
    s.name: s
    for s in (
        PaperSet("Phones", 27_879, 10_429, 155_163, 39_276),
        PaperSet("Sports", 35_598, 18_357, 236_918, 59_419),
        PaperSet("Tools", 16_638, 10_217, 107_772, 26_704),
    )
}

LEVELS = (4, 8, 16, 32, 64)
LEVEL_SETS: Mapping[int, tuple[int, ...]] = {L: LEVELS[5 - L :] for L in (2, 3, 4, 5)}
"""Table 4's L as level sets. Only that of 5 is printed; the suffixes for fewer are a guess."""
GUESSED = "the paper gives the number of levels only; this level set is a guess"

REASONS: Mapping[str, str] = {
    "BCE": "not found; a plain loop that shares no code comes to the same (docs/methods.md)",
    "UIB": "the authors' code lets every user's boundary meet every other user's positive",
    "SSM": "not in the authors' code; temperature and negatives are not printed",
    "MVAE": "not in the authors' code; its settings are not printed",
    "DGCF": "not in the authors' code; its settings are not printed",
    "DCCF": "not in the authors' code; its settings are not printed",
    "DENS": "the authors' copy of it mixes by a fixed 1 − α instead of a warm-up: DENS-mrl4rec",
    "BPR-M": "as coded: one loss over the negatives of all levels at full width",
}
"""Why a measured row may differ from the printed one, as found by reading the code or by trial."""

VARIANTS = ("mrl4rec", "own", "cosine", "recbole")
"""``X-own``, ``X-mrl4rec`` …: the printed row X with other settings."""

_METHODS = ("BCE", "BPR", "SSM", "UIB", "DAU", "MVAE", "DGCF", "DENS", "DCCF", "BPR-D",
            "BPR-M", "MRL-D", "MRL-M")  # fmt: skip
_TABLE_3 = ("BPR-D", "BPR-M", "MRL-D", "MRL-M")
_NESTED = ("BPR-M", "MRL-D", "MRL-M", "MRL-M@lightgcn-1")
# Recall@20 / NDCG@20, in the order of _METHODS.
_AT_20 = {
    "Phones": ".1082/.0578 .1106/.0598 .1137/.0613 .1042/.0538 .1156/.0593 .1237/.0692 .1174/.0635 "
    ".1216/.0668 .1366/.0742 .1208/.0664 .1099/.0602 .1211/.0660 .1286/.0710",
    "Sports": ".0652/.0343 .0673/.0360 .0708/.0380 .0605/.0314 .0723/.0391 .0639/.0378 .0786/.0426 "
    ".0790/.0435 .0792/.0431 .0774/.0425 .0721/.0401 .0766/.0423 .0845/.0469",
    "Tools": ".0559/.0296 .0553/.0299 .0572/.0310 .0528/.0277 .0673/.0360 .0554/.0318 .0717/.0394 "
    ".0684/.0373 .0677/.0365 .0666/.0378 .0592/.0322 .0680/.0377 .0734/.0404",
}
# Rows known at every cut-off: Recall and NDCG at 10, 20, 50; "-" is not known.
_ROWS = {
    ("Phones", "MRL-M"): (".0906 .1286 .1920", ".0601 .0710 .0858"),
    ("Sports", "MRL-M"): (".0582 .0845 .1318", ".0388 .0469 .0581"),
    ("Tools", "MRL-M"): (".0509 .0734 .1115", ".0339 .0404 .0491"),
    ("Tools", "BPR-D"): (".0470 .0666 .0977", ".0312 .0378 .0452"),
    ("Tools", "BPR"): (".0383 .0553 .0869", "- - -"),
    ("Tools", "UIB"): (".0353 .0528 .0843", "- - -"),
    ("Phones", "MRL-M@lightgcn-1"): (".1051 .1502 .2262", ".0695 .0827 .1004"),
}
# Recall@20 of MRL-M for L = 2, 3, 4, 5.
_TABLE_4 = {
    "Phones": (0.1233, 0.1271, 0.1263, 0.1286),
    "Sports": (0.0816, 0.0818, 0.0822, 0.0845),
    "Tools": (0.0692, 0.0717, 0.0719, 0.0734),
}
CUTOFFS = (10, 20, 50)


def recognise(users: int, items: int, interactions: int) -> PaperSet | None:
    """The paper's data set with exactly these counts, or None."""
    for known in SETS.values():
        if (known.users, known.items, known.interactions) == (users, items, interactions):
            return known
    return None


def printed(dataset: str) -> Sequence[Printed]:
    """Every printed number of a data set of the paper, each once; empty for another data set."""
    return [number for number in PRINTED if number.dataset == dataset]


def lookup(
    dataset: str, method: str, levels: Sequence[int] | None, metric: str, k: int
) -> Printed | None:
    """The printed number of a row, or None. Methods without levels take ``levels`` None."""
    wanted = tuple(levels) if levels else None
    for number in PRINTED:
        place = (number.dataset, number.method, number.levels, number.metric, number.k)
        if place == (dataset, method, wanted, metric, k):
            return number
    return None


def row_of(method: str) -> str:
    """The printed row that a method is held against: ``UIB-mrl4rec`` against UIB."""
    row, dash, variant = method.rpartition("-")
    return row if dash and variant in VARIANTS else method


def _table(method: str) -> str:
    if "@" in method:
        return "text"
    return "3" if method in _TABLE_3 and method != "MRL-M" else "2"


def _numbers() -> Iterator[Printed]:
    for dataset, text in _AT_20.items():
        for method, pair in zip(_METHODS, text.split(), strict=True):
            if (dataset, method) not in _ROWS:
                for metric, value in zip(("recall", "ndcg"), pair.split("/"), strict=True):
                    yield _number(dataset, method, metric, 20, value)
            elif _ROWS[dataset, method][1].startswith("-"):
                yield _number(dataset, method, "ndcg", 20, pair.split("/")[1])
    for (dataset, method), row in _ROWS.items():
        for metric, values in zip(("recall", "ndcg"), row, strict=True):
            for k, value in zip(CUTOFFS, values.split(), strict=True):
                if value != "-":
                    yield _number(dataset, method, metric, k, value)
    for dataset, sweep in _TABLE_4.items():
        for count, recall in zip((2, 3, 4), sweep, strict=False):  # 5 levels: the row of Table 2
            levels = LEVEL_SETS[count]
            yield Printed(dataset, "4", "MRL-M", levels, "recall", 20, recall, GUESSED)


def _number(dataset: str, method: str, metric: str, k: int, value: str) -> Printed:
    levels = LEVELS if method in _NESTED else None
    return Printed(dataset, _table(method), method, levels, metric, k, float(value))


PRINTED: tuple[Printed, ...] = tuple(_numbers())
