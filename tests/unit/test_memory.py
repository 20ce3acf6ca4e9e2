"""Memory grows neither with the number of images that are scored nor with the size of the cache that is trained from."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np, torch
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import Feed
from segstudy.data.cache.packed import Pieces, PiecesWriter, Rows
from segstudy.data.core import Dataset, Sample
from segstudy.evaluate import count_split
from segstudy.networks.build import build_network, import_smp
from segstudy.schema import Model, ScoringRules
from segstudy.train.loop import keep_freed_memory, peak_memory_mb, reset_peak_memory

torch.set_num_threads(1)
keep_freed_memory()  # as segstudy run does
import_smp()  # once, for both children that build a network

def split_of(folder, count, size, native_labels=None):
    for name, shape in (("images", (count, size, size, 3)), ("labels", (count, size, size))):
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape).flush()  # takes no room on the disk
    samples = tuple(Sample(str(k), folder, folder) for k in range(count))
    dataset = Dataset("d", tuple("ab"), ((0, 0, 0),) * 2, {}, labels_of=None)
    rows = Rows(folder / "images.npy"), Rows(folder / "labels.npy")
    return CachedSplit(dataset, "test", samples, *rows, "", native_labels)

def score(folder, count):
    writer = PiecesWriter(folder / "native.zlib", count, 0)
    for k in range(count):
        writer.write(k, np.zeros((40, 36), np.uint8))
    writer.finish()
    writer.close()
    data = split_of(folder, count, 32, Pieces(folder / "native.zlib"))
    network = build_network(Model(arch="linknet", encoder="resnet18", weights="none"), 2, 0)
    reset_peak_memory()
    counts = count_split(network, data, torch.device("cpu"), "native", ScoringRules())
    assert counts["confusion"].shape == (count, 2, 2)
    assert counts["confusion"].sum() == count * 40 * 36
    assert counts["confusion_input"].sum() == count * 32 * 32
    return peak_memory_mb()

def feed(folder, count):
    feed = Feed(split_of(folder, count, 256), 16, None, 0, torch.device("cpu"))
    batch = next(feed.epoch(0))  # whatever the first one needs
    reset_peak_memory()
    before = peak_memory_mb()
    for step, (images, labels) in enumerate(feed.epoch(1)):
        if step == 50:
            break
    return peak_memory_mb() - before

for number, (work, count) in enumerate(((score, 100), (score, 500), (feed, 20_000))):
    folder = Path(sys.argv[1]) / str(number)
    folder.mkdir()
    child = os.fork()  # a process of its own, without importing all that again
    if child == 0:
        print(work(folder, count), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """In MB: the most memory that scoring 100 images takes, 500 images, and what 50 batches of 20,000 images add."""
    without_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # what is measured is the process's own memory
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path_factory.mktemp("memory"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=without_gpu)
    return [float(line) for line in done.stdout.splitlines()]


def test_scoring_100_and_500_images_takes_the_same_memory(peaks):
    """3 % are about 17 MB, 44 KB for each of the 400 images more; the counts of one are 1 KB."""
    few, many, _ = peaks
    assert abs(many - few) / few < 0.03


def test_batches_from_5_gb_of_images_take_the_memory_of_a_few_batches(peaks):
    """16 images of 256 px are 21 MB as floats and labels; three such batches are alive at a time, and their bytes."""
    _, _, more = peaks
    assert more < 100
