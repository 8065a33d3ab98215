"""A trained model on disk: a folder, complete in itself, there whole or not at all.

::

    model.json           the card: what it is, how it was made, and the digest of every file
    model.safetensors    factors: user_vectors, item_vectors and, with layers, *_0
                         mixture: user_concepts, item_vectors, mixing
                         item_item: weights (dense) or weights.* (CSR), history.*
                         counts: counts
    users.parquet        user_id, in the order of the rows
    items.parquet        item_id
    seen.safetensors     indptr, indices: the pairs it was trained on; left out in evaluation
    consumed.safetensors indptr, indices: all pairs known, also held-out ones; left out in serving

No pickle anywhere. A folder is written beside its place, synced, and renamed into it.
"""

from mrl4rec.models.model_folder.card import CONSUMED, ITEMS, MODEL, SEEN, USERS, ModelCard
from mrl4rec.models.model_folder.store import Loaded, digest, is_complete, load, read_card, save
from mrl4rec.models.model_folder.tensors import Ids

__all__ = [
    "CONSUMED",
    "ITEMS",
    "MODEL",
    "SEEN",
    "USERS",
    "Ids",
    "Loaded",
    "ModelCard",
    "digest",
    "is_complete",
    "load",
    "read_card",
    "save",
]
