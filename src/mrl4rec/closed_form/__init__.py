"""Models that are solved in one go: the same interface as a trained one."""

from __future__ import annotations

from mrl4rec.errors import Mrl4recError
from mrl4rec.interactions import Interactions
from mrl4rec.methods import Ease, Fitted, Method, Popularity
from mrl4rec.scorers import CountModel, ItemItemModel, Scorer


def fit(method: Method, data: Interactions, folds: tuple[str, ...]) -> Scorer:
    """Solve a closed-form method on the pairs of these folds. Raises Mrl4recError."""
    seen = data.csr(*folds)
    if len(seen.indices) == 0:
        raise Mrl4recError(
            f"there is no pair to fit on in {' and '.join(folds)}", where="table splits"
        )
    if isinstance(method, Fitted):
        return method.fit(data, folds, 0)
    if isinstance(method, Popularity):
        from mrl4rec.closed_form.popularity import counts

        return CountModel(counts(seen), data.n_users)
    if isinstance(method, Ease):
        from mrl4rec.closed_form.ease import weights

        return ItemItemModel(weights(seen, method.lam), seen)
    raise Mrl4recError(f"{method.name} is no closed-form method")
