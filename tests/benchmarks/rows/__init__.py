"""The measurements: each a function of the context that answers rows."""
