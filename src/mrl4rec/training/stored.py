"""A trained model of a warehouse, as its folder and its split have it."""

from __future__ import annotations

import logging

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data import interactions, known
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import CONSUMED, Loaded

log = logging.getLogger("mrl4rec")


def load(settings: Settings, folder: AnyPath) -> Loaded:
    """The model in a folder, with all pairs of its split as what users have had.

    Folders of earlier versions hold the pairs that were trained on alone: the held-out ones are
    read from the split that the card names, while it is in the warehouse. Raises as
    ``model_folder.load``.
    """
    loaded = model_folder.load(folder)
    card, versions = loaded.card, dict(loaded.card.versions)
    key = versions.pop("split_key", None)
    here = settings.storage.model_dir(card.dataset, card.stage_key)
    if (folder / CONSUMED).exists() or key is None or folder.resolve() != here.resolve():
        return loaded
    try:
        split = Commit("split", key, "splits", versions.pop("splits"), versions)
        data = interactions.load(settings, card.dataset, split)
        consumed = known.consumed(settings, card.dataset, split, data)
    except (Mrl4recError, KeyError) as error:
        log.warning(
            "%s was made by an earlier version and its split is gone (%s): held-out items are not "
            "left out of its lists", folder, error,
        )  # fmt: skip
        return loaded
    return loaded._replace(consumed=consumed)
