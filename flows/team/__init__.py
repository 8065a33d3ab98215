"""A team's servers: what is registered on them, and all of them on one machine to try."""
