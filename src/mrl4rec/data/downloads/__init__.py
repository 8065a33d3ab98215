"""Fetching the catalogue's data sets: verified, resumed, landed whole, and never in silence."""

from mrl4rec.data.downloads.bring import Fetched, fetch

__all__ = ["Fetched", "fetch"]
