"""What the stages compute, as SQL on one of two engines. No commits and no paths here."""
