"""Decoded images and masks on disk, and the batches that are read from them."""
