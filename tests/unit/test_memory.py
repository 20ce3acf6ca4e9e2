"""Memory of an evaluation does not grow with the number of images."""

import subprocess
import sys

MEASURE = """
import sys
from pathlib import Path
import numpy as np, torch
from segstudy.data.cache import CachedSplit, Rows
from segstudy.data.core import Dataset, Sample
from segstudy.evaluate import count_split
from segstudy.models import build_network
from segstudy.schema import Model
from segstudy.train import keep_freed_memory, peak_memory_mb, reset_peak_memory

count, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
keep_freed_memory()  # as segstudy run does
for name, shape in (("images", (count, 32, 32, 3)), ("labels", (count, 32, 32))):
    np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape).flush()
samples = tuple(Sample(str(k), folder, folder) for k in range(count))
dataset = Dataset("d", tuple("abcde"), ((0, 0, 0),) * 5, {}, labels_of=None)
data = CachedSplit(dataset, "test", samples, Rows(folder / "images.npy"), Rows(folder / "labels.npy"), "")
network = build_network(Model(arch="linknet", encoder="resnet18", weights="none"), 5, 0)
reset_peak_memory()
counts = count_split(network, data, torch.device("cpu"), "input")
assert counts.shape == (count, 5, 5)
assert counts.sum() == count * 32 * 32
print(peak_memory_mb())
"""


def peak_mb(count, folder):
    folder.mkdir()
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, str(count), str(folder)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_200_and_2000_images_take_the_same_memory(tmp_path):
    few, many = peak_mb(200, tmp_path / "few"), peak_mb(2000, tmp_path / "many")
    assert abs(many - few) / few < 0.10
