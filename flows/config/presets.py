"""What to run for each of the paper's tables, and for the questions it leaves open, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mrl4rec.core.errors import UsageError, nearest

FULL = "4,8,16,32,64"
DEFAULT_LEVELS = (FULL,)
DEFAULT_METHODS = ("Pop", "EASE", "BPR", "BPR-D", "BPR-M", "MRL-D", "MRL-M", "MRL-M@lightgcn-1")
"""What is run where no method is named."""
LEVEL_SETS = ("32,64", "16,32,64", "8,16,32,64", FULL)
"""Table 4's 2 to 5 levels. Only that of 5 is printed; the suffixes for fewer are a guess."""
WIDTHS = (4, 8, 16, 32, 64, 128, 256)
"""A model is evaluated at those that it has."""
AUTHORS_SEED = 2022
THREE = (2022, 2023, 2024)
FIVE = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Preset:
    """A benchmark by name. Whatever is asked for besides wins over it."""

    meaning: str
    methods: tuple[str, ...]
    protocol: str
    seeds: tuple[int, ...]
    levels: tuple[str, ...] = (FULL,)
    widths: tuple[int, ...] = ()
    """Widths to evaluate every model with vectors at; empty: those of its method."""
    rotate: bool = False
    """Whether to evaluate each of them once more, rotated."""
    optional: tuple[str, ...] = ()
    """Methods that are left out where the data lack what they need, instead of refused."""
    more_seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Further seeds of single methods."""

    def values(self) -> dict[str, Any]:
        """What it says of a request, by the request's own names."""
        said = {name: getattr(self, name) for name in ("methods", "levels", "protocol", "seeds")}
        said["more_seeds"] = tuple(
            f"{method}={','.join(map(str, seeds))}" for method, seeds in self.more_seeds.items()
        )
        more = {name: getattr(self, name) for name in ("widths", "rotate", "optional")}
        return {name: value for name, value in {**said, **more}.items() if value}


_TABLE_2 = ("BCE", "BPR", "SSM", "UIB", "UIB-mrl4rec", "DAU", "DAU-cosine", "MVAE", "DGCF", "DENS",
            "DENS-mrl4rec", "DCCF", "MRL-M")  # fmt: skip
_OWN = ("DAU-own", "BSL-own", "MVAE-own", "DGCF-own", "DCCF-own")
_TABLE_3 = ("BPR-D", "BPR-M", "MRL-D", "MRL-M", "BPR-D80")
_FIGURE_3 = ("BPR-D", "MRL-D", "MRL-M", "iALS", "iALS-wide", "EASE-SVD", "BPR-D#4", "BPR-D#8",
             "BPR-D#16", "BPR-D#32")  # fmt: skip
"""``#16``: trained at that width from the start."""
_STRONG = ("Pop", "ItemCF", "RP3beta", "EASE", "EASE-SVD", "SLIM", "iALS", "iALS-wide", "BSL",
           "XSimGCL", "BPR-D", "MRL-M", "MRL-M@lightgcn-1")  # fmt: skip
_WIDE = ("EASE", "EASE-SVD", "iALS", "iALS-wide#128", "iALS-wide", "iALS-wide#512", "MRL-M")
_SEVERAL = (
    "Pop", "RecentPop", "LastItem", "SeqRules", "ItemCF", "EASE", "GRU4Rec", "SASRec",
    "SASRec-sampled", "SASRec-popular", "SASRec-in-batch", "eSASRec", "YouTubeDNN", "MIND",
    "ComiRec-DR", "ComiRec-SA", "ComiRec-SA-uniform", "ComiRec-SA-in-batch", "REMI", "MTMI",
    "MTMI-K1", "MTMI-K1-wide", "MTMI-K2", "MTMI-K8", "MTMI-alpha0", "MTMI-beta0", "MTMI-argmax",
    "SASRec@mrl", "ComiRec-SA@mrl", "MTMI@mrl",
)  # fmt: skip
_ANSWER = ("MTMI", "MTMI-K1-wide", "MTMI-argmax", "MTMI-beta0", "ComiRec-SA", "SASRec")
"""What the questions about several interests are answered by."""
_SAMPLERS = ("AHNS", "LHANS", "DNS-MN", "MixGCF", "BPR-M", "MRL-D", "BPR-D80")

OF_ITS_METHODS = ("optional", "more_seeds")

PRESETS: Mapping[str, Preset] = {
    "paper-table-2": Preset(
        "every row of the paper's Table 2 with MRL4Rec's settings, as its authors ran them, and "
        "as written where their code differs", _TABLE_2, "paper", (AUTHORS_SEED,),
    ),
    "own-settings": Preset(
        "rows of Table 2 with the settings of their own papers", _OWN, "paper", (AUTHORS_SEED,),
    ),
    "paper-table-3": Preset(
        "Table 3, with the control that Table 3 lacks: DNS with as many candidates as MRL-M draws",
        _TABLE_3, "paper", THREE,
    ),
    "paper-table-4": Preset("Table 4: MRL-M with 2 to 5 levels", ("MRL-M",), "paper", THREE,
                            LEVEL_SETS),
    "paper-figure-3": Preset(
        "Figure 3, recall by width, with what it leaves out: rotated and wide models cut down",
        _FIGURE_3, "paper", THREE, widths=WIDTHS, rotate=True,
    ),
    "strong-baselines": Preset(
        "what a user would pick instead, beside the nested model, under the clean protocol",
        _STRONG, "clean", FIVE,
    ),
    "train-wide": Preset(
        "models trained wide, rotated and cut, beside EASE and the nested model, both ways",
        _WIDE, "clean", FIVE, rotate=True,
    ),
    "all": Preset(
        "every method there is a row for, every level set of Table 4, under the clean protocol",
        tuple(dict.fromkeys((*_STRONG, *_TABLE_2, *_TABLE_3, *_SAMPLERS, *_OWN))), "clean",
        (0, 1, 2), LEVEL_SETS,
    ),
    "multi-interest": Preset(
        "models of sequences with one vector a user and with several, plain, nested and rotated",
        _SEVERAL, "clean", (0,), widths=(4, 8, 16, 32, 64), rotate=True,
        optional=("RecentPop", "EASE"), more_seeds=dict.fromkeys(_ANSWER, (1, 2)),
    ),
    "demo": Preset(
        "the methods of Table 3 beside Pop and EASE, two level sets",
        DEFAULT_METHODS, "clean", (0, 1, 2), (FULL, "16,32,64"),
    ),
}  # fmt: skip


def values(name: str | None, said: Mapping[str, Any]) -> dict[str, Any]:
    """What a preset and the options beside it come to: ``said`` wins where it says something.

    ``name`` None is no preset. Values of None in ``said`` say nothing. Raises UsageError for an
    unknown name.
    """
    explicit = {option: value for option, value in said.items() if value is not None}
    if not name:
        return explicit
    preset = named(name).values()
    if "methods" in explicit:  # the two are of the preset's own methods
        preset = {option: v for option, v in preset.items() if option not in OF_ITS_METHODS}
    if "seeds" in explicit:
        preset.pop("more_seeds", None)
    return {**preset, **explicit}


def named(name: str) -> Preset:
    """The preset of this name, any case. Raises UsageError with the nearest names."""
    found = PRESETS.get(name.strip().lower())
    if found is None:
        raise UsageError(
            f"unknown preset {name!r}", where="--preset", todo=nearest(name.strip(), PRESETS)
        )
    return found
