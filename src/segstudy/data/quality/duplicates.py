"""Images that occur twice in a dataset, exactly or nearly, within a split and across splits.

Equal pixels have equal hashes. For near duplicates (resized, compressed or brightened again, cropped or turned a little,
mirrored, the next frame of a video) each of three steps looks closer at the pairs that the one before left over:

1. all pairs, by difference hashes of the image and of its mirror image: 512 bits, each saying which of two places that lie
   2/16 of a side apart, to the right or down, is the brighter one;
2. the best correlation over small shifts at 32 pixels;
3. the correlation at 64 pixels after one image was aligned with the other by an affine map, which must hold too for what
   each image has of its own: details that the images of a set share, such as a fundus camera's rim and the eye's disc on
   either side, are no evidence.

Correlations are of details, that is, of what is left when a blurred copy is taken away: all images of one kind of scene
have their shading in common. Dark margins are cut off first, and dark pixels are left out, since the black surround
of an endoscope's picture would make all pictures alike. The bounds were chosen on Kvasir-SEG, whose different images are as
alike as any; ``bench/duplicates.py`` shows what they find and miss there.

Array letters: ``h`` height, ``w`` width, ``p`` pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_hexdigest

from segstudy.data.core import Dataset, Sample
from segstudy.data.threads import in_threads

HASH_SIDE, STEP = 16, 2
PRINTED_PX, THUMBNAIL_PX, COARSE_PX = 256, 64, 32
MAX_DISTANCE = 120  # bits of 512
MIN_COARSE, MIN_SIMILARITY = 0.4, 0.6
MIN_OWN = 0.4  # correlation of the details that are not shared by the set
SAME_SHARE = 0.1  # an image with less of its own is the picture that the whole set shows
MIN_SET, MAX_SET = 6, 512  # fewest images that show shared details, and most that are used for it
MAX_SHIFT_PX = 5  # of COARSE_PX
DARK = 24  # grey level up to which a pixel shows nothing
MIN_BRIGHT = (
    0.15  # share of pixels that are not dark: in a row that is not a margin, in an image that is no night scene
)
PAIRS_AT_ONCE = 4096

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ImagePrint:
    """The data that find an image's duplicates: about 4 kB, whatever its size.

    ``content`` is a hash of the decoded pixels, and the image's size: equal for equal files, and for different files of the
    same pixels. ``bits`` are the difference hashes of the image and of its mirror image, ``uint64``
    (2, 8).
    ``thumbnail`` is grey, ``uint8`` (64, 64), without dark margins.
    """

    content: str
    bits: NDArray[np.uint64]
    thumbnail: Pixels


@dataclass(frozen=True)
class DuplicatePair:
    """Two images of a dataset that are one, or nearly.

    ``kind`` is ``same`` for equal pixels, else ``near``. ``splits`` are those of ``first`` and ``second``.
    ``similarity`` is the correlation of their details after alignment, from 0.6 to 1; 1 for equal pixels. ``mirrored``
    says that the one is like the other's mirror image.
    """

    kind: Literal["same", "near"]
    first: Sample
    second: Sample
    splits: tuple[str, str]
    similarity: float
    mirrored: bool = False

    @property
    def crosses(self) -> bool:
        """Whether the two stand in different splits, so that one split has seen an image of the other."""
        return self.splits[0] != self.splits[1]


def shrunk(rgb: Pixels, side_px: int = 384) -> Pixels:
    """An image (h, w, 3) by means over whole blocks of pixels, each side at least ``side_px`` and less than twice as long.

    Smaller sides stay as they are. OpenCV takes means over parts of pixels many times as long, so these are left to what is
    small already. Less than a block at the lower and right edge is left out.
    """
    down, across = (max(length // side_px, 1) for length in rgb.shape[:2])
    if down == across == 1:
        return rgb
    return _resized(
        rgb[: len(rgb) // down * down, : rgb.shape[1] // across * across], rgb.shape[1] // across, len(rgb) // down
    )


def fingerprint_image(rgb: Pixels, small: Pixels | None = None) -> ImagePrint:
    """The data for comparing an image with others.

    It is taken from an image that is decoded anyway, and may be taken in parallel threads.

    Parameters
    ----------
    rgb
        ``uint8`` (h, w, 3), of any size.
    small
        The same as :func:`shrunk` gives it, where that is at hand.

    Source: difference hash as Krawetz, "Kind of Like That", 2013, in both directions and over wider steps, which small
    crops and turns change less.

    """
    small = shrunk(rgb) if small is None else small
    grey = _without_margins(_squared(np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))))
    thumbnail = _resized(grey, THUMBNAIL_PX, THUMBNAIL_PX)
    across, down = (
        _resized(thumbnail, *size) for size in ((HASH_SIDE + STEP, HASH_SIDE), (HASH_SIDE, HASH_SIDE + STEP))
    )
    rises = [_rises(across, down), _rises(across[:, ::-1], down[:, ::-1])]
    bits = np.packbits(rises, axis=1).view(np.uint64)
    return ImagePrint(f"{xxh3_128_hexdigest(np.ascontiguousarray(rgb).data)} {rgb.shape}", bits, thumbnail)


def _squared(grey: Pixels) -> Pixels:
    """A picture at 256 x 256: bilinearly at twice that, then means of four pixels, a fifth of the time of area means."""
    twice = cv2.resize(grey, (2 * PRINTED_PX, 2 * PRINTED_PX), interpolation=cv2.INTER_LINEAR)
    return _resized(np.asarray(twice), PRINTED_PX, PRINTED_PX)


def _rises(across: Pixels, down: Pixels) -> NDArray[np.bool_]:
    """Whether brightness rises over each step to the right, then over each step down."""
    right = across[:, STEP:] > across[:, :-STEP]
    return np.concatenate([right.ravel(), (down[STEP:] > down[:-STEP]).ravel()])


def find_duplicates(dataset: Dataset, prints: Mapping[str, ImagePrint]) -> list[DuplicatePair]:
    """Find all pairs of images that are equal, or near duplicates.

    Parameters
    ----------
    dataset
        Gives the samples and their splits.
    prints
        By sample id; a sample without one (its image cannot be read, say) is left out.

    Returns
    -------
    list
        Equal pixels first, then by falling similarity, then in the order of the dataset's samples.

    """
    placed = [(sample, split) for split, part in dataset.splits.items() for sample in part if sample.id in prints]
    own = [prints[sample.id] for sample, _ in placed]
    found = [(i, j, 1.0, False) for i, j in _equal_pairs(own)]
    kinds: list[Literal["same", "near"]] = ["same"] * len(found)
    near = sorted(_near_pairs(own), key=lambda pair: (-pair[2], pair[:2]))
    kinds += ["near"] * len(near)
    return [
        DuplicatePair(kind, placed[i][0], placed[j][0], (placed[i][1], placed[j][1]), similarity, mirrored)
        for kind, (i, j, similarity, mirrored) in zip(kinds, [*found, *near], strict=True)
    ]


def _equal_pairs(prints: Sequence[ImagePrint]) -> list[tuple[int, int]]:
    places: dict[str, list[int]] = {}
    for index, each in enumerate(prints):
        places.setdefault(each.content, []).append(index)
    return sorted(pair for same in places.values() for pair in combinations(same, 2))


def _near_pairs(prints: Sequence[ImagePrint]) -> list[tuple[int, int, float, bool]]:
    """Indices, similarity and whether mirrored, of all pairs of unequal pixels that pass the three steps."""
    if len(prints) < 2:
        return []
    first_p, second_p, mirrored_p = _like_hashes(np.stack([each.bits for each in prints]))
    unequal = [prints[i].content != prints[j].content for i, j in zip(first_p, second_p, strict=True)]
    first_p, second_p, mirrored_p = first_p[unequal], second_p[unequal], mirrored_p[unequal]
    like = _coarse_correlation(prints, first_p, second_p, mirrored_p) >= MIN_COARSE
    pairs = list(zip(first_p[like].tolist(), second_p[like].tolist(), mirrored_p[like].tolist(), strict=True))

    shared = _shared_details(prints)

    def compare(pair: tuple[int, int, bool]) -> float:
        # The map is sought from one of the two to the other, and which is which must not depend on the images' order.
        one, other = sorted((prints[pair[0]], prints[pair[1]]), key=lambda each: each.content)
        second = np.ascontiguousarray(other.thumbnail[:, ::-1]) if pair[2] else other.thumbnail
        return aligned_correlation(one.thumbnail, second, shared)

    similarities = in_threads(compare, pairs)
    return [(i, j, s, m) for (i, j, m), s in zip(pairs, similarities, strict=True) if s >= MIN_SIMILARITY]


def _shared_details(prints: Sequence[ImagePrint]) -> Floats:
    """Details (k, 64, 64) that the images of a set share, orthonormal; none where a set is too small to tell.

    They are the mean of what is the same in images and their mirror images, and the principal component of what is
    opposite in them: together these hold a pattern that some images show to the left and others to the right.
    """
    chosen = sorted(prints, key=lambda each: each.content)
    chosen = chosen[:: -(-len(chosen) // MAX_SET)] if chosen else []
    if len({each.content for each in chosen}) < MIN_SET:
        return np.empty((0, THUMBNAIL_PX, THUMBNAIL_PX), np.float32)
    details = np.stack([np.where(_shown(each.thumbnail, 5), _fine(each.thumbnail), 0) for each in chosen])
    even, odd = (details + details[..., ::-1]).mean(axis=0), (details - details[..., ::-1]).reshape(len(details), -1)
    _, vectors = np.linalg.eigh(odd @ odd.T)
    both = np.stack([even, (vectors[:, -1] @ odd).reshape(even.shape)])
    lengths = np.linalg.norm(both, axis=(1, 2), keepdims=True)
    return np.asarray(both / np.maximum(lengths, 1e-6), np.float32)  # even and odd are orthogonal


def _own_details(thumbnail: Pixels, shared: Floats) -> Floats:
    """Details of a thumbnail without those that its set shares, each taken away as strongly as the image has it."""
    details = _fine(thumbnail)
    strengths = np.tensordot(shared, np.where(_shown(thumbnail, 5), details, 0), axes=([1, 2], [0, 1]))
    return np.asarray(details - np.tensordot(strengths, shared, axes=1), np.float32)


def _fine(thumbnail: Pixels) -> Floats:
    return _details(thumbnail.astype(np.float32), 4)


def _like_hashes(bits: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """First and second index, and whether the mirror image is closer, of pairs within ``MAX_DISTANCE`` bits."""
    found = []
    plain, turned = np.ascontiguousarray(bits.transpose(1, 2, 0))  # (8, images), so that a word of all lies together
    rows = max(1, 2**17 // len(bits))
    for start in range(0, len(bits), rows):
        own = plain[:, start : start + rows]
        distances, turned_distances = _differing_bits(own, plain[:, start:]), _differing_bits(own, turned[:, start:])
        i, j = np.nonzero(np.minimum(distances, turned_distances) <= MAX_DISTANCE)
        i, j = i[i < j], j[i < j]
        found.append((i + start, j + start, turned_distances[i, j] < distances[i, j]))
    first, second, mirrored = zip(*found, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(mirrored)


def _differing_bits(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Hamming distances (some, others) of hashes given as (words, some) and (words, others)."""
    total = np.zeros((some.shape[1], others.shape[1]), np.uint16)
    for word, other in zip(some, others, strict=True):
        total += np.bitwise_count(word[:, None] ^ other)
    return total


def _coarse_correlation(
    prints: Sequence[ImagePrint],
    first_p: NDArray[np.intp],
    second_p: NDArray[np.intp],
    mirrored_p: NDArray[np.bool_],
) -> Floats:
    """The best correlation of details over small shifts, of each pair, by Fourier transforms."""
    used, places = np.unique(np.concatenate([first_p, second_p]), return_inverse=True)
    first_p, second_p = places[: len(first_p)], places[len(first_p) :]
    details = np.array([_coarse_details(prints[k].thumbnail) for k in used]).reshape(-1, COARSE_PX, COARSE_PX)
    plain, turned = np.fft.rfft2(details), np.fft.rfft2(details[..., ::-1])
    shifts = np.r_[0 : MAX_SHIFT_PX + 1, -MAX_SHIFT_PX:0]
    best = np.zeros(len(first_p), np.float32)
    for start in range(0, len(first_p), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        i, j = first_p[part], second_p[part]
        other = np.where(mirrored_p[part, None, None], turned[j], plain[j])
        correlation = np.fft.irfft2(plain[i] * other.conj(), s=(COARSE_PX, COARSE_PX))
        best[part] = correlation[:, shifts[:, None], shifts].max(axis=(1, 2))
    return best


def _coarse_details(thumbnail: Pixels) -> Floats:
    """Details of a thumbnail at ``COARSE_PX``, without dark pixels, of mean 0 and length 1 (or all 0)."""
    grey = _resized(thumbnail, COARSE_PX, COARSE_PX)
    shown = _shown(grey, 3)
    details = _details(grey.astype(np.float32), 3)
    details = np.where(shown, details - details[shown].mean(), np.float32(0))
    return details / max(float(np.linalg.norm(details)), 1e-6)


def aligned_correlation(first: Pixels, second: Pixels, shared: Floats | None = None) -> float:
    """Correlation of two thumbnails' details after the second was laid on the first by an affine map; 0 if it cannot be.

    It is 0 too where details of near duplicates are alike only in what is ``shared``.

    Parameters
    ----------
    first, second
        Grey, ``uint8`` (64, 64).
    shared
        Details (k, 64, 64) of all images of the set.

    Source: the map is found as in Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation
    coefficient maximization", IEEE TPAMI 30(10), 2008.

    """
    shown, other_shown = (_shown(each, 5).astype(np.uint8) for each in (first, second))
    still, moving = first.astype(np.float32), np.ascontiguousarray(second, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-3)
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, affine = cv2.findTransformECCWithMask(still, moving, shown, other_shown, start, cv2.MOTION_AFFINE, stop, 3)
    except cv2.error:  # it does not converge, as for most images that have nothing in common
        return 0.0
    both = (shown > 0) & (_moved(other_shown, affine, cv2.INTER_NEAREST) > 0)
    area = abs(float(np.linalg.det(affine[:, :2])))
    if both.sum() < 0.5 * min(shown.sum(), other_shown.sum()) or not 0.5 < area < 2:
        return 0.0  # laid on one another only by leaving most of them out
    details, moved = _details(still, 4)[both], _details(_moved(moving, affine, cv2.INTER_LINEAR), 4)[both]
    similarity = _correlation(details, moved)
    if similarity >= MIN_SIMILARITY and shared is not None and len(shared):
        own = _own_details(first, shared)[both]
        other_own = _moved(_own_details(second, shared), affine, cv2.INTER_LINEAR)[both]
        if np.linalg.norm(own) > SAME_SHARE * np.linalg.norm(details) and _correlation(own, other_own) < MIN_OWN:
            return 0.0
    return similarity


def _moved(picture: NDArray[Any], affine: NDArray[Any], how: int) -> Floats:
    """A picture (64, 64) laid on another by an affine map."""
    size, flags = (THUMBNAIL_PX, THUMBNAIL_PX), how | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_CONSTANT if how == cv2.INTER_NEAREST else cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(picture, affine, size, flags=flags, borderMode=border), np.float32)


def _correlation(a: Floats, b: Floats) -> float:
    """Pearson's correlation; 0 where one of the two does not vary."""
    a, b = a - a.mean(), b - b.mean()
    length = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return min(float(a @ b) / length, 1.0) if length > 1e-3 else 0.0


def _details(grey: Floats, sigma_px: float) -> Floats:
    return grey - np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma_px), dtype=np.float32)


def _shown(grey: Pixels, rim_px: int) -> NDArray[np.bool_]:
    """Pixels that are not dark nor next to dark ones; all of them, where too few would be left."""
    bright = cv2.erode((grey > DARK).astype(np.uint8), np.ones((rim_px, rim_px), np.uint8)).astype(bool)
    return bright if bright.mean() >= MIN_BRIGHT else np.ones_like(bright)


def _without_margins(grey: Pixels) -> Pixels:
    """Cut off rows and columns at the rim that are dark nearly all along, unless nothing much would be left."""
    bright = (grey > DARK).view(np.uint8)
    shares = (cv2.reduce(bright, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() for axis in (1, 0))
    rows, columns = (np.flatnonzero(share > MIN_BRIGHT) for share in shares)
    if min(len(rows), len(columns)) < THUMBNAIL_PX:
        return grey
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _resized(picture: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
