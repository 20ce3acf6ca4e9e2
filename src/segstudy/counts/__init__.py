"""Additive integer counts for each pair of a predicted and a true mask."""
