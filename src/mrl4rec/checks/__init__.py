"""Gates between the stages, and drift of new dumps."""
