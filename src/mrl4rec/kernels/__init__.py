"""Loops compiled for the CPU (numba) and their counterparts on tensors."""
