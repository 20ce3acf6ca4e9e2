"""Images and masks by glob patterns with placeholders, and proposals of patterns from the names in a folder.

``images: "{split}/img/{id}_photo.tif"`` with ``masks: "{split}/gt/{id}_mask.gif"``: ``*`` stands for any part of a name,
``**/`` for any folders, ``{name}`` for a part of a name that the mask's path has too. In ``masks``, ``{stem}`` is the
image's name without suffix and ``{folder}`` the image's folder. ``{split}`` says which split an image belongs to.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from segstudy.data.core import IMAGE_SUFFIXES, Sample
from segstudy.data.quality.faults import Fault
from segstudy.data.quality.pairing import common_start, hidden_images
from segstudy.errors import DataError, listing

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SPLIT_OF = {alias: split for split, aliases in SPLIT_NAMES.items() for alias in aliases}
IMAGE_NAMES = ("images", "image", "imgs", "img", "jpegimages", "photos", "rgb", "inputs", "input")
MASK_NAMES = (
    *("masks", "mask", "labels", "label", "gt", "gts", "groundtruth", "ground_truth", "annotations", "annotation"),
    *("annots", "annot", "segmentationclass", "segmentation", "segmentations", "seg", "1st_manual", "manual1"),
    *(
        "targets",
        "target",
        "mask_images",
        "labelcol",
        "labelstr",
        "labelsts",
        "cls",
        "y",
        "semantic",
        "semantics",
        "lbl",
        "lbls",
    ),
)
Suffixes = tuple[str, ...]
MARKS = (
    *("_mask", "_masks", "_gt", "_label", "_labels", "_seg", "_segmentation", "_groundtruth", "_annotation", "_L"),
    *("_anno", "_annot", "_annotated", "_target", "_trimap", ".gt", ".label", "_train_id", "_labelIds"),
    *(
        "-mask",
        ".mask",
        "-label",
        "-seg",
        "_GT",
        "_lab",
        "_manual1",
        "_bin",
        "_truth",
        "_m",
        "_1stHO",
        "_manual",
        "_mask_gt",
    ),
)
STARTS = (("volume", "segmentation"), ("image", "label"), ("image", "mask"), ("img", "mask"), ("img", "label"))
ENDS = (
    *(("_sat", "_mask"), ("_image", "_label"), ("_image", "_mask"), ("_img", "_mask"), ("_img", "_label")),
    *(("_rgb", "_gt"), ("_rgb", "_mask"), ("_rgb", "_label"), ("_photo", "_mask")),
)
UNLIKELY = {
    "color",
    "colour",
    "colors",
    "colours",
    "instance",
    "instances",
    "instanceids",
    "vis",
    "panoptic",
    "track",
    "tra",
}
OUTPUTS = ("runs", "report", "cache", "track")  # of a study's output folder
MAX_FILES = 200_000  # looked through to propose patterns
MAX_FOLDERS = 60  # compared with each other to propose patterns
PLACEHOLDER = re.compile(r"\{(\w+)(?::0(\d+))?\}")  # in masks, {id:05} is filled up with zeros to five letters
TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\{\w+\}|[^*?{]+|\{")


def files_below(root: Path) -> list[str]:
    """Paths of files below ``root``, relative with forward slashes, sorted; hidden ones and what segstudy writes are left out."""
    found = []
    seen: set[str] = set()  # real places, as links may lead in a circle
    for folder, folders, names in os.walk(root, followlinks=True):
        made = OUTPUTS if "study.yaml" in names and "runs" in folders else ()
        shown = [name for name in sorted(folders) if not name.startswith((".", "__MACOSX")) and name not in made]
        real = {name: os.path.realpath(Path(folder, name)) for name in shown}
        folders[:] = [name for name in shown if real[name] not in seen]
        seen |= set(real.values())
        base = Path(folder).relative_to(root).as_posix()
        prefix = "" if base == "." else base + "/"
        sheets = {f"{Path(name).stem}-images.jpg" for name in names if name.endswith((".yaml", ".yml"))}
        found += [prefix + name for name in names if not name.startswith(".") and name not in sheets]
    return sorted(found)


def pairs_by_pattern(
    root: Path,
    images: str,
    masks: str,
    image_suffixes: Suffixes = IMAGE_SUFFIXES,
    mask_suffixes: Suffixes = IMAGE_SUFFIXES,
) -> tuple[list[tuple[Sample, str]], list[Fault]]:
    """Samples with the split in their path (empty if there is none), and files that fit no pair.

    Raises
    ------
    DataError
        For patterns that lead out of the folder or cannot be filled, and where no image or no pair is found.

    """
    images, masks = as_patterns(images, masks)
    return _paired(root, images, masks, image_suffixes, mask_suffixes)


def as_patterns(images: str, masks: str) -> tuple[str, str]:
    """Patterns for what may be folders too; refuses what leads out of the root, and placeholders that images do not fill."""
    if not re.search(r"[*?{]", images):
        images = f"{images.rstrip('/')}/**/*"
    if not PLACEHOLDER.search(masks):
        masks = f"{masks.rstrip('/')}/{{below}}{{stem}}.*"
    for key, pattern in (("images", images), ("masks", masks)):
        parts = PurePosixPath(pattern)
        if parts.is_absolute() or ".." in parts.parts or "\\" in pattern:
            raise DataError(f"{key}: '{pattern}' must be a path below root, with forward slashes")
    names = {name for name, _ in PLACEHOLDER.findall(images)} | {"stem", "folder", "below"}
    if unknown := sorted({name for name, _ in PLACEHOLDER.findall(masks)} - names):
        raise DataError(
            f"masks: '{masks}' has the placeholder {{{unknown[0]}}}, which images does not fill; images has "
            f"{listing(sorted('{' + name + '}' for name in names - {'below'}))}"
        )
    return images, masks


def _paired(
    root: Path, images: str, masks: str, image_suffixes: Suffixes, mask_suffixes: Suffixes
) -> tuple[list[tuple[Sample, str]], list[Fault]]:
    files = files_below(root)
    regex = pattern_regex(images)
    fixed = fixed_folder(images)
    found = [(path, match) for path in files if (match := regex.fullmatch(path))]
    unread = [path for path, _ in found if not _ends(path, (*image_suffixes, *mask_suffixes))]
    lookup = _Lookup(files, mask_suffixes)
    mask_of: dict[str, str] = {}
    values_of: dict[str, dict[str, str]] = {}
    for path, match in found:
        if _ends(path, image_suffixes):
            values_of[path] = placeholder_values(path, match.groupdict(), fixed, image_suffixes)
            mask_of[path] = lookup.one(masks, values_of[path])
    are_masks = {mask for path, mask in mask_of.items() if mask and mask != path}
    lone = [path for path in mask_of if not mask_of[path] and path not in are_masks]
    samples: dict[str, tuple[Sample, str]] = {}
    faults = [_fault(root, "left-out", unread, "their suffix is not read")] if unread else []
    for path, mask in mask_of.items():
        if path in are_masks or not mask or mask == path:
            continue
        split = values_of[path].get("split", "")
        key = _bare(path, image_suffixes)
        if key in samples:
            text = f"differs from '{samples[key][0].image.name}' only in its suffix; keep one of the two"
            faults.append(Fault("same-name", text, root / path, SPLIT_OF.get(split, ""), key))
        else:
            samples[key] = (Sample(key, root / path, root / mask), split)
    for path in lone:
        wanted = filled(masks, values_of[path])
        text = f"no mask '{wanted}'; add the mask or move the image away"
        faults.append(Fault("image-without-mask", text, root / path, sample=_bare(path, image_suffixes)))
    faults += strange_images(root, files, set(mask_of) | are_masks, image_suffixes)
    faults += hidden_images(root, image_suffixes)
    faults += _lone_masks(root, files, masks, are_masks | set(mask_of), mask_suffixes)
    if not samples:
        held = f"; it holds {listing(files, 4)}" if files else ""
        what = f"{len(lone)} images fit images: '{images}'" if lone else f"no image fits images: '{images}'"
        raise DataError(f"{root}: {what}, none has a mask by masks: '{masks}'{held}")
    return list(samples.values()), faults


class _Lookup:
    """Files by folder, to find the one that a filled pattern names."""

    def __init__(self, files: Sequence[str], suffixes: Suffixes) -> None:
        self.files = set(files)
        self.suffixes = suffixes
        self.names: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for path in files:
            folder, _, name = path.rpartition("/")
            self.names[folder][name.partition(".")[0]].append(name)

    def one(self, template: str, values: Mapping[str, str]) -> str:
        """The only file that fits, or an empty string; several are a :class:`DataError`."""
        path = filled(template, values)
        if not re.search(r"[*?]", path):
            return path if path in self.files else ""
        folder, _, pattern = path.rpartition("/")
        if re.search(r"[*?]", folder):
            raise DataError(f"masks: '{template}' has '*' in a folder's name; use placeholders there")
        literal = re.split(r"[*?]", pattern)[0]
        at = self.names.get(folder, {})
        near = at.get(literal.partition(".")[0], []) if "." in literal else [n for each in at.values() for n in each]
        fit = [
            name
            for name in near
            if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")) and _ends(name, self.suffixes)
        ]
        if len(fit) > 1:
            raise DataError(
                f"masks: '{template}' fits several files for one image: {listing(fit, 3)}; say which is meant, "
                'or name the files of each class, such as masks: {foreground: "gt/{stem}_*.png"}'
            )
        return f"{folder}/{fit[0]}".lstrip("/") if fit else ""


def fixed_folder(images: str) -> str:
    """The folder in which all images lie, whatever a pattern's placeholders stand for."""
    return images[: min(images.find(mark) % (len(images) + 1) for mark in "*?{")].rpartition("/")[0]


def placeholder_values(path: str, captured: Mapping[str, str], fixed: str, suffixes: Suffixes) -> dict[str, str]:
    """Values of a mask's placeholders for one image."""
    place = PurePosixPath(path)
    folder = "" if str(place.parent) == "." else str(place.parent)
    below = folder.removeprefix(fixed).strip("/")
    return {**captured, "stem": _bare(place.name, suffixes), "folder": folder, "below": below + "/" if below else ""}


def filled(template: str, values: Mapping[str, str]) -> str:
    """A mask's pattern for one image."""
    text = PLACEHOLDER.sub(lambda match: values[match[1]].zfill(int(match[2] or 0)), template)
    return text.replace("//", "/").removeprefix("/")


def pattern_regex(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern; a repeated placeholder must match the same text."""
    seen: set[str] = set()
    parts = []
    for token in TOKEN.findall(pattern):
        if token == "**/":
            parts.append("(?:.*/)?")
        elif token == "**":
            parts.append(".*")
        elif token == "*":
            parts.append("[^/]*")
        elif token == "?":
            parts.append("[^/]")
        elif PLACEHOLDER.fullmatch(token):
            name = token[1:-1]
            if not name.isidentifier():
                raise DataError(f"images: '{pattern}': {token} is no placeholder; begin its name with a letter")
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
            seen.add(name)
        else:
            parts.append(re.escape(token))
    return re.compile("".join(parts))


def _ends(path: str, suffixes: Suffixes) -> bool:
    return path.lower().endswith(suffixes)


def _bare(path: str, suffixes: Suffixes) -> str:
    """A path without its suffix, such as ``.png`` or ``.nii.gz``."""
    longest = max((end for end in suffixes if path.lower().endswith(end)), key=len, default="")
    return path[: len(path) - len(longest)]


def _fault(root: Path, kind: str, paths: Sequence[str], why: str) -> Fault:
    text = f"{len(paths)} files are left out, as {why}: {listing(paths, 3)}; convert them or move them away"
    return Fault(kind, text, root, severity="warning")


def strange_images(root: Path, files: Iterable[str], known: set[str], suffixes: Suffixes) -> list[Fault]:
    """A fault for images that fit neither pattern."""
    left = [path for path in files if path not in known and _ends(path, suffixes)]
    if not left:
        return []
    text = f"{len(left)} files fit neither images: nor masks: and are left out: {listing(left, 3)}; widen the patterns"
    return [Fault("left-out", text, root, severity="warning")]


def _lone_masks(root: Path, files: Iterable[str], masks: str, taken: set[str], suffixes: Suffixes) -> list[Fault]:
    """Faults of files that look like masks but belong to no image."""
    pattern = pattern_regex(PLACEHOLDER.sub("*", masks).replace("*", "**").replace("****", "**").replace("//", "/"))
    return [
        Fault("mask-without-image", "no image for this mask; add the image or move the mask away", root / path)
        for path in files
        if path not in taken and _ends(path, suffixes) and pattern.fullmatch(path)
    ]


def propose(
    root: Path, image_suffixes: Suffixes = IMAGE_SUFFIXES, mask_suffixes: Suffixes = IMAGE_SUFFIXES
) -> dict[str, str]:
    """``images`` and ``masks`` for a folder whose names differ by more than the suffix; empty where none are clear."""
    files = files_below(root)[:MAX_FILES]
    images = [path for path in files if _ends(path, image_suffixes)]
    masks = [path for path in files if _ends(path, mask_suffixes)]
    return _side_by_side(images, masks, image_suffixes, mask_suffixes) or _two_folders(images, masks)


def _side_by_side(
    images: Sequence[str], masks: Sequence[str], image_suffixes: Suffixes, mask_suffixes: Suffixes
) -> dict[str, str]:
    """Masks that lie with their images and are marked by an ending, such as ``a.jpg`` and ``a_mask.png``, or by a start."""
    stems = {_bare(path, image_suffixes): path for path in images}
    best: dict[str, str] = {}
    most = 1
    for mark in dict.fromkeys((*MARKS, *(mark.title() for mark in MARKS), *(mark.upper() for mark in MARKS))):
        bare = [(_bare(path, mask_suffixes), path) for path in masks]
        pairs = [
            (stems[stem.removesuffix(mark)], path)
            for stem, path in bare
            if stem.endswith(mark) and stem.removesuffix(mark) in stems
        ]
        if len(pairs) > most and 3 * len(pairs) >= len(images):
            most = len(pairs)
            image_end = _only([image[len(_bare(image, image_suffixes)) :] for image, _ in pairs], ".*")
            mask_end = _only([mask[len(_bare(mask, mask_suffixes)) :] for _, mask in pairs], ".*")
            folder, mask_folder = _folders_of([image for image, _ in pairs])
            best = {"images": f"{folder}*{image_end}", "masks": f"{mask_folder}{{stem}}{mark}{mask_end}"}
    return best or _by_start(images, set(masks)) or _by_end(images, set(masks))


def _by_start(images: Sequence[str], masks: set[str]) -> dict[str, str]:
    """Masks that lie with their images and whose names begin otherwise, such as ``volume-1.nii`` and ``segmentation-1.nii``."""
    for one, other in STARTS:
        places = [path.rpartition("/") for path in images]
        found = [f"{f}{mark}{name}" for f, mark, name in places if f"{f}{mark}{other}{name.removeprefix(one)}" in masks]
        found = [path for path in found if path.rpartition("/")[2].startswith(one)]
        if len(found) > 1 and 3 * len(found) >= len(images):
            end = _only([path.rpartition("/")[2].partition(".")[1:] for path in found], ("", ""))
            suffix = "".join(end) or ".*"
            mark = "" if all(PurePosixPath(path).stem == one for path in found) else "{id}"
            return {"images": f"**/{one}{mark}{suffix}", "masks": f"{{folder}}/{other}{mark}{suffix}"}
    return {}


def _by_end(images: Sequence[str], masks: set[str]) -> dict[str, str]:
    """Masks that lie with their images and whose names end otherwise, such as ``1_sat.jpg`` and ``1_mask.png``."""
    for one, other in (*ENDS, ("", "")):
        for suffix in IMAGE_SUFFIXES if one or other else (".jpg", ".jpeg"):
            bare = [path.removesuffix(one + suffix) for path in images if path.endswith(one + suffix)]
            found = [stem for stem in bare if f"{stem}{other}.png" in masks]
            if len(found) > 1 and 3 * len(found) >= len(images) and f"{one}{suffix}" != f"{other}.png":
                folder, mask_folder = _folders_of([path for path in images if path.removesuffix(one + suffix) in found])
                return {"images": f"{folder}{{id}}{one}{suffix}", "masks": f"{mask_folder}{{id}}{other}.png"}
    return {}


def _folders_of(images: Sequence[str]) -> tuple[str, str]:
    """The folder in the patterns of images and of masks that lie with them: none, that of a split, or any."""
    folders = {image.rpartition("/")[0] for image in images}
    if folders == {""}:
        return "", ""
    if all(folder.lower() in SPLIT_OF for folder in folders):
        return "{split}/", "{split}/"
    return "**/", "{folder}/"


def _only(items: Sequence[Any], otherwise: Any) -> Any:
    return items[0] if len(set(items)) == 1 else otherwise


def _two_folders(images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Folders of images and of masks whose names agree but for what all of them begin and end with."""
    of_images, of_masks = _by_folder(images), _by_folder(masks)
    found: Counter[tuple[str, str]] = Counter()
    for one in of_images:
        for other in of_masks:
            own = [set(a.split("/")) - set(b.split("/")) for a, b in ((one, other), (other, one))]
            if looks_like_masks("/".join(sorted(own[1]))) and not looks_like_masks("/".join(sorted(own[0]))):
                pattern = _pattern_of(of_images[one], of_masks[other])
                if pattern and _share_a_place(one, other):
                    ways = (_with_split, _with_split_above)
                    for each in dict.fromkeys(
                        (way(pattern[0]), own_way(pattern[1])) for way in ways for own_way in ways
                    ):
                        found[each] += len(of_images[one])
    if not found:
        return {}
    best = min(found, key=lambda pattern: (*_unlikely(pattern[1]), -found[pattern]))
    image_pattern, mask_pattern = _widened(best, found)
    return {"images": image_pattern, "masks": mask_pattern}


def _unlikely(pattern: str) -> tuple[int, int]:
    """How many words in the folder and in the name of masks say that these are made for people, or for instances."""
    folder, _, name = pattern.lower().rpartition("/")
    return len(UNLIKELY & set(re.split(r"[^a-z]+", folder))), len(UNLIKELY & set(re.split(r"[^a-z]+", name)))


def _widened(best: tuple[str, str], found: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """A pair of patterns that takes in others that differ from it in one folder.

    Where image and mask lie in folders of one name (``Rural``, ``Urban``), that is a placeholder; where images of one folder
    of masks lie in several, what these have in common and an asterisk.
    """
    others = [each for each in found if each != best]
    for word in sorted(set(best[0].split("/")[:-1]) & set(best[1].split("/")[:-1])):
        wide = tuple(_replaced(pattern, word, "{part}") for pattern in best)
        for other in others:
            names = set(other[0].split("/")[:-1]) & set(other[1].split("/")[:-1])
            if "{" not in word and any(
                tuple(_replaced(each, name, "{part}") for each in other) == wide for name in names
            ):
                return wide[0], wide[1]
    folder, _, name = best[0].rpartition("/")
    alike = [each[0].rpartition("/")[0] for each in others if each[1] == best[1] and each[0].rpartition("/")[2] == name]
    folders = [folder, *(each for each in alike if each.count("/") == folder.count("/"))]
    start = common_start(folders)
    end = common_start([each[start:][::-1] for each in folders])
    middle = [each[start : len(each) - end] for each in folders]
    if len(folders) > 1 and not any("/" in each for each in middle):
        return f"{folder[:start]}*{folder[len(folder) - end :]}/{name}", best[1]
    return best


def _replaced(pattern: str, word: str, by: str) -> str:
    return "/".join(by if part == word else part for part in pattern.split("/"))


def _by_folder(files: Sequence[str]) -> dict[str, list[str]]:
    """Files by folder, for the folders with the most files."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in files:
        found[path.rpartition("/")[0]].append(path)
    return {folder: found[folder] for folder in sorted(found, key=lambda folder: -len(found[folder]))[:MAX_FOLDERS]}


def looks_like_masks(folder: str) -> bool:
    """Whether the words of a path say that masks lie there."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", folder).lower()
    words = {
        word for part in (*folder.lower().split("/"), *apart.split("/")) for word in (part, *re.split(r"[_\-. ]", part))
    }
    return bool(words & {*MASK_NAMES, "truth"})


def _share_a_place(one: str, other: str) -> bool:
    """Whether two folders name the same split, or none."""
    splits = [{SPLIT_OF[w] for w in re.split(r"[/_\-. ]", each.lower()) if w in SPLIT_OF} for each in (one, other)]
    return splits[0] == splits[1]


def _pattern_of(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str] | None:
    """Patterns that pair the files of two folders; None if fewer than four of five names agree."""
    if len(images) < 2 or len(masks) < 2:
        return None
    for keeps in ("[0-9A-Za-z]*", "[0-9]*"):  # what belongs to an id although all have it: words first, then digits
        parts = [_common_parts([PurePosixPath(path).stem for path in paths], keeps) for paths in (images, masks)]
        own, width = parts[0][1], len(parts[1][1][0])
        for mark, names in (("{id}", own), (f"{{id:0{width}}}", [name.zfill(width) for name in own])):
            both = set(names) & set(parts[1][1])
            if 5 * len(both) >= 4 * min(len(images), len(masks)) and "" not in both:
                return _with_mark(images, parts[0], "{id}"), _with_mark(masks, parts[1], mark)
    return None


def _with_mark(paths: Sequence[str], parts: tuple[str, Sequence[str], str], mark: str) -> str:
    folder = paths[0].rpartition("/")[0]
    text = f"{parts[0]}{mark}{parts[2]}{_only([PurePosixPath(path).suffix for path in paths], '.*')}"
    return f"{folder}/{text}" if folder else text


def _common_parts(stems: Sequence[str], keeps: str) -> tuple[str, list[str], str]:
    """Common start, individual middles and common end of names; an id is not cut within ``keeps``."""
    start = re.sub(f"{keeps}$", "", stems[0][: common_start(stems)])
    start = "" if re.match("|".join(SPLIT_OF), start.lower()) else start  # names of other splits begin otherwise
    cut = [stem[len(start) :] for stem in stems]
    backwards = [stem[::-1] for stem in cut]
    end = re.sub(f"^{keeps}", "", backwards[0][: common_start(backwards)][::-1])
    return start, [stem[: len(stem) - len(end)] for stem in cut], end


def _with_split(pattern: str) -> str:
    """A pattern in which the one split that it names is a placeholder."""
    words = [word for word in re.split(r"[/_\-. ]", pattern) if word.lower() in SPLIT_OF]
    if len(set(words)) != 1:
        return pattern
    return re.sub(rf"(^|[/_\-. ]){words[0]}(?=[/_\-. ])", r"\1{split}", pattern)


def _with_split_above(pattern: str) -> str:
    """The same in the folder alone: in a name the word may mean something else, as in ``_train_id``."""
    folder, slash, name = pattern.rpartition("/")
    return _with_split(folder + slash) + name
