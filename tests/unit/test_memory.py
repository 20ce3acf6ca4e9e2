"""Memory grows neither with the number of images that are scored nor with the size of the cache that is trained from."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

BEGIN = """
import sys
from pathlib import Path
import numpy as np, torch
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.core import Dataset, Sample
from segstudy.data.cache.packed import Pieces, PiecesWriter, Rows
from segstudy.train.loop import keep_freed_memory, peak_memory_mb, reset_peak_memory

count, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
keep_freed_memory()  # as segstudy run does

def split_of(size, native_labels=None):
    for name, shape in (("images", (count, size, size, 3)), ("labels", (count, size, size))):
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape).flush()  # takes no room on the disk
    samples = tuple(Sample(str(k), folder, folder) for k in range(count))
    dataset = Dataset("d", tuple("ab"), ((0, 0, 0),) * 2, {}, labels_of=None)
    rows = Rows(folder / "images.npy"), Rows(folder / "labels.npy")
    return CachedSplit(dataset, "test", samples, *rows, "", native_labels)
"""

SCORE = """
from segstudy.evaluate import count_split
from segstudy.networks.build import build_network
from segstudy.schema import Model, ScoringRules

writer = PiecesWriter(folder / "native.zlib", count, 0)
for k in range(count):
    writer.write(k, np.zeros((40, 36), np.uint8))
writer.finish()
writer.close()
data = split_of(32, Pieces(folder / "native.zlib"))
network = build_network(Model(arch="linknet", encoder="resnet18", weights="none"), 2, 0)
reset_peak_memory()
counts = count_split(network, data, torch.device("cpu"), "native", ScoringRules())
assert counts["confusion"].shape == (count, 2, 2)
assert counts["confusion"].sum() == count * 40 * 36
assert counts["confusion_input"].sum() == count * 32 * 32
print(peak_memory_mb())
"""

FEED = """
from segstudy.data.cache.batches import Feed
feed = Feed(split_of(256), 16, None, 0, torch.device("cpu"))
batch = next(feed.epoch(0))  # whatever the first one needs
reset_peak_memory()
before = peak_memory_mb()
for step, (images, labels) in enumerate(feed.epoch(1)):
    if step == 50:
        break
print(peak_memory_mb() - before)
"""


def measured(script, count, folder):
    folder.mkdir()
    command = [sys.executable, "-W", "ignore", "-c", BEGIN + script, str(count), str(folder)]
    without_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # what is measured is the process's own memory
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=without_gpu)
    return float(done.stdout)


def test_scoring_100_and_500_images_takes_the_same_memory(tmp_path):
    """3 % are about 17 MB, 44 KB for each of the 400 images more; the counts of one are 1 KB."""
    with ThreadPoolExecutor(2) as pool:  # two processes of one thread each
        few, many = pool.map(measured, (SCORE, SCORE), (100, 500), (tmp_path / "few", tmp_path / "many"))
    assert abs(many - few) / few < 0.03


def test_batches_from_5_gb_of_images_take_the_memory_of_a_few_batches(tmp_path):
    """16 images of 256 px are 21 MB as floats and labels; three such batches are alive at a time, and their bytes."""
    assert measured(FEED, 20_000, tmp_path / "large") < 100
