"""Stages as flow runs of their own on work pools: on other machines, for a benchmark that waits."""
