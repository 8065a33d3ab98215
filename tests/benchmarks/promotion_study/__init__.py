"""How often the decision errs, and sees a gain: ``python -m tests.benchmarks.promotion_study``.

A/A: both sides are seeds of one recipe, so whoever is promoted is promoted by mistake. A/B: the
challenger is the same recipe with a better model's scores mixed in, so that it is better by a known
share.
Results and what they mean: docs/promotion.md.
"""
