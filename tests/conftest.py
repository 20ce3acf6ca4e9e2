"""No test asks a model hub: what needs one is tested against a server on loopback, in a process of its own."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
