"""Synthetic scenes: streets, endoscopies and people, drawn from a random generator and written by ``synthetic``."""
