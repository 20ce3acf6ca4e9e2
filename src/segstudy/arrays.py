"""Names of the arrays that pass between modules.

``Labels`` are class indices, ``uint8`` (h, w), 255 being ignored. ``Counts`` are additive integers, ``int64``, one
leading axis for each image where there is one. A ``Confusion`` matrix has the true class in rows and the predicted class
in columns, ``int64`` (..., c, c). ``Values`` are numbers made of counts, ``float64``, NaN where undefined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]
Confusion = NDArray[np.int64]
Values = NDArray[np.float64]
