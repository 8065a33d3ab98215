"""Spark jobs: pure DataFrame → DataFrame functions, each file with a thin ``main(argv)``."""
