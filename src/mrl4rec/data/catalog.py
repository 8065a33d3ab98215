"""Known data sets: where each comes from, how it is verified, and what it is run with."""

from __future__ import annotations

from dataclasses import dataclass

from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from mrl4rec.data.synthetic.spec import Planted


@dataclass(frozen=True)
class Web:
    """A file at its publisher's address."""

    url: str
    checksum: str | None
    """``md5:…`` or ``sha256:…`` of the file as served; None where the publisher gives none."""
    member: str | None = None
    """The one file wanted, where the address is a zip archive."""

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Wheel:
    """A file inside a wheel, fetched through pip and so through whatever index pip is set to."""

    project: str
    version: str
    member: str
    sha256: str
    """Of the member."""

    def __str__(self) -> str:
        return f"the copy inside the PyPI wheel {self.project} {self.version}, {self.member}"


@dataclass(frozen=True)
class Generated:
    """A planted dump, written here."""

    spec: Planted

    def __str__(self) -> str:
        spec = self.spec
        return (
            f"generated here: {spec.users:,} users, {spec.items:,} items, {spec.rows:,} rows, "
            f"groups {'×'.join(map(str, spec.branching))}, seed {spec.seed}"
        )


Source = Web | Wheel | Generated


@dataclass(frozen=True)
class Counts:
    """What a data set is known to hold, as ingested."""

    reviews: int
    users: int
    items: int


@dataclass(frozen=True)
class Entry:
    """One data set of the catalogue."""

    name: str
    title: str
    sources: tuple[Source, ...]
    """In the order in which they are tried."""
    licence: str
    kcore: int
    split: str
    counts: Counts | None = None
    format: str | None = None
    """None: seen from the content."""
    rows: int | None = None
    """Records of the file, where what it holds was not counted."""
    notes: str = ""
    sequence_split: str = "last_out"
    """How its sequences are split where nothing is said."""

    def check_counts(self, reviews: int, users: int, items: int, rows: int) -> None:
        """Raise Mrl4recError where what was ingested, of so many rows read, is not what the data
        set is known to hold.
        """
        seen = Counts(reviews, users, items)
        if self.counts not in (None, seen) or self.rows not in (None, rows):
            raise Mrl4recError(
                f"{self.name} should hold {self.counts or f'{self.rows} rows'}, but {seen} were "
                f"ingested of {rows} rows",
                todo="the publisher's file has changed or is damaged: delete it from the downloads "
                "folder and run again, or give the file with --source and a --dataset of your own",
            )


MOVIELENS = "https://files.grouplens.org/datasets/movielens"
AMAZON_2014 = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
GROUPLENS_TERMS = "GroupLens terms of use (research, no redistribution)"
MCAULEY_TERMS = "McAuley lab terms (research use)"


def _amazon(short: str, category: str, counts: Counts) -> Entry:
    return Entry(
        name=f"amazon-2014-{short}",
        title=f"Amazon 2014 5-core, {category.replace('_', ' ')}",
        sources=(Web(f"{AMAZON_2014}/reviews_{category}_5.json.gz", checksum=None),),
        licence=MCAULEY_TERMS,
        kcore=5,
        split="random",
        counts=counts,
        notes="no published checksum: verified by its known counts; a set of the MRL4Rec paper",
    )


_ENTRIES = (
    Entry(
        name="ml-100k",
        title="MovieLens 100K",
        sources=(
            Web(
                f"{MOVIELENS}/ml-100k.zip",
                "md5:0e33842e24a9c977be4e0107933c0723",
                member="ml-100k/u.data",
            ),
            Wheel(
                "recbole",
                "1.2.1",
                "recbole/dataset_example/ml-100k/ml-100k.inter",
                "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            ),
        ),
        licence=GROUPLENS_TERMS,
        kcore=0,
        split="random",
        counts=Counts(100_000, 943, 1_682),
        notes="every user has at least 20 ratings",
    ),
    Entry(
        name="ml-1m",
        title="MovieLens 1M",
        sources=(
            Web(
                f"{MOVIELENS}/ml-1m.zip",
                "md5:c4d9eecfca2ab87c1945afe126590906",
                member="ml-1m/ratings.dat",
            ),
        ),
        licence=GROUPLENS_TERMS,
        kcore=0,
        split="random",
        counts=Counts(1_000_209, 6_040, 3_706),
        notes="every user has at least 20 ratings",
    ),
    Entry(
        name="retailrocket",
        title="RetailRocket, events of a web shop",
        sources=(
            Web(
                "https://www.kaggle.com/api/v1/datasets/download/retailrocket/ecommerce-dataset",
                checksum=None,
                member="events.csv",
            ),
        ),
        licence="CC BY-NC-SA 4.0",
        kcore=5,
        split="random",
        rows=2_756_101,
        sequence_split="by_user",
        notes="no published checksum: verified by its published number of rows; not downloaded by "
        "this project yet, so that users and items were not counted; views, carts and purchases "
        "are interactions alike",
    ),
    _amazon("phones", "Cell_Phones_and_Accessories", Counts(194_439, 27_879, 10_429)),
    _amazon("sports", "Sports_and_Outdoors", Counts(296_337, 35_598, 18_357)),
    _amazon("tools", "Tools_and_Home_Improvement", Counts(134_476, 16_638, 10_217)),
    Entry(
        name="planted",
        title="Generated: tastes planted as groups within groups, truth known",
        sources=(Generated(Planted(repeats=600, duplicates=300, bad=100)),),
        licence="none needed",
        kcore=5,
        split="random",
        counts=Counts(60_600, 2_000, 1_500),
        notes="offline; the truth lies beside the dump",
    ),
)
CATALOG: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def entry(name: str) -> Entry:
    """The entry of this name. Raises UsageError with the nearest names."""
    if name not in CATALOG:
        raise UsageError(f"no data set {name!r} in the catalogue: {nearest(name, CATALOG)}")
    return CATALOG[name]
