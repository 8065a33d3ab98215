"""Models that are fitted as a whole, without epochs: the same interface as a trained one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mrl4rec.errors import Mrl4recError
from mrl4rec.interactions import Csr, Interactions
from mrl4rec.methods import Ease, EaseSvd, Fitted, Ials, ItemCf, Method, Popularity, Rp3Beta, Slim
from mrl4rec.scorers import CountModel, FactorModel, ItemItemModel, Scorer


def fit(
    method: Method,
    data: Interactions,
    folds: tuple[str, ...],
    seed: int | None = None,
    device: str = "cpu",
) -> Scorer:
    """Fit a method on the pairs of these folds; ``seed`` is for those that are not deterministic.

    ``device`` is not looked at by those that a GPU has no part in (``Method.on_device``).

    Raises Mrl4recError where there is no pair, too little memory, or no such method.
    """
    seen = data.csr(*folds)
    if len(seen.indices) == 0:
        raise Mrl4recError(
            f"there is no pair to fit on in {' and '.join(folds)}", where="table splits"
        )
    if isinstance(method, Fitted):
        return method.fit(data, folds, 0 if seed is None else seed)
    if type(method) not in _FITS:
        raise Mrl4recError(f"{method.name} is no closed-form method")
    return _FITS[type(method)](method, seen, 0 if seed is None else seed, device)


def _popularity(method: Popularity, seen: Csr, seed: int, device: str) -> Scorer:
    from mrl4rec.closed_form.popularity import counts

    return CountModel(counts(seen), seen.n_rows)


def _ease(method: Ease, seen: Csr, seed: int, device: str) -> Scorer:
    from mrl4rec.closed_form.ease import weights

    return ItemItemModel(weights(seen, method.lam, device), seen)


def _item_cf(method: ItemCf, seen: Csr, seed: int, device: str) -> Scorer:
    from mrl4rec.closed_form.neighbours import item_cf

    return ItemItemModel(item_cf(seen, method.shrink), seen)


def _rp3beta(method: Rp3Beta, seen: Csr, seed: int, device: str) -> Scorer:
    from mrl4rec.closed_form.neighbours import rp3beta

    return ItemItemModel(rp3beta(seen, method.alpha, method.beta), seen)


def _slim(method: Slim, seen: Csr, seed: int, device: str) -> Scorer:
    from mrl4rec.closed_form.slim import weights

    return ItemItemModel(weights(seen, method.l1, method.l2, method.sweeps), seen)


def _ials(method: Ials, seen: Csr, seed: int, device: str) -> Scorer:
    from mrl4rec.closed_form.ials import Weights, fit
    from mrl4rec.ranking.rotation import rotate

    wanted = Weights(method.a0, method.lam, method.nu)
    users, items = fit(seen, method.dim, wanted, method.sweeps, seed, device)
    if method.rotated:
        users, items = rotate(users, items)
    return FactorModel(users, items, widths=method.widths(None))


def _ease_svd(method: EaseSvd, seen: Csr, seed: int, device: str) -> Scorer:
    from mrl4rec.closed_form.ease_svd import vectors

    users, items = vectors(seen, method.lam, method.dim, device)
    return FactorModel(users, items, widths=method.widths(None))


_FITS: dict[type[Method], Callable[[Any, Csr, int, str], Scorer]] = {
    Popularity: _popularity,
    Ease: _ease,
    ItemCf: _item_cf,
    Rp3Beta: _rp3beta,
    Slim: _slim,
    Ials: _ials,
    EaseSvd: _ease_svd,
}
