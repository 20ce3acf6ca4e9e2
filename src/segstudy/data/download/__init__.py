"""Known datasets, and how to download them."""
