"""What somebody new does first: install the base alone, run the notebooks and the tutorial."""
