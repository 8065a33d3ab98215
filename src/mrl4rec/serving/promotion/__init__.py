"""Whether a new model takes the place of the one in service: duel, decision, evidence."""
