"""Damaged masks and tables: 1,000 mutated files are read or refused in one message, and no image is dropped in silence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import save
from mutations import TIMES, attempt, mutated
from segstudy.data.readers import supervisely
from segstudy.data.stored import facts_of, read_stored

FORMATS = {"PNG": 200, "TIFF": 200, "JPEG": 200, "GIF": 200}  # inputs of each
TABLES = 200


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")  # Pillow skips tags that lead out of the file, with a warning
@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_mask_is_read_or_refused_by_name(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 3, (12, 15), np.uint8)).save(stream, form)
    path = tmp_path / f"mask.{form.lower()}"
    for number in range(TIMES * FORMATS[form]):
        path.write_bytes(mutated(stream.getvalue(), rng))
        facts, refusal = attempt(lambda: facts_of(read_stored(path)))
        assert str(path) in refusal if facts is None else sum(facts.counts.values()) > 0, number


def test_a_damaged_table_drops_no_image(tmp_path: Path) -> None:
    """Every row is a sample or a fault; where the table itself is broken, one message names it."""
    rng = np.random.default_rng(1)
    for k in range(4):
        save(tmp_path / "i" / f"{k}.png", np.full((2, 2, 3), k, np.uint8))
        save(tmp_path / "m" / f"{k}.png", np.array([[0, 255], [0, 0]], np.uint8))
    table = tmp_path / "df.csv"
    whole = "\n".join([",images,masks,collages", *(f"{k},i/{k}.png,m/{k}.png,c" for k in range(4))]).encode()
    for number in range(TIMES * TABLES):
        table.write_bytes(mutated(whole, rng))
        dataset, refusal = attempt(lambda: supervisely.read("d", tmp_path))
        if dataset is None:
            assert any(word in refusal for word in ("df.csv", "train", "samples")), number
        else:
            rows = len(table.read_bytes().strip().splitlines()) - 1
            assert dataset.faults or len(dataset.samples("all")) == rows, number
