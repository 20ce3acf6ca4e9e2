"""Datasets: readers, splits, cache and batches."""
