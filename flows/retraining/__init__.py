"""The rooms of a retraining: what is new, who challenges, who wins, what is remembered of it."""
