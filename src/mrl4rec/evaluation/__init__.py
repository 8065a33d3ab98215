"""Exact ranking, metrics, significance, rotation, hierarchy."""
