"""TIFF of any numbers and channels, through rasterio, which is GDAL: what Pillow cannot read, or reads only in part."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

from segstudy.errors import DataError


@contextlib.contextmanager
def opened(path: Path, page: int = 0) -> Any:
    """A TIFF, or one of its pages, counted from 0, that is opened and not decoded."""
    rasterio = rasterio_module()
    place = f"GTIFF_DIR:{page + 1}:{path}" if page else path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            file = rasterio.open(place, driver="GTiff")
    except Exception as error:  # whatever GDAL meets in damaged bytes
        kind = "unreadable" if path.is_file() else "missing"
        raise DataError(f"{path}: cannot be read as GeoTIFF ({error})", kind) from None
    with file:
        yield file


def rasterio_module() -> Any:
    """The package rasterio; where it is not installed, an error that says how to."""
    try:
        import rasterio
        import rasterio.windows
    except ImportError:
        raise DataError("the reader 'geotiff' needs rasterio; pip install 'segstudy[geotiff]'") from None
    return rasterio
