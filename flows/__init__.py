"""Prefect flows: wiring only, no data is touched here."""
