"""Questions about several vectors a user, as claims that rows of sequences are held against.

They are judged like the claims of the paper (``claims``): paired by user, corrected together.
"""

from __future__ import annotations

from mrl4rec.evaluation.cut import ROTATED
from mrl4rec.reporting.claims import NARROW, Claim, Side, against, versus

TITLE = "Questions about several interests"
NESTED = ("SASRec", "ComiRec-SA", "MTMI")
"""Trained plain and nested."""
EQUAL = ((4, 16), (8, 32), (16, 64))
"""Widths at which four vectors and one have as many numbers."""


def _nested(method: str) -> Claim:
    nested, rotated = f"{method}@mrl", method + ROTATED
    return Claim(
        f"nested vectors of {method} beat plain ones that are rotated, cut to a width",
        "nested",
        tuple((f"at {w}", Side(nested, w), Side(rotated, w)) for w in NARROW),
    )


QUESTIONS = (
    Claim("four vectors a user beat one of as many numbers", "several vectors",
          versus("MTMI", "MTMI-K1-wide")),
    Claim("… also cut to as many numbers a user, both rotated", "several vectors",
          tuple((f"4 × {w} for {wide}", Side("MTMI" + ROTATED, w),
                 Side("MTMI-K1-wide" + ROTATED, wide)) for w, wide in EQUAL)),
    Claim("four vectors a user beat one of the same length", "several vectors",
          versus("MTMI", "MTMI-K1")),
    Claim("more vectors are better", "several vectors",
          tuple((f"{a} for {b}", Side(more), Side(fewer)) for a, more, b, fewer in (
              (2, "MTMI-K2", 1, "MTMI-K1"), (4, "MTMI", 2, "MTMI-K2"), (8, "MTMI-K8", 4, "MTMI")))),
    Claim("weighing distances by their inverses beats the nearest vector alone (argmax)", "loss",
          versus("MTMI", "MTMI-argmax")),
    Claim("… and the mean distance (alpha 0)", "loss", versus("MTMI", "MTMI-alpha0")),
    Claim("driving a user's vectors apart helps (beta above 0)", "loss",
          versus("MTMI", "MTMI-beta0")),
    Claim("MTMI beats the other models with several vectors", "models",
          against("MTMI", ("MIND", "ComiRec-DR", "ComiRec-SA", "REMI"))),
    Claim("models with several vectors beat the strongest with one", "models",
          tuple((f"{several} against {single}", Side(several), Side(single))
                for several in ("ComiRec-SA", "MTMI") for single in ("SASRec", "eSASRec"))),
    Claim("… and a mean of the history (YouTubeDNN)", "models",
          tuple((several, Side(several), Side("YouTubeDNN"))
                for several in ("ComiRec-SA", "MTMI"))),
    Claim("models beat the last item's neighbours", "models",
          tuple((method, Side(method), Side("LastItem"))
                for method in ("SASRec", "ComiRec-SA", "MTMI"))),
    Claim("negatives by popularity, corrected, beat uniform ones", "negatives",
          versus("ComiRec-SA", "ComiRec-SA-uniform")),
    Claim("… and those of the batch", "negatives", versus("ComiRec-SA", "ComiRec-SA-in-batch")),
    Claim("a softmax over all items beats one over a sample", "negatives",
          versus("SASRec", "SASRec-sampled")),
    *map(_nested, NESTED),
    Claim("nested training is better at full width too", "nested",
          tuple((method, Side(f"{method}@mrl"), Side(method)) for method in NESTED)),
)  # fmt: skip
