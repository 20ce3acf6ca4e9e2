"""No test asks a model hub: what needs one is tested against a server on loopback, in a process of its own."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
# Tests run in two processes: threads of one would wait for those of the other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
