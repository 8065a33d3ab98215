"""What is expected of a trained model's folder: its arrays fit its card and say something."""

from __future__ import annotations

from mrl4rec.tables.expectation import Expectation, Suite, none

SPREAD_FLOOR = 0.01
"""Least spread of the rows about their mean, as a share of their root mean square."""
RANK_FLOOR = 1.1
"""Least effective rank of the centred rows: 1 is a line, and a line cannot rank by taste."""
COSINE_LIMIT = 0.95
"""Mean cosine between a user's vectors above which they say the same."""

_EVERY = (
    none("folder_whole", "folder_amiss", "the folder is whole and loads as it was written"),
    none("shapes", "shapes_amiss", "every array has the shape that model.json and the ids tell"),
    none("ids", "ids_amiss", "the ids are those of the split's users and items, in their order"),
    none("finite", "values_not_finite", "every value is finite: no NaN, no infinity"),
    none("not_zero", "arrays_all_zero", "no array is all zeros"),
)


def _side(side: str) -> tuple[Expectation, ...]:
    return (
        Expectation(
            f"{side}s_spread",
            f"{side}_spread",
            f"the {side} vectors differ from each other (spread over root mean square)",
            low=SPREAD_FLOOR,
        ),
        Expectation(
            f"{side}s_rank",
            f"{side}_rank",
            f"the {side} vectors do not lie on one line (effective rank, Roy and Vetterli 2007)",
            low=RANK_FLOOR,
        ),
    )


FACTORS_SUITE = Suite("vectors", ("models",), (*_EVERY, *_side("user"), *_side("item")))
MIXTURE_SUITE = Suite(
    "vectors",
    ("models",),
    (
        *FACTORS_SUITE.expectations,
        none("shares", "shares_amiss", "each item's shares of the concepts are ≥ 0 and sum to 1"),
    ),
)
INTERESTS_SUITE = Suite(
    "vectors",
    ("models",),
    (
        *FACTORS_SUITE.expectations,
        Expectation(
            "interests_differ",
            "mean_cosine",
            "the mean cosine between a user's vectors is below the limit: they have not become one",
            high=COSINE_LIMIT,
            warns=True,
        ),
    ),
)
ITEM_ITEM_SUITE = Suite(
    "vectors",
    ("models",),
    (*_EVERY, none("diagonal_zero", "diagonal_not_zero", "no item recommends itself")),
)
COUNTS_SUITE = Suite(
    "vectors",
    ("models",),
    (*_EVERY, none("counts_not_negative", "counts_negative", "no count is negative")),
)
VECTOR_SUITES = {
    "factors": FACTORS_SUITE,
    "sequential": INTERESTS_SUITE,
    "mixture": MIXTURE_SUITE,
    "item_item": ITEM_ITEM_SUITE,
    "counts": COUNTS_SUITE,
}
"""By the scorer's kind."""
