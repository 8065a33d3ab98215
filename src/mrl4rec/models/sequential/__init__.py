"""Families that read a user's items in order, and learn how to make a vector of them."""
