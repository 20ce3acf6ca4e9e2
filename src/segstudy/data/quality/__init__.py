"""What can be wrong with images, masks and pairs, and pictures of them for people."""
