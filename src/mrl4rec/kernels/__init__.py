"""Loops compiled for the CPU (numba) and their counterparts on tensors."""

from mrl4rec.core import home

home.ensure()  # numba looks for a folder to cache in when a loop is declared, and fails without
