"""Whatever differs beside the studied factor is said, and nothing else is."""

import copy

import pytest

from segstudy.guard import differing as differing_records
from segstudy.records import RunRecord

RECORD = {
    "precision": "32-true",
    "data_fingerprints": {"train": "aa", "select": "bb"},
    "environment": {
        "python": "3.11.7",
        "system": "Linux x86_64",
        "gpu": None,
        "cpu_threads": 2,
        "packages": {"torch": "2.13.0", "timm": "1.0.31"},
    },
}


def differing(first, second, declared=()):
    """What differs between plain records, as they lie on disk."""
    sides = [[RunRecord.parse(record) for record in side] for side in (first, second)]
    return differing_records(*sides, declared)


def changed(path, value):
    record = copy.deepcopy(RECORD)
    *parents, last = path
    target = record
    for part in parents:
        target = target[part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return record


def test_equal_runs_differ_in_nothing():
    assert differing([RECORD, RECORD], [copy.deepcopy(RECORD)]) == []


@pytest.mark.parametrize(
    ("path", "value", "phrase"),
    [
        (("precision",), "bf16-mixed", "precision 32-true against bf16-mixed"),
        (("data_fingerprints", "train"), "cc", "training data differ"),
        (("data_fingerprints", "select"), "cc", "data that choose the epoch differ"),
        (("environment", "gpu"), "NVIDIA H100", "GPU none against NVIDIA H100"),
        (("environment", "system"), "Darwin arm64", "system Linux x86_64 against Darwin arm64"),
        (("environment", "python"), "3.12.1", "Python 3.11.7 against 3.12.1"),
        (("environment", "cpu_threads"), 8, "processor threads 2 against 8"),
        (("environment", "packages", "torch"), "2.14.0", "torch 2.13.0 against 2.14.0"),
        (("environment", "packages", "timm"), None, "timm 1.0.31 against none"),
        (("environment", "packages", "segstudy"), "0.2", "segstudy none against 0.2"),
        (("imported_from",), {"file": "x.pth"}, "trained elsewhere, imported from none against x.pth"),
    ],
)
def test_each_difference_is_said_alone(path, value, phrase):
    assert differing([RECORD], [changed(path, value)]) == [phrase]


def test_one_seed_that_differs_is_enough():
    other = changed(("environment", "packages", "torch"), "2.14.0")
    assert differing([RECORD, RECORD], [RECORD, other]) == ["torch 2.13.0 against 2.13.0 and 2.14.0"]


def test_a_declared_precision_is_no_surprise_but_everything_else_still_is():
    other = changed(("precision",), "bf16-mixed")
    other["environment"]["gpu"] = "H100"
    assert differing([RECORD], [other], ["recipe.precision"]) == ["GPU none against H100"]


def test_a_run_that_is_missing_is_no_difference():
    assert differing([], [RECORD]) == differing([RECORD], []) == []
