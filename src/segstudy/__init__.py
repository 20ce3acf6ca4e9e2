"""Controlled semantic-segmentation studies."""
