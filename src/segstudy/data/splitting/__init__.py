"""Who trains and who is reported; which images belong together."""
