"""One file a layout of images and masks on disk."""
