"""Additive integers for each image: everything that is counted of a predicted and a true mask."""
