"""Known datasets, and how one gets into place."""
