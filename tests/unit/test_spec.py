"""The study file: every way of getting it wrong is one plain message with place and key; every right one is exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from segstudy.errors import DataError, SpecError
from segstudy.plan import make_plan
from segstudy.spec import find_path, load_study, packaged_studies, parse_study
from segstudy.study import factor_kind, resolve

STUDY = """\
name: s
protocol: held-out
data:
  road: {reader: cityscapes, root: Roads}
  polyps: {reader: kvasir, root: Polyps}
recipe:
  epochs: 3
  optimizer: {name: sgd, lr: 0.1}
experiments:
  unet: {data: road, model: {arch: unet}}
  deep: {base: unet, change: {model.encoder: resnet101}}
  small: {data: polyps, model: {arch: unet}}
cross_evaluations:
  - {experiment: small, on: road}
seeds: [1, 2]
"""
DEEP = "{base: unet, change: {model.encoder: resnet101}}"


def problems_of(text: str, settings: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_study(text, source="study.yaml", settings=settings)
    return str(caught.value).split("\n")


def edited(old: str, new: str) -> str:
    assert STUDY.count(old) == 1, f"'{old}' does not stand once in the study"
    return STUDY.replace(old, new)


# id: what stands in STUDY, what stands there instead, then every problem: how its line goes on, ... what else is in it
WRONG: dict[str, tuple[str, ...]] = {
    # unknown keys, at each level, with the nearest right name
    "top": (
        "seeds:",
        "seed:",
        "15: seed: unknown key (did you mean 'seeds'?) ... known here: name, title, question, protocol, data, recipe",
    ),
    "top, far from any": (
        "name: s\n",
        "name: s\nqqq: 1\n",
        "2: qqq: unknown key;  ... known here: name, title, question, protocol, data, recipe",
    ),
    "ours, not the file's": (
        "name: s\n",
        "name: s\nsource: x\nfolder: /\n",
        "2: source: unknown key ... known here: name, title, question, protocol, data, recipe",
        "3: folder: unknown key ... known here: name, title, question, protocol, data, recipe",
    ),
    "data": (
        "root: Roads",
        "rot: Roads",
        "4: data.road.root: is required",
        "4: data.road.rot: unknown key (did you mean 'root'?) ... reader, root, num_classes",
    ),
    "classes of one name": (
        "{reader: kvasir, root: Polyps}",
        "{reader: folder, root: Polyps, classes: [a, b, a, c, b, b]}",
        "5: data.polyps.classes: 6 given, a, b more than once; give each class a name of its own",
    ),
    "synthetic": (
        "root: Roads",
        "root: R, synthetic: {size: [8, 8], sed: 1}",
        "4: data.road.synthetic.sed: unknown key (did you mean 'seed'?) ... num_images",
    ),
    "recipe": (
        "epochs: 3",
        "epoch: 3",
        "7: recipe.epoch: unknown key (did you mean 'epochs'?) ... batch_size",
    ),
    "optimizer": (
        "lr: 0.1",
        "learn: 0.1",
        "8: recipe.optimizer.learn: unknown key; known here: name, lr, weight_decay, momentum",
    ),
    "experiment": (
        "{data: road",
        "{dat: road, data: road",
        "10: experiments.unet.dat: unknown key (did you mean 'data'?) ... confounded",
    ),
    "model": (
        "{data: road, model: {arch: unet}}",
        "{data: road, model: {arch: unet, encodr: x}}",
        "10: experiments.unet.model.encodr: unknown key (did you mean 'encoder'?) ... output_stride",
    ),
    "cross-evaluation": (
        "on: road",
        "on: road, maps: {}",
        "14: cross_evaluations.0.maps: unknown key (did you mean 'map'?) ... split",
    ),
    # wrong types
    "number for name": (
        "name: s\n",
        "name: 3\n",
        "1: name: must be text ... in quotes is text ... given: 3",
    ),
    "date for name": (
        "name: s\n",
        "name: 2025-11-23\n",
        "1: name: must be text ... 2025",
    ),
    "text for number": (
        "epochs: 3",
        "epochs: ten",
        "7: recipe.epochs: should be a valid integer ... given: 'ten'",
    ),
    "quoted number": (
        "epochs: 3",
        "epochs: '3'",
        "7: recipe.epochs: should be a valid integer ... given: '3'",
    ),
    "fraction for count": (
        "epochs: 3",
        "epochs: 2.5",
        "7: recipe.epochs: should be a valid integer ... 2.5",
    ),
    "true for count": (
        "epochs: 3",
        "epochs: true",
        "7: recipe.epochs: should be a valid integer ... given: True",
    ),
    "nothing for count": (
        "epochs: 3",
        "epochs:",
        "7: recipe.epochs: should be a valid integer ... given: nothing",
    ),
    "text for truth": (
        "epochs: 3",
        "deterministic: 'yes'",
        "7: recipe.deterministic: must be true or false ... 'yes'",
    ),
    "value for mapping": (
        "recipe:\n  epochs: 3\n  optimizer: {name: sgd, lr: 0.1}",
        "recipe: fast",
        "6: recipe: must hold keys and values ... 'fast'",
    ),
    "list for mapping": (
        "{reader: kvasir, root: Polyps}",
        "[kvasir]",
        "5: data.polyps: must hold keys and values ... given: a list",
    ),
    "nothing for mapping": (
        "recipe:\n  epochs: 3\n  optimizer: {name: sgd, lr: 0.1}",
        "recipe:",
        "6: recipe: must hold keys and values ... nothing",
    ),
    "number for list": (
        "seeds: [1, 2]",
        "seeds: 42",
        "15: seeds: must be a list ... given: 42",
    ),
    "mapping for list": (
        "seeds: [1, 2]",
        "seeds: {a: 1}",
        "15: seeds: must be a list ... keys and values",
    ),
    "text in list": (
        "seeds: [1, 2]",
        "seeds:\n- 1\n- two",
        "17: seeds.1: should be a valid integer ... 'two'",
    ),
    "number for base": (
        "base: unet",
        "base: 5",
        "11: experiments.deep.base: must be text ... given: 5",
    ),
    "list for change": (
        "{model.encoder: resnet101}",
        "[model.encoder]",
        "11: experiments.deep.change: must hold keys and values ... a list",
    ),
    "keys that are numbers": (
        "  deep:",
        "  101:",
        "11: experiments.101: a key must be text; put it in quotes",
    ),
    "keys that are truths": (
        "name: s\n",
        "name: s\ntrue: 1\n",
        "2: True: a key must be text",
    ),
    "two keys that would be one": (
        "  deep:",
        "  1: {data: road, model: {arch: unet}}\n  '1':",
        "11: experiments.1: a key must be text",
    ),
    # wrong values
    "reader": (
        "reader: cityscapes",
        "reader: cityscape",
        "4: data.road.reader: is 'cityscape', must be  ... 'supervisely' ... (did you mean 'cityscapes'?)",
    ),
    "protocol": (
        "held-out",
        "heldout",
        "2: protocol: is 'heldout', must be 'held-out' or 'paper' (did you mean 'held-out'?)",
    ),
    "optimizer name": (
        "name: sgd",
        "name: adamax",
        "8: recipe.optimizer.name: is 'adamax', must be  ... (did you mean 'adam'?)",
    ),
    "output stride": (
        "{data: road, model: {arch: unet}}",
        "{data: road, model: {arch: unet, output_stride: 32}}",
        "10: experiments.unet.model.output_stride: is '32', must be 8 or 16",
    ),
    "no epochs": (
        "epochs: 3",
        "epochs: 0",
        "7: recipe.epochs: should be greater than 0 ... given: 0",
    ),
    "tiny input": (
        "epochs: 3",
        "input_size: 31",
        "7: recipe.input_size: must be a side or [height, width], each a whole number from 32 to 4096 pixels",
    ),
    "infinite rate": (
        "lr: 0.1",
        "lr: .inf",
        "8: recipe.optimizer.lr: should be a finite number ... inf",
    ),
    "no rate at all": (
        "lr: 0.1",
        "lr: .nan",
        "8: recipe.optimizer.lr: should be a finite number ... nan",
    ),
    "rate beyond floats": (
        "lr: 0.1",
        "lr: 1e999",
        "8: recipe.optimizer.lr: should be a finite number ... inf",
    ),
    "infinite decay": (
        "lr: 0.1",
        "weight_decay: .inf",
        "8: recipe.optimizer.weight_decay: should be a finite number",
    ),
    "whole test fraction": (
        "root: Roads",
        "root: R, test_fraction: 1",
        "4: data.road.test_fraction: should be less than 1",
    ),
    "one class": (
        "root: Roads",
        "root: R, num_classes: 1",
        "4: data.road.num_classes: should be greater than or equal to 2",
    ),
    "huge number": (
        "epochs: 3",
        "epochs: 99999999999999999999",
        "7: recipe.epochs: is a number outside -2^63 to 2^63",
    ),
    "name with a slash": (
        "name: s\n",
        "name: a/b\n",
        "1: name: the name 'a/b' may hold only letters",
    ),
    "name that climbs": (
        "  deep:",
        "  ..:",
        "11: experiments...: the name '..' may hold only letters",
    ),
    "empty name": (
        "  road:",
        "  '':",
        "4: data.: the name '' may hold only letters",
    ),
    "long name": (
        "name: s\n",
        f"name: {'x' * 81}\n",
        "1: name: String should have at most 80 characters",
    ),
    "no seeds": (
        "seeds: [1, 2]",
        "seeds: []",
        "15: seeds: must not be empty",
    ),
    "no data": (
        "data:\n  road: {reader: cityscapes, root: Roads}\n  polyps: {reader: kvasir, root: Polyps}",
        "data: {}",
        "3: data: must not be empty",
    ),
    "repeated seeds": (
        "seeds: [1, 2]",
        "seeds: [1, 2, 1]",
        "15: seeds: a seed is repeated: [1, 2, 1]",
    ),
    "negative seed": (
        "seeds: [1, 2]",
        "seeds: [1, -2]",
        "15: seeds.1: should be greater than or equal to 0 ... -2",
    ),
    # missing
    "without name": (
        "name: s\n",
        "",
        " name: is required",
    ),
    "without experiments": (
        STUDY[STUDY.index("experiments:") : STUDY.index("cross_")],
        "",
        " experiments: is required",
    ),
    "without reader": (
        "reader: cityscapes, ",
        "",
        "4: data.road.reader: is required",
    ),
    "without arch": (
        "{data: road, model: {arch: unet}}",
        "{data: road, model: {encoder: resnet18}}",
        "10: experiments.unet.model.arch: is required",
    ),
    "without model": (
        "{data: road, model: {arch: unet}}",
        "{data: road}",
        "10: experiments.unet: needs model, or base and change",
    ),
    "empty experiment": (
        DEEP,
        "{}",
        "11: experiments.deep: needs data and model, or base and change",
    ),
    "base without change": (
        DEEP,
        "{base: unet}",
        "11: experiments.deep: has a base but no change",
    ),
    "empty change": (
        "{model.encoder: resnet101}",
        "{}",
        "11: experiments.deep: has a base but no change",
    ),
    # YAML
    "twice the same key": (
        "name: s\n",
        "name: s\nname: t\n",
        '2: not valid YAML: found duplicate key "name"',
    ),
    "twice the same experiment": (
        "  small:",
        "  unet:",
        '12: not valid YAML: found duplicate key "unet"',
    ),
    "tab": (
        "  epochs: 3",
        "\tepochs: 3",
        "7: not valid YAML: found character '\\t' that cannot start any token",
    ),
    "open bracket": (
        "[1, 2]",
        "[1, 2",
        "16: not valid YAML: ",
    ),
    "colon in value": (
        "name: s\n",
        "name: s: t\n",
        "1: not valid YAML: mapping values are not allowed here",
    ),
    "unknown alias": (
        "name: s\n",
        "name: *x\n",
        "1: not valid YAML: found undefined alias",
    ),
    "two documents": (
        "recipe:",
        "---\nrecipe:",
        "6: not valid YAML: but found another document",
    ),
    "number that is none": (
        "epochs: 3",
        "epochs: !!int x",
        " not valid YAML: invalid literal for int() with base 10: 'x'",
    ),
    "truth that is none": (
        "epochs: 3",
        "deterministic: !!bool x",
        " not valid YAML: ",
    ),
    "code": (
        "name: s\n",
        "name: !!python/object/apply:os.system [true]\n",
        "1: name: has the YAML tag 'tag:yaml.org,2002:python/object/apply:os.system', which is not supported here",
    ),
    "tag on a mapping": (
        "  optimizer: {",
        "  optimizer: !best {",
        "8: recipe.optimizer: has the YAML tag '!best', which is not supported here",
    ),
    "alias to itself": (
        "optimizer: {name: sgd, lr: 0.1}",
        "optimizer: &o {name: *o}",
        "8: recipe.optimizer.name: is 'None', must be 'adam', 'adamw' or 'sgd'",
    ),
    "bottomless": (
        "seeds: [1, 2]",
        "seeds: " + "[" * 500 + "]" * 500,
        " not valid YAML: maximum recursion depth exceeded",
    ),
    # names that point nowhere
    "base": (
        "base: unet",
        "base: unett",
        "11: experiments.deep.base: no experiment is named 'unett' (did you mean 'unet'?)",
    ),
    "dataset": (
        "{data: road,",
        "{data: roads,",
        "10: experiments.unet.data: no dataset is named 'roads' (did you mean 'road'?)",
    ),
    "crossed experiment": (
        "experiment: small",
        "experiment: smal",
        "14: cross_evaluations.0.experiment: no experiment is named 'smal' (did you mean 'small'?)",
    ),
    "crossed dataset": (
        "on: road",
        "on: moon",
        "14: cross_evaluations.0.on: no dataset is named 'moon'",
    ),
    "crossed twice": (
        "on: road}",
        "on: road}\n  - {experiment: small, on: road}",
        "15: cross_evaluations.1: 'small' is scored on 'road' twice; name each dataset once",
    ),
    "crossed on its own data": (
        "on: road}",
        "on: polyps}",
        "14: cross_evaluations.0.on: 'small' is trained on 'polyps'; name another dataset",
    ),
    "own base": (
        "base: unet",
        "base: deep",
        "11: experiments.deep.base: leads back to itself: deep -> deep",
    ),
    "ring of bases": (
        DEEP,
        "{base: b, change: {recipe.epochs: 4}}\n"
        "  b: {base: c, change: {recipe.epochs: 5}}\n"
        "  c: {base: deep, change: {recipe.epochs: 6}}",
        "11: experiments.deep.base: leads back to itself: deep -> b -> c -> deep",
        "12: experiments.b.base: leads back to itself: b -> c -> deep -> b",
        "13: experiments.c.base: leads back to itself: c -> deep -> b -> c",
    ),
    "base on a ring": (
        DEEP,
        "{base: deep, change: {recipe.epochs: 4}}\n  far: {base: deep, change: {recipe.epochs: 5}}",
        "11: experiments.deep.base: leads back to itself",
    ),
    # changes
    "change without base": (
        DEEP,
        "{data: road, model: {arch: fpn}, change: {recipe.epochs: 4}}",
        "11: experiments.deep.change: needs a base to change",
    ),
    "base and data": (
        DEEP,
        "{base: unet, data: polyps, change: {recipe.epochs: 4}}",
        "11: experiments.deep: has a base, which gives data and model",
    ),
    "second change": (
        "{model.encoder: resnet101}",
        "{model.encoder: resnet101, recipe.epochs: 4}",
        "11: experiments.deep.change: changes 2 things (model.encoder, recipe.epochs), so a difference ... confounded: true",
    ),
    "change to the same": (
        "{model.encoder: resnet101}",
        "{model.encoder: resnet50}",
        "11: experiments.deep.change: changes nothing: model.encoder already has this value in 'unet'",
    ),
    "change back": (
        DEEP,
        f"{DEEP}\n  back: {{base: deep, change: {{model.encoder: resnet101}}}}",
        "12: experiments.back.change: changes nothing: model.encoder already has this value in 'deep'",
    ),
    "change of unknown key": (
        "model.encoder: resnet101",
        "model.encodr: x",
        "11: experiments.deep.change.model.encodr: cannot be changed (did you mean 'model.encoder'?) ... recipe.optimizer.lr",
    ),
    "change of two unknown keys": (
        "model.encoder: resnet101",
        "encoder: x, recipe.epoch: 4",
        "11: experiments.deep.change.encoder: cannot be changed",
        "11: experiments.deep.change.recipe.epoch: cannot be changed (did you mean 'recipe.epochs'?)",
    ),
    "change of data": (
        "model.encoder: resnet101",
        "data.root: x",
        "11: experiments.deep.change.data.root: cannot be changed",
    ),
    "change of protocol": (
        "model.encoder: resnet101",
        "protocol: paper",
        "11: experiments.deep.change.protocol: cannot be changed",
    ),
    "change of a whole mapping": (
        "model.encoder: resnet101",
        "recipe.optimizer: {name: adam}",
        "11: experiments.deep.change.recipe.optimizer: cannot be changed (did you mean 'recipe.optimizer.",
    ),
    "change of the whole model": (
        "model.encoder: resnet101",
        "model: {arch: fpn}",
        "11: experiments.deep.change.model: cannot be changed",
    ),
    "change below a value": (
        "model.encoder: resnet101",
        "model.arch.x: 1",
        "11: experiments.deep.change.model.arch.x: cannot be changed (did you mean 'model.arch'?)",
    ),
    "change to a wrong value": (
        "model.encoder: resnet101",
        "recipe.optimizer.lr: -1",
        "11: experiments.deep.change.recipe.optimizer.lr: should be greater than 0 ... -1",
    ),
    "change to a mapping": (
        "model.encoder: resnet101",
        "model.encoder: {a: 1}",
        "11: experiments.deep.change.model.encoder: must be text ... keys and values",
    ),
    "changes to two wrong values": (
        "model.encoder: resnet101",
        "model.encoder: 101, recipe.optimizer.name: sdg",
        "11: experiments.deep.change.model.encoder: must be text ... given: 101",
        "11: experiments.deep.change.recipe.optimizer.name: is 'sdg' ... (did you mean 'sgd'?)",
    ),
    "base with a wrong value": (
        DEEP,
        "{base: unet, change: {recipe.epochs: -1}}\n  next: {base: deep, change: {recipe.loss: dice}}",
        "11: experiments.deep.change.recipe.epochs: should be greater than 0",
    ),
    "base with an unknown key": (
        DEEP,
        "{base: unet, change: {model.no.such: 1}}\n  next: {base: deep, change: {recipe.loss: dice}}",
        "11: experiments.deep.change.model.no.such: cannot be changed",
    ),
    # several at once
    "one in every part": (
        STUDY[STUDY.index("protocol") : STUDY.index("experiments:")],
        "protocol: p\ndata:\n  road: {reader: r, root: R}\n  polyps: {reader: kvasir, root: ''}\nrecipe: {epochs: x}\n",
        "2: protocol: is 'p'",
        "4: data.road.reader: is 'r'",
        "5: data.polyps.root: String should have at least 1 character",
        "6: recipe.epochs: should be a valid integer",
    ),
    "three names that point nowhere": (
        STUDY[STUDY.index("experiments:") :],
        "experiments:\n  a: {base: b, change: {recipe.epochs: 4}}\n  c: {data: mars, model: {arch: unet}}\nseeds: [3, 3]\n",
        "10: experiments.a.base: no experiment is named 'b'",
        "11: experiments.c.data: no dataset is named 'mars'",
        "12: seeds: a seed is repeated",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_every_fault_is_named_with_its_place_and_key(case: str) -> None:
    old, new, *expected = WRONG[case]
    found = problems_of(edited(old, new))
    assert len(found) == len(expected), found
    for line, wanted in zip(found, expected, strict=True):
        start, *rest = wanted.split(" ... ")
        assert line.startswith(f"study.yaml:{start}")
        assert all(fragment in line for fragment in rest), line


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "words\n", "3\n"])
def test_anything_but_a_mapping_is_refused(text: str) -> None:
    assert problems_of(text) == [
        "study.yaml: a study is a mapping of keys to values (name, data, recipe, experiments ...)"
    ]


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    bomb = "a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n"
    for here, there in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{here}: &{here} [{', '.join([f'*{there}'] * 10)}]\n"
    assert problems_of(bomb) == ["study.yaml: not valid YAML: more than 100,000 keys and entries"]


def test_missing_file_names_the_nearest_study(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"reviw: no such file, and .* demo, .*, review\) \(did you mean 'review'\?\)"):
        load_study("reviw")
    with pytest.raises(SpecError, match=r"none\.yaml: no such file"):
        load_study(tmp_path / "none.yaml")
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpecError, match=r"none\.yaml: no such file"):
        load_study(tmp_path / "file" / "none.yaml")


CROPPED = """
name: crops
data: {spot: {reader: folder, root: spot, classes: [background, polyp]}}
recipe: {crop_px: 64}
experiments:
  base: {data: spot, model: {arch: unet}}
  v: {base: base, change: {CHANGE}}
"""


def test_input_size_cannot_be_what_differs_between_studies_on_crops() -> None:
    with pytest.raises(SpecError, match=r"v\.change\.recipe\.input_size: has no effect while recipe\.crop_px is set"):
        parse_study(CROPPED.replace("CHANGE", "recipe.input_size: 512"))
    parse_study(CROPPED.replace("CHANGE", "recipe.crop_px: 128"))


def test_a_folder_is_no_study_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r": is a folder; give a study file$"):
        load_study(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    with pytest.raises(SpecError, match=r"is a folder; give a study file; this one's is .*study\.yaml$"):
        load_study(tmp_path)


@pytest.mark.parametrize("content", [b"name: \xff\xfe\n", STUDY.encode("utf-16")])
def test_other_encodings_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "latin.yaml").write_bytes(content)
    with pytest.raises(SpecError, match=r"latin\.yaml: cannot be read as UTF-8 text"):
        load_study(tmp_path / "latin.yaml")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "."])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(SpecError, match=r"cannot be read|no such file|is a folder"):
        load_study(name)


def test_windows_line_ends_and_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbf" + STUDY.replace("\n", "\r\n").encode())
    study = load_study(tmp_path / "s.yaml")
    assert (study.name, study.seeds, study.folder) == ("s", [1, 2], str(tmp_path))


SETTINGS: dict[str, tuple[str, str]] = {
    "no value": ("recipe.epochs", "--set recipe.epochs: write it as key=value, for example recipe.epochs=10"),
    "no key": ("=3", "--set =3: write it as key=value"),
    "gap in key": ("recipe..epochs=3", "--set recipe..epochs=3: write it as key=value"),
    "unknown key": ("recipe.epoch=3", "--set recipe.epoch=3: recipe.epoch: unknown key (did you mean 'epochs'?)"),
    "ours": ("source=x", "--set source=x: source: unknown key"),
    "wrong value": ("recipe.epochs=-3", "--set recipe.epochs=-3: recipe.epochs: should be greater than 0"),
    "wrong type": ("recipe.epochs=ten", "--set recipe.epochs=ten: recipe.epochs: should be a valid integer"),
    "nothing": ("recipe.epochs=", "--set recipe.epochs=: recipe.epochs: should be a valid integer (given: nothing)"),
    "below a value": ("name.x=3", "--set name.x=3: 'name' holds a value, not keys"),
    "below a list": ("seeds.0=3", "--set seeds.0=3: 'seeds' holds a value, not keys"),
    "not YAML": ("recipe.epochs=[", "--set recipe.epochs=[: not valid YAML: "),
    "not even a number": ("recipe.epochs=!!int x", "--set recipe.epochs=!!int x: not valid YAML: "),
    "tagged": ("name=!x y", "--set name=!x y: name: has the YAML tag '!x'"),
    "inside a mapping": ("recipe.optimizer={lr: 0}", "--set recipe.optimizer={lr: 0}: recipe.optimizer.lr: should be"),
    "undone change": (
        "experiments.deep.change.model.encoder=resnet50",
        "--set experiments.deep.change.model.encoder=resnet50: experiments.deep.change: changes nothing",
    ),
    "new experiment": ("experiments.new.base=unet", "study.yaml:9: experiments.new: has a base but no change"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_are_checked_like_the_file_and_named(case: str) -> None:
    setting, expected = SETTINGS[case]
    found = problems_of(STUDY, (setting,))
    if case == "undone change":  # the fault is of the whole change, which stands in the file
        expected = "study.yaml:11: experiments.deep.change: changes nothing"
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_all_wrong_settings_are_reported_at_once() -> None:
    found = problems_of(STUDY, ("recipe.epochs", "name.x=1", "seeds=["))
    assert [line.split(": ")[0] for line in found] == ["--set recipe.epochs", "--set name.x=1", "--set seeds=["]


def test_settings_replace_what_the_file_says() -> None:
    given = (
        "recipe.epochs=7",
        "recipe.optimizer.lr=1e-3",
        "recipe.augment=none",
        "seeds=[5, 6, 7]",
        "title=a=b",
        "data.road.root=/elsewhere",
        "experiments.deep.change.model.encoder=resnet34",
        "recipe.epochs=8",
    )
    study = parse_study(STUDY, settings=given)
    assert (study.recipe.epochs, study.recipe.optimizer.lr, study.recipe.optimizer.name) == (8, 0.001, "sgd")
    assert (study.seeds, study.title, study.data["road"].root) == ([5, 6, 7], "a=b", "/elsewhere")
    assert study.experiments["deep"].change == {"model.encoder": "resnet34"}


def test_merge_keys_anchors_and_plain_tags_are_read() -> None:
    text = edited(
        "{data: road, model: {arch: unet}}", "&u {data: road, model: &m {arch: unet, encoder: !!str resnet18}}"
    )
    text = text.replace("{data: polyps, model: {arch: unet}}", "{<<: *u, data: polyps, model: {<<: *m, arch: fpn}}")
    text = text.replace("epochs: 3", "epochs: !!int 3\n  deterministic: &yes true")
    study = parse_study(text)
    small = resolve(study, "small")
    assert (small.dataset, small.model.arch, small.model.encoder) == ("polyps", "fpn", "resnet18")
    assert study.recipe.deterministic is True


def test_fault_that_comes_by_a_merge_is_placed_at_what_merges() -> None:
    found = problems_of(edited("recipe:\n", "recipe:\n  <<: {lost: 1}\n"))
    assert len(found) == 1
    assert found[0].startswith("study.yaml:6: recipe.lost: unknown key (did you mean 'loss'?)")


def test_declared_second_change_is_accepted() -> None:
    study = parse_study(edited(DEEP, "{base: unet, change: {model.encoder: x, recipe.epochs: 4}, confounded: true}"))
    config = resolve(study, "deep")
    assert (config.model.encoder, config.recipe.epochs) == ("x", 4)


def test_base_of_a_base_is_carried_out_in_order_and_stands_anywhere_in_the_file() -> None:
    chain = "{base: mid, change: {recipe.epochs: 9}}\n  mid: {base: unet, change: {model.encoder: resnet101}}"
    config = resolve(parse_study(edited(DEEP, chain)), "deep")
    assert (config.experiment, config.dataset, config.model.encoder, config.recipe.epochs) == (
        "deep",
        "road",
        "resnet101",
        9,
    )


def test_long_chain_of_bases() -> None:
    links = [f"  e{k}: {{base: e{k - 1}, change: {{recipe.epochs: {k + 10}}}}}" for k in range(1, 120)]
    text = edited(f"  deep: {DEEP}", "\n".join(["  e0: {data: road, model: {arch: unet}}", *links]))
    assert resolve(parse_study(text), "e119").recipe.epochs == 129


def test_base_does_not_see_its_variants_change() -> None:
    study = parse_study(STUDY)
    assert resolve(study, "deep").model.encoder == "resnet101"
    assert resolve(study, "unet").model.encoder == "resnet50"
    assert resolve(study, "deep").recipe == study.recipe


@pytest.mark.parametrize(("protocol", "resolution"), [("held-out", "native"), ("paper", "input")])
def test_protocol_says_where_scores_are_taken(protocol: str, resolution: str) -> None:
    assert resolve(parse_study(STUDY, settings=[f"protocol={protocol}"]), "unet").resolution == resolution


# The paper's Table 2, typed by hand: name, model, dataset, backbone, pre-trained, output stride, input.
TABLE_2 = {
    ("deeplabv3-cityscapes", "deeplabv3", "cityscapes", "resnet50", "imagenet", 8, 256),
    ("deeplabv3-101-cityscapes", "deeplabv3", "cityscapes", "resnet101", "imagenet", 8, 256),
    ("deeplabv3-os16-cityscapes", "deeplabv3", "cityscapes", "resnet50", "imagenet", 16, 256),
    ("deeplabv3-kvasir", "deeplabv3", "kvasir", "resnet50", "imagenet", 8, 256),
    ("unet-cityscapes", "unet", "cityscapes", "resnet50", "imagenet", None, 256),
    ("unet-noimagenet-cityscapes", "unet", "cityscapes", "resnet50", "none", None, 256),
    ("unet-kvasir", "unet", "kvasir", "resnet50", "imagenet", None, 256),
    ("unet-512-kvasir", "unet", "kvasir", "resnet50", "imagenet", None, 512),
}


def test_review_is_the_papers_table_2() -> None:
    study = load_study("review")
    found = set()
    for name in study.experiments:
        config = resolve(study, name)
        model = config.model
        row = (model.arch, config.dataset, model.encoder, model.weights, model.output_stride, config.recipe.input_size)
        found.add((name, *row))
    assert found == TABLE_2
    crosses = [(c.experiment, c.on, c.map, c.split) for c in study.cross_evaluations]
    assert crosses == [
        ("deeplabv3-kvasir", "person", {"polyp": "person"}, None),
        ("unet-kvasir", "person", {"polyp": "person"}, None),
    ]
    assert (study.protocol, study.seeds, study.source, study.folder) == ("paper", [42], "review.yaml", "")
    assert {name: data.reader for name, data in study.data.items()} == {
        "cityscapes": "cityscapes",
        "kvasir": "kvasir",
        "person": "supervisely",
    }


REVIEW_RECIPE = {  # the paper's section 3.5 and the notebook
    "adaptation": None,
    "epochs": 50,
    "iterations": None,
    "batch_size": 16,
    "accumulate": 1,
    "input_size": 256,
    "crop_px": None,
    "optimizer": {"name": "adam", "lr": 1e-4, "weight_decay": 1e-4, "momentum": 0.9},
    "schedule": "cosine",
    "schedule_by": "epoch",
    "warmup_epochs": 0.0,
    "encoder_rate": 1.0,
    "clip_norm": None,
    "ema": None,
    "frozen_encoder": False,
    "frozen_statistics": False,
    "sync_batch_norm": False,
    "sampling": "uniform",
    "patience": None,
    "loss": "cross_entropy",
    "augment": "none",
    "precision": "auto",
    "deterministic": False,
}


def test_defaults_are_the_reviews() -> None:
    bare = "name: s\ndata: {d: {reader: kvasir, root: r}}\nexperiments: {a: {data: d, model: {arch: unet}}}\n"
    study = parse_study(bare)
    assert study.recipe.model_dump() == REVIEW_RECIPE
    assert load_study("review").recipe.model_dump() == REVIEW_RECIPE | {"precision": "float32"}
    assert (study.protocol, study.seeds, study.title, study.cross_evaluations) == ("held-out", [42], "", [])
    model, data = resolve(study, "a").model, study.data["d"]
    assert (model.encoder, model.weights, model.output_stride) == ("resnet50", "imagenet", None)
    assert (data.test_fraction, data.split_seed, data.holdout_fraction) == (0.2, 42, 0.1)


def test_packaged_studies_are_whole() -> None:
    names = ["adaptation", "demo", "encoders", "losses", "remedies", "resolution", "review"]
    assert list(packaged_studies()) == names
    demo, review = load_study("demo"), load_study("review")
    assert list(demo.experiments) == list(review.experiments)
    assert demo.cross_evaluations == review.cross_evaluations


def test_study_cannot_be_changed() -> None:
    study = parse_study(STUDY)
    for part, key in [(study, "name"), (study.recipe, "epochs"), (study.data["road"], "root")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, key, "x")


def test_values_leave_out_where_the_data_lie() -> None:
    values = resolve(parse_study(STUDY), "unet").values()
    assert "data.root" not in values
    assert values["data.name"] == "road"
    assert values["recipe.optimizer.name"] == "sgd"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("model.arch", "ablation"),
        ("model.encoder", "ablation"),
        ("model.weights", "ablation"),
        ("model.output_stride", "hyperparameter"),
        ("recipe.input_size", "hyperparameter"),
        ("recipe.optimizer.lr", "hyperparameter"),
    ],
)
def test_kind_is_the_papers(key: str, kind: str) -> None:
    assert factor_kind(key) == kind


# Anything that YAML can say, put anywhere into a right study: a study that can be planned, or a SpecError.
@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/x", "gone"])
def test_a_file_that_cannot_be_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"^data\.d\.root: '{name}' was not found; searched\n  {tmp_path}/{name}\n"):
        find_path(name, "data.d.root", tmp_path, "")
    if name == "gone":
        (tmp_path / name).touch()
        assert find_path(name, "data.d.root", tmp_path, "") == (tmp_path / name).resolve()
        assert find_path(name, "data.d.root", tmp_path / ("x" * 300), str(tmp_path)) == (tmp_path / name).resolve()


TREE: dict[str, Any] = {
    "name": "s",
    "title": "t",
    "protocol": "paper",
    "data": {
        "d": {"reader": "kvasir", "root": "r", "synthetic": {"num_images": 4, "size": [8, 8]}},
        "f": {"reader": "folder", "root": "r", "classes": ["a", "b"], "ignore_values": [255], "num_classes": 2},
        "g": {"reader": "kvasir", "root": "r", "groups": {"file": "g.csv", "image": "i"}, "split_file": "s.json"},
    },
    "recipe": {"epochs": 2, "optimizer": {"name": "sgd", "lr": 0.1}, "deterministic": False},
    "experiments": {
        "a": {"data": "d", "model": {"arch": "unet", "output_stride": 8}},
        "b": {"base": "a", "change": {"model.encoder": "x"}},
        "c": {"base": "b", "change": {"recipe.optimizer.lr": 1.0, "recipe.epochs": 9}, "confounded": True},
    },
    "cross_evaluations": [{"experiment": "a", "on": "f", "map": {"polyp": "a"}}],
    "seeds": [1, 2],
}
HOSTILE = [
    *(
        ".inf",
        "-.inf",
        ".nan",
        "~",
        "true",
        "0",
        "-1",
        "1e3",
        "1e999",
        "-0.0",
        "0x1F",
        "0o17",
        "1_000",
        "''",
        "=",
        "!=",
    ),
    *("2020-01-01", "2020-01-01T10:00:00Z", "a", "b", "c", "d", "unet", "adam", "*x", "*no", "&x", "!foo", "<<", "\t"),
    *(
        "!!int",
        "!!float",
        "!!str",
        "!!null",
        "!!python/object:os.system",
        *(
            "!!int",
            "!!float",
            "!!str",
            "!!null",
            "!!python/object:os.system",
            "!!binary aGk=",
            "!!set",
            '"\\0"',
            '"\\ud800"',
        ),
        "!!set",
        '"\\0"',
        '"\\ud800"',
    ),
    *("!!int x", "!!bool x", "!!timestamp x", "!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "&y [*y]", "|\n x"),
    *("{model.encoder: x, model.encoder: y}", "{<<: {a: 1}}", "{<<: [{a: 1}, {b: 2}]}", "{model.arch: {a: 1}}"),
    *("{recipe.optimizer: {name: adam}}", "{model: {arch: x}}", "{recipe: 3}", "{'': 1}", "{.: 1}", "{? [a] : 1}"),
    *("{? {a: 1} : 1}", "[" * 400, "{a: " * 300, "9" * 5000, "0x" + "f" * 9000, "9" * 30),
]
KEYS = [*"abdf1~?", "data", "base", "change", "model", "size", "model.arch", "recipe.epochs", "true", "<<", "source"]


def places_of(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in entries for place in places_of(value, (*path, key)))]


def flow(tree: Any, at: tuple[Any, ...] | None, text: str) -> str:
    """The tree as YAML on one line, with ``text`` in the place of what stands at ``at``."""
    if at == ():
        return text

    def inner(key: Any, value: Any) -> str:
        return flow(value, at[1:] if at and at[0] == key else None, text)

    if isinstance(tree, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {inner(key, value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(inner(index, value) for index, value in enumerate(tree)) + "]"
    return json.dumps(tree)


TEXTS = st.recursive(
    st.sampled_from(HOSTILE) | st.integers().map(str) | st.floats().map(str) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
        )
    ),
    max_leaves=4,
)
PLACES = st.sampled_from(places_of(TREE))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLACES, TEXTS)
@example(("experiments", "b", "change"), "{model.no.such: 1}")
@example(("experiments", "b", "change"), "{recipe.epochs: -1}")
@example(("recipe",), "{<<: {epochs: 2}}")
@example(("title",), "!!omap [a: 1]")
@example(("recipe", "epochs"), "!!int x")
@example(("recipe", "deterministic"), "!!bool x")
@example(("seeds",), "[" * 400)
@example(("recipe", "epochs"), "9" * 5000)
@example(("title",), '"\\ud800"')
@example(("data", "g", "split_file"), '"\\ud800"')
@example(("data", "g", "split_file"), '"a\\0b"')
@example(("data", "g", "groups", "file"), "~nobody-of-this-name/g.csv")
@example(("data", "g", "groups", "file"), "x" * 300)
@example(("data", "g", "groups", "file"), "/")
def test_anything_anywhere_is_a_plan_or_a_plain_error(place: tuple[Any, ...], text: str) -> None:
    try:
        study = parse_study(flow(TREE, place, text))
    except SpecError:
        return
    assert all(run.identity for run in make_plan(study).runs)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLACES.map(lambda place: ".".join(map(str, place))) | st.text(max_size=8), TEXTS)
def test_any_setting_is_a_plan_or_a_plain_error(key: str, text: str) -> None:
    try:
        study = parse_study(flow(TREE, None, ""), settings=[f"{key}={text}"])
    except SpecError:
        return
    assert all(run.identity for run in make_plan(study).runs)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_any_text_is_a_study_or_a_plain_error(text: str) -> None:
    with pytest.raises(SpecError, match="study"):
        parse_study(text)
