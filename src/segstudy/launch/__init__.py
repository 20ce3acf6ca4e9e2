"""Carry out a plan: what is missing, one run, where."""
