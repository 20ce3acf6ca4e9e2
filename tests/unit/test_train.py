"""Training, evaluation and everything that carries a plan out, on tiny data with small networks."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from fakes import fake_folder, fake_kvasir, fake_supervisely_csv
from interruption import Interruption
from segstudy import measures
from segstudy.archive import export_run, write_archive
from segstudy.data.core import class_table
from segstudy.errors import SegstudyError, SpecError, StoreError
from segstudy.evaluate import count_confusion
from segstudy.files import read_arrays, read_yaml, verify, write_arrays
from segstudy.launch.changes import data_changes
from segstudy.launch.one import import_checkpoint
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import build_network, import_smp, load_network, predict_logits, read_state
from segstudy.plan import make_plan
from segstudy.predict import predict_images
from segstudy.progress import showing
from segstudy.report.frames import ReportData
from segstudy.report.long import results_frame
from segstudy.report.sections.pictures import collect_pictures
from segstudy.results import read_results
from segstudy.spec import load_study, parse_study
from segstudy.stopping import Stopped
from segstudy.store import Store
from segstudy.train.losses import cross_entropy, make_loss
from segstudy.train.schedules import rate_factor
from segstudy.train.team import make_fabric

STUDY = """
name: tiny
protocol: {protocol}
data:
  kvasir: {{reader: kvasir, root: Kvasir-SEG}}
  person: {{reader: supervisely, root: person}}
recipe: {{epochs: {epochs}, batch_size: 4, input_size: 32, optimizer: {{lr: 1.0e-3}}, precision: float32}}
experiments:
  unet:
    data: kvasir
    model: {{arch: unet, encoder: tu-test_resnet, weights: none, options: {{decoder_channels: [16, 8, 8, 4, 4]}}}}
  deep:
    data: kvasir
    model: {{arch: deeplabv3, encoder: tu-test_resnet, weights: none, output_stride: 8, options: {{decoder_channels: 16}}}}
  deep16: {{base: deep, change: {{model.output_stride: 16}}}}
cross_evaluations:
  - {{experiment: unet, on: person, map: {{polyp: person}}}}
"""


def write_data(root):
    fake_kvasir(root / "Kvasir-SEG", num_images=15, size=(40, 36))
    fake_supervisely_csv(root / "person", num_images=10)
    return root


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path)


def workshop_at(data, out, *, protocol="paper", epochs=2, settings=(), progress=None):
    study = parse_study(STUDY.format(protocol=protocol, epochs=epochs), settings=settings)
    with showing(quiet=True) as quiet:
        return Workshop(study, Store(out), data, progress or quiet)


def run_part(workshop, only=("unet",), replace=False):
    return execute(workshop, make_plan(workshop.study).select(only), replace).failures


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Data, and in ``out`` the store of a study of one epoch whose ``unet`` is done."""
    root = write_data(tmp_path_factory.mktemp("finished"))
    assert run_part(workshop_at(root, root / "out", epochs=1)) == []
    return root


@pytest.fixture
def trained(finished, tmp_path):
    """A copy of ``finished`` to change."""
    return shutil.copytree(finished, tmp_path, dirs_exist_ok=True)


def test_a_study_runs_and_a_second_call_finds_nothing_to_do(data, tmp_path):
    workshop = workshop_at(data, tmp_path / "out")
    assert execute(workshop, make_plan(workshop.study)).failures == []
    folder = workshop.store.run("unet", 42)

    def stamps():  # whoever looks at a run's state may touch its lock
        files = (path for path in folder.path.rglob("*") if path.is_file() and path.name != "lock")
        return {path: path.stat().st_mtime_ns for path in files}

    before = stamps()
    assert execute(workshop, make_plan(workshop.study)).failures == []
    assert stamps() == before
    good, problems = verify(tmp_path / "out")
    assert good > 20
    assert problems == []
    assert not folder.last.exists()
    assert not list(folder.path.glob("best-epoch*"))


def test_counts_are_those_of_the_saved_masks(finished):
    """The predicted PNGs, scored by hand against the true masks at input size, give the stored counts."""
    data, folder = finished, Store(finished / "out").run("unet", 42)
    arrays, meta = read_arrays(folder.evaluation("kvasir", "test"))
    assert meta["resolution"] == "input"
    assert meta["selected_on"] == "kvasir/test"
    for name, counts in zip(arrays["ids"], arrays["confusion"], strict=True):
        predicted = np.asarray(Image.open(folder.predictions("kvasir", "test") / f"{name}.png"))
        true = Image.open(data / "Kvasir-SEG" / "masks" / f"{name}.jpg").convert("L")
        true = np.asarray(true.resize((32, 32), Image.Resampling.NEAREST)) > 127
        expected = [[np.sum((true == t) & (predicted == p)) for p in (0, 1)] for t in (0, 1)]
        assert counts.tolist() == expected


def test_native_scoring_counts_every_pixel_of_the_original_masks(data, tmp_path):
    workshop = workshop_at(data, tmp_path / "out", protocol="held-out")
    run_part(workshop)
    folder = workshop.store.run("unet", 42)
    arrays, meta = read_arrays(folder.evaluation("kvasir", "test"))
    assert meta["resolution"] == "native"
    assert meta["selected_on"] == "kvasir/holdout"
    for name, counts in zip(arrays["ids"], arrays["confusion"], strict=True):
        with Image.open(data / "Kvasir-SEG" / "masks" / f"{name}.jpg") as true:
            assert counts.sum() == true.width * true.height
            assert counts[1].sum() == (np.asarray(true.convert("L")) > 127).sum()


def losses(store, experiment="unet"):
    return [record["loss"] for record in store.run(experiment, 42).read_metrics()]


def test_fixed_seed_gives_identical_losses_and_resuming_changes_nothing(data, tmp_path):
    # a GPU adds up in another order every time, unless it is told not to
    settings = ["recipe.deterministic=true"] if torch.cuda.is_available() else []
    whole = workshop_at(data, tmp_path / "whole", epochs=3, settings=settings)
    run_part(whole, ["deep"])  # DeepLabV3 draws dropout at random, so this also tests the generator's state
    broken = workshop_at(data, tmp_path / "broken", epochs=3, settings=settings)

    class Stop(BaseException):
        pass

    def stop_in_second_epoch(text, total, plain=broken.progress.task):
        if text == "epoch 2/3":
            raise Stop
        return plain(text, total)

    broken.progress.task = stop_in_second_epoch
    with pytest.raises(Stop):
        run_part(broken, ["deep"])
    assert len(losses(broken.store, "deep")) == 1
    again = workshop_at(data, tmp_path / "broken", epochs=3, settings=settings)
    assert run_part(again, ["deep"]) == []
    assert losses(again.store, "deep") == losses(whole.store, "deep")
    first, second = (store.run("deep", 42).evaluation("kvasir", "test") for store in (whole.store, again.store))
    assert np.array_equal(read_arrays(first)[0]["confusion"], read_arrays(second)[0]["confusion"])


def stop_after(progress, name):
    plain = progress.task

    def task(text, total):
        if text == name:
            raise KeyboardInterrupt
        return plain(text, total)

    return task


def test_changed_settings_are_refused_and_archived_on_request(trained, tmp_path):
    changed = workshop_at(trained, tmp_path / "out", epochs=2)
    with pytest.raises(StoreError, match=r"unet/seed42: recipe.epochs was 1, is 2(.|\n)*--replace"):
        run_part(changed)
    assert run_part(changed, replace=True) == []
    assert len(losses(changed.store)) == 2
    assert (tmp_path / "out" / "runs" / "unet" / "seed42.old1" / "best.safetensors").is_file()


def groups_of(data, name="patients.csv", extra=""):
    """A CSV that puts three images into each group, and the setting that names it."""
    names = sorted(path.stem for path in (data / "Kvasir-SEG" / "images").iterdir())
    rows = [f"{name},{extra}{k // 3}\n" for k, name in enumerate(names)]
    (data / name).write_text("image,group\n" + "".join(rows))
    return [f"data.kvasir.groups={{file: {data / name}}}"]


def test_a_table_of_groups_may_move_but_not_change(data, tmp_path):
    first = workshop_at(data, tmp_path / "out", epochs=1, settings=groups_of(data))
    assert run_part(first) == []
    (data / "patients.csv").unlink()
    moved = workshop_at(data, tmp_path / "out", epochs=1, settings=groups_of(data, "moved.csv"))
    (run,) = make_plan(moved.study).select(["unet"]).runs
    assert moved.store.run("unet", 42).state(run.identity, run.scored_on) == "done"
    assert run_part(moved) == []
    edited = workshop_at(data, tmp_path / "out", epochs=1, settings=groups_of(data, "moved.csv", extra="p"))
    message = r"1 runs there were made with other settings:\n  unet/seed42: data\.groups\.file was sha256:\w+, is sha256:\w+\n"
    with pytest.raises(StoreError, match=message):
        run_part(edited)
    assert run_part(edited, replace=True) == []


def test_a_finished_study_needs_its_files_no_more_but_an_unfinished_one_says_which_is_missing(data, tmp_path):
    workshop = workshop_at(data, tmp_path / "out", epochs=1, settings=groups_of(data))
    run_part(workshop)
    (data / "patients.csv").unlink()
    for study in (workshop.study, load_study(tmp_path / "out" / "study.yaml")):
        plan = make_plan(study, store=workshop.store).select(["unet"])
        assert execute(workshop, plan).failures == []
        assert len(read_results(workshop.store, plan).sets) == 2
    with pytest.raises(SegstudyError, match=r"^data\.kvasir\.groups\.file: '.*patients\.csv' was not found; searched"):
        run_part(
            workshop_at(
                data, tmp_path / "new", epochs=1, settings=[f"data.kvasir.groups={{file: {data / 'patients.csv'}}}"]
            )
        )


def test_changed_data_are_noticed_when_a_run_goes_on(data, tmp_path):
    workshop = workshop_at(data, tmp_path / "out", epochs=2)
    workshop.progress.task = stop_after(workshop.progress, "epoch 2/2")
    with pytest.raises(KeyboardInterrupt):
        run_part(workshop)
    for path in (data / "Kvasir-SEG" / "images").iterdir():
        with Image.open(path) as image:
            size = image.size
        Image.new("RGB", size, "red").save(path)
    failures = run_part(workshop_at(data, tmp_path / "out", epochs=2))
    assert len(failures) == 1
    assert "the training data (split 'train' of 'kvasir')" in failures[0]
    assert "changed since this run began; restore what was, or repeat the command with --replace" in failures[0]


def test_one_failing_run_does_not_stop_the_others(data, tmp_path):
    settings = ["experiments.bad={base: unet, change: {recipe.optimizer.lr: 1.0e+30}}"]
    workshop = workshop_at(data, tmp_path / "out", epochs=1, settings=settings)
    plan = make_plan(workshop.study).select(["bad", "unet"])
    failures = execute(workshop, type(plan)(plan.study, plan.runs[::-1])).failures
    assert len(failures) == 1
    assert "lower recipe.optimizer.lr" in failures[0]
    run = plan.first("unet")
    assert workshop.store.run("unet", 42).state(run.identity, run.scored_on) == "done"
    bad = plan.first("bad")
    assert workshop.store.run("bad", 42).state(bad.identity, bad.scored_on) == "failed"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["experiments.unet.model.encoder=resnet19"], "experiments.unet: model.encoder 'resnet19': unknown encoder"),
        (["experiments.unet.model.weights=none.bin"], "must be imagenet, packaged, none, or a .pth or .safetensors"),
        (["experiments.unet.model.weights=none.pth"], "model.weights: 'none.pth' was not found; searched"),
        (["data.kvasir.root=nowhere"], "data.kvasir.root: 'nowhere' was not found(.|\n)*SEGSTUDY_DATA"),
        (["data.kvasir.report=best"], "has no split 'best'; it has train, test"),
        (["data.kvasir.test_fraction=0.99"], "one part is empty"),
        (["recipe.batch_size=1"], "deeplabv3 cannot train on batches of one image"),
        (
            ["cross_evaluations=[{experiment: unet, on: person}]"],
            "say which class of background, person is meant by polyp",
        ),
        (
            ["cross_evaluations=[{experiment: unet, on: person, map: {pol: person}}]"],
            "has no class 'pol' .did you mean",
        ),
        (["cross_evaluations=[{experiment: unet, on: person, map: {polyp: man}}]"], "the dataset has no class 'man'"),
        (["cross_evaluations=[{experiment: unet, on: person, map: {polyp: person}, split: no}]"], "has no split 'no'"),
    ],
)
def test_everything_that_would_stop_a_run_is_found_before_the_first(data, tmp_path, settings, message):
    workshop = workshop_at(data, tmp_path / "out", settings=settings)
    with pytest.raises(SegstudyError, match=message):
        run_part(workshop, ["unet", "deep"])
    assert not (tmp_path / "out" / "runs").exists()


def test_several_problems_are_reported_together(data, tmp_path):
    settings = ["experiments.unet.model.encoder=resnet19", "data.person.root=nowhere", "recipe.batch_size=1"]
    with pytest.raises(SegstudyError) as caught:
        run_part(workshop_at(data, tmp_path / "out", settings=settings), ["unet", "deep"])
    for fragment in ("resnet19", "data.person.root", "batches of one image"):
        assert fragment in str(caught.value)


def test_unreadable_images_stop_the_study_with_their_names(data, tmp_path):
    paths = sorted((data / "Kvasir-SEG" / "images").iterdir())
    for path in paths[::2]:
        path.write_bytes(path.read_bytes()[:300])
    for path in paths[1::2]:
        path.write_bytes(b"not an image")
    (failure,) = run_part(workshop_at(data, tmp_path / "out"))
    assert "12 of 12 samples of dataset 'kvasir' cannot be used" in failure
    assert sum(path.name in failure for path in paths) == 10
    assert "... and 2 more" in failure
    assert not list((tmp_path / "out" / "cache").glob("*/images.npy"))


def test_an_output_folder_of_something_else_is_left_alone(data, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="is not a study's output"):
        run_part(workshop_at(data, tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_exported_runs_load_in_smp_with_identical_logits(trained, tmp_path):
    workshop = workshop_at(trained, tmp_path / "out", epochs=1)
    run_part(workshop, ["unet", "deep"])
    smp = import_smp()
    image = torch.randn(2, 3, 64, 64)
    for name in ("unet", "deep"):
        run = make_plan(workshop.study).first(name)
        folder = workshop.store.run(name, 42)
        theirs = smp.from_pretrained(str(export_run(run, folder, tmp_path / name))).eval()
        ours = build_network(run.config.model, 2, seed=0)
        load_network(ours, read_state(folder.best), "best")
        with torch.inference_mode():
            assert torch.equal(ours.eval()(image), theirs(image))


def test_archive_holds_what_is_done_and_verifies(trained, tmp_path):
    workshop = workshop_at(trained, tmp_path / "out", epochs=1)
    plan = make_plan(workshop.study)
    with pytest.raises(StoreError, match="no run of 'tiny' is done"):
        write_archive(Store(tmp_path / "nothing"), plan)
    path, notes = write_archive(workshop.store, plan)
    assert notes == [f"not in it, because not done: {name}/seed42" for name in ("deep", "deep16")]
    good, problems = verify(path)
    assert good > 10
    assert problems == []


def test_the_notebooks_checkpoint_becomes_a_run_that_scores(finished, tmp_path):
    original = Store(finished / "out").run("unet", 42)
    checkpoint = tmp_path / "unet-kvasir.pth"
    state = read_state(original.best)
    torch.save({"epoch": 17, "model_state": state, "miou": np.float64(0.8820)}, checkpoint)
    other = workshop_at(finished, tmp_path / "imported", epochs=1)
    import_checkpoint(other, make_plan(other.study).first("unet"), checkpoint)
    assert run_part(other) == []
    imported = other.store.run("unet", 42)
    assert read_yaml(imported.config)["imported_from"]["epoch"] == 17
    first, second = (read_arrays(folder.evaluation("kvasir", "test"))[0] for folder in (original, imported))
    assert np.array_equal(first["confusion"], second["confusion"])
    assert read_arrays(imported.evaluation("kvasir", "test"))[1]["selected_on"] == "unknown (imported)"
    assert json.loads(imported.cost.read_text())["seconds_per_epoch"] is None
    with pytest.raises(StoreError, match="holds a run already"):
        import_checkpoint(other, make_plan(other.study).first("unet"), checkpoint)


def test_cross_evaluation_uses_the_label_map_and_the_targets_own_classes(finished):
    workshop = workshop_at(finished, finished / "out", epochs=1)
    evaluations = read_results(workshop.store, make_plan(workshop.study)).sets
    cross = next(e for e in evaluations if not e.in_domain)
    assert cross.classes == ("background", "person")
    frame = results_frame(make_plan(workshop.study), evaluations)
    constant = frame[(frame["experiment"] == "unet (constant)") & (frame["test_data"] == "person")]
    background = measures.merge(cross.confusion).sum(axis=1)
    accuracy = constant[constant["measure"] == "pixel_accuracy"]["value"].item()
    assert accuracy == pytest.approx(background[0] / background.sum())


def test_another_label_map_is_scored_anew_and_nothing_is_trained_again(trained, tmp_path):
    first = workshop_at(trained, tmp_path / "out", epochs=1)
    (before,) = (e for e in read_results(first.store, make_plan(first.study)).sets if not e.in_domain)
    written = first.store.run("unet", 42).best.stat().st_mtime_ns
    turned = ["cross_evaluations=[{experiment: unet, on: person, map: {polyp: background, background: person}}]"]
    second = workshop_at(trained, tmp_path / "out", epochs=1, settings=turned)
    plan = make_plan(second.study)
    run = plan.first("unet")
    assert second.store.run("unet", 42).state(run.identity, run.scored_on) == "trained"
    assert [e.in_domain for e in read_results(second.store, plan).sets] == [True]
    assert run_part(second) == []
    (after,) = (e for e in read_results(second.store, plan).sets if not e.in_domain)
    assert np.array_equal(after.confusion, before.confusion[:, :, ::-1])
    assert second.store.run("unet", 42).best.stat().st_mtime_ns == written
    assert verify(tmp_path / "out")[1] == []


def test_a_finished_study_needs_its_data_no_more(trained, tmp_path):
    (trained / "Kvasir-SEG").rename(trained / "gone")
    (trained / "person").rename(trained / "gone too")
    assert run_part(workshop_at(trained, tmp_path / "out", epochs=1)) == []


def test_class_table_by_name_and_by_map():
    table = class_table(("sky", "road", "bike"), ("road", "cycle", "sky"), {"bike": "cycle"})
    assert table.tolist() == [2, 0, 1]
    with pytest.raises(SpecError, match="is meant by bike"):
        class_table(("road", "bike"), ("road", "cycle"), {})


def test_cosine_falls_as_pytorchs_does():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    for epoch in range(7):
        assert rate_factor("cosine", epoch, 7) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        schedule.step()


def test_evaluation_of_ignored_pixels_and_absent_classes(tmp_path):
    """A network that always says class 1, on masks with ignored values: counts worked out from the masks."""
    root = fake_folder(tmp_path / "f", num_images=6, num_classes=3)
    text = STUDY.replace("{{reader: kvasir, root: Kvasir-SEG}}", "{{reader: folder, root: f, num_classes: 3}}")
    study = parse_study(text.format(protocol="paper", epochs=1).split("cross_evaluations")[0])
    assert root.is_dir()
    with showing(quiet=True) as progress:
        workshop = Workshop(study, Store(tmp_path / "out"), tmp_path, progress)
        cached = workshop.cached("kvasir", "test", 32)

    class Constant(torch.nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 3, *images.shape[-2:])
            logits[:, 1] = 1
            return logits

    counts = count_confusion(Constant(), cached, torch.device("cpu"))
    for image, labels in zip(counts, cached.labels_nhw[np.arange(len(cached))], strict=True):
        assert image[:, [0, 2]].sum() == 0
        assert image[:, 1].tolist() == [int((labels == k).sum()) for k in range(3)]


def test_bf16_and_float32_agree_roughly(data, tmp_path):
    """The same network at both precisions: logits differ by bf16's rounding, not by more."""
    recipe = workshop_at(data, tmp_path / "out").study.recipe
    network = build_network(
        parse_study(STUDY.format(protocol="paper", epochs=1)).experiments["unet"].model, 2, 0
    ).eval()
    fabric = make_fabric(recipe)
    image = torch.randn(1, 3, 32, 32).to(fabric.device)
    with torch.inference_mode():
        exact = predict_logits(fabric.setup(network), image)
        rough = predict_logits(make_fabric(recipe.model_copy(update={"precision": "bf16"})).setup(network), image)
    assert torch.allclose(exact, rough, atol=0.1 * exact.abs().max().item())
    assert not torch.equal(exact, rough)


def test_scoring_a_finished_run_needs_no_initial_weights(data, tmp_path):
    """An imported checkpoint of a study whose weights file is not there, and a study that wants a hub's weights."""
    state = build_network(
        parse_study(STUDY.format(protocol="paper", epochs=1)).experiments["unet"].model, 2, 3
    ).state_dict()
    torch.save({"model_state": state}, tmp_path / "unet.pth")
    settings = ["experiments.unet.model.weights=not-there.pth"]
    workshop = workshop_at(data, tmp_path / "out", epochs=1, settings=settings)
    import_checkpoint(workshop, make_plan(workshop.study).first("unet"), tmp_path / "unet.pth")
    assert run_part(workshop) == []


def test_the_stored_study_file_is_one_that_can_be_read(data, tmp_path):
    workshop = workshop_at(data, tmp_path / "out", epochs=1, settings=["recipe.batch_size=3"])
    run_part(workshop)
    again = load_study(tmp_path / "out" / "study.yaml")
    assert make_plan(again).first("unet").identity == make_plan(workshop.study).first("unet").identity
    changed = workshop_at(data, tmp_path / "out", epochs=2)
    with pytest.raises(StoreError, match="--replace"):
        run_part(changed)
    assert load_study(tmp_path / "out" / "study.yaml").recipe.epochs == 1


def test_torchs_own_errors_fail_one_run_and_leave_their_traceback(data, tmp_path, monkeypatch):
    def break_down(*_):
        raise RuntimeError("DefaultCPUAllocator: not enough memory\nmore lines")

    monkeypatch.setattr("segstudy.train.loop._one_epoch", break_down)
    workshop = workshop_at(data, tmp_path / "out", epochs=1)
    (failure,) = run_part(workshop)
    assert "torch stopped: DefaultCPUAllocator: not enough memory; see" in failure
    assert "Traceback" in workshop.store.run("unet", 42).failure.with_suffix(".log").read_text()


def test_a_selecting_split_without_a_counted_pixel_is_an_error(tmp_path):
    fake_folder(tmp_path / "f", num_images=6, num_classes=3)
    text = STUDY.replace("{{reader: kvasir, root: Kvasir-SEG}}", "{{reader: folder, root: f, num_classes: 3}}")
    study = parse_study(
        text.format(protocol="paper", epochs=1).split("cross_evaluations")[0],
        settings=["data.kvasir.ignore_values=[0, 1, 2]"],
    )
    with showing(quiet=True) as progress:
        (failure,) = run_part(Workshop(study, Store(tmp_path / "out"), tmp_path, progress))
    assert "every pixel of the split that chooses the epoch is ignored" in failure or "the loss is nan" in failure


def test_flat_cross_entropy_is_the_same_loss():
    logits, labels = torch.randn(2, 5, 4, 6), torch.randint(0, 5, (2, 4, 6))
    labels[0, :2] = 255
    plain = cross_entropy(logits, labels)
    torch.use_deterministic_algorithms(True)
    try:
        flat = cross_entropy(logits, labels)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.allclose(plain, flat)


@pytest.mark.parametrize("name", ["cross_entropy", "dice", "focal"])
def test_a_batch_without_a_pixel_that_counts_teaches_nothing(name):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = make_loss(name)(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss == 0 and not logits.grad.any()
    assert make_loss(name)(logits, torch.zeros(2, 4, 4, dtype=torch.int64)) > 0


def test_a_deterministic_study_runs(data, tmp_path):
    assert run_part(workshop_at(data, tmp_path / "out", epochs=1, settings=["recipe.deterministic=true"])) == []


CROPS = ["recipe.crop_px=32", "recipe.augment=strong", "recipe.batch_size=3"]
ALONE = ["cross_evaluations=[]"]


def test_a_study_on_crops_scores_and_predicts_whole_images(data, tmp_path):
    """Also under the review's protocol: a network that is given images at their own size has no other input size."""
    workshop = workshop_at(data, tmp_path / "out", epochs=1, settings=CROPS)
    assert run_part(workshop) == []
    run, folder = make_plan(workshop.study).first("unet"), workshop.store.run("unet", 42)
    arrays, meta = read_arrays(folder.evaluation("kvasir", "test"))
    assert (meta["resolution"], meta["crop_px"]) == ("native", 32)
    assert "confusion_input" not in arrays
    assert json.loads(folder.cost.read_text())["input_px"] == 32
    images = [data / "Kvasir-SEG" / "images" / f"{name}.jpg" for name in arrays["ids"]]
    masks = predict_images(run, folder, images, tmp_path / "masks").masks
    for counts, mask, name in zip(arrays["confusion"], masks, arrays["ids"], strict=True):
        predicted = np.asarray(Image.open(mask))
        assert np.array_equal(predicted, np.asarray(Image.open(folder.predictions("kvasir", "test") / f"{name}.png")))
        true = np.asarray(Image.open(data / "Kvasir-SEG" / "masks" / f"{name}.jpg").convert("L")) > 127
        assert counts.tolist() == [[np.sum((true == t) & (predicted == p)) for p in (0, 1)] for t in (0, 1)]


def test_a_report_shows_pictures_of_a_study_on_crops(data, tmp_path):
    workshop = workshop_at(data, tmp_path / "out", epochs=1, settings=CROPS)
    assert run_part(workshop) == []
    found = collect_pictures(ReportData(read_results(workshop.store, make_plan(workshop.study))))
    assert [(each.test_data, each.size) for each in found] == [("kvasir", None), ("person", None)]
    assert found[0].examples
    for example in found[0].examples:
        with Image.open(data / "Kvasir-SEG" / "images" / f"{example.id}.jpg") as image:
            assert np.array_equal(example.image, np.asarray(image.convert("RGB")))
        (panel,) = example.panels
        assert panel.prediction is not None and panel.prediction.shape == panel.truth.shape == example.truth.shape


def test_crops_and_augmentation_go_on_alike_after_an_interruption(data, tmp_path):
    whole = workshop_at(data, tmp_path / "whole", epochs=3, settings=CROPS + ALONE)
    assert run_part(whole) == []
    broken = workshop_at(data, tmp_path / "broken", epochs=3, settings=CROPS + ALONE)
    broken.progress.task = stop_after(broken.progress, "epoch 3/3")
    with pytest.raises(KeyboardInterrupt):
        run_part(broken)
    again = workshop_at(data, tmp_path / "broken", epochs=3, settings=CROPS + ALONE)
    assert run_part(again) == []
    assert losses(again.store) == losses(whole.store)
    assert len(set(losses(again.store))) == 3


@pytest.mark.parametrize("experiment", ["unet", "deep"])  # DeepLabV3 draws dropout at random
def test_a_run_stopped_within_an_epoch_goes_on_with_the_same_numbers(data, tmp_path, experiment):
    whole = workshop_at(data, tmp_path / "whole", settings=CROPS + ALONE)
    assert run_part(whole, [experiment]) == []
    for looks in (2, 5):
        out = tmp_path / f"broken{looks}"
        broken = workshop_at(data, out, settings=CROPS + ALONE)
        broken.stop = Interruption(looks)
        with pytest.raises(Stopped, match="received SIGTERM") as stopped:
            run_part(broken, [experiment])
        assert stopped.value.exit_code == 143
        assert (broken.store.run(experiment, 42).path / "last.ckpt").is_file()
        again = workshop_at(data, out, settings=CROPS + ALONE)
        assert run_part(again, [experiment]) == []
        assert losses(again.store, experiment) == losses(whole.store, experiment)
        first, second = (store.run(experiment, 42).best.read_bytes() for store in (whole.store, again.store))
        assert first == second


def interrupted_at(data, out, epochs=3):
    """A store whose run was stopped in its last epoch, and the losses of one that was not."""
    broken = workshop_at(data, out, epochs=epochs, settings=ALONE)
    broken.progress.task = stop_after(broken.progress, f"epoch {epochs}/{epochs}")
    with pytest.raises(KeyboardInterrupt):
        run_part(broken)
    return broken.store.run("unet", 42)


SPOILS = {
    "last.ckpt cut": lambda folder: folder.last.write_bytes(folder.last.read_bytes()[:-100]),
    "last.ckpt flipped": lambda folder: flip(folder.last),
    "both checkpoints empty": lambda folder: [path.write_bytes(b"") for path in (folder.last, folder.former)],
    "best epoch gone": lambda folder: [path.unlink() for path in folder.path.glob("best-epoch*")],
    "best epoch flipped": lambda folder: [flip(path) for path in folder.path.glob("best-epoch*")],
}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


@pytest.fixture(scope="module")
def interruption(tmp_path_factory):
    """Data beside a store whose run was stopped in its last epoch, and the losses of a run that was not."""
    root = write_data(tmp_path_factory.mktemp("interruption"))
    whole = workshop_at(root, root / "whole", epochs=3, settings=ALONE)
    assert run_part(whole) == []
    interrupted_at(root, root / "broken")
    return root, losses(whole.store)


@pytest.mark.parametrize("spoil", SPOILS)
def test_damaged_checkpoints_cost_time_and_no_numbers(interruption, tmp_path, spoil):
    data, expected = interruption
    shutil.copytree(data / "broken", tmp_path / "broken")
    SPOILS[spoil](Store(tmp_path / "broken").run("unet", 42))
    again = workshop_at(data, tmp_path / "broken", epochs=3, settings=ALONE)
    assert run_part(again) == []
    assert losses(again.store) == expected
    assert not list((tmp_path / "broken").rglob("*.ckpt"))


def test_checkpoints_left_by_a_process_killed_at_the_end_of_training_are_removed(trained, tmp_path):
    """The weights have their final name, and then the process dies: its checkpoints are of no use to anyone."""
    workshop = workshop_at(trained, tmp_path / "out", epochs=1)
    folder = workshop.store.run("unet", 42)
    left = [folder.last, folder.former, folder.best_of_epoch(1)]
    for path in (*left, folder.path / "SHA256SUMS"):
        path.write_bytes(b"left over") if path in left else path.unlink()
    assert run_part(workshop) == []
    assert not any(path.exists() for path in left)
    assert (folder.path / "SHA256SUMS").is_file()


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(data, tmp_path):
    folder = interrupted_at(data, tmp_path / "broken", epochs=2)
    last = folder.last.read_bytes()
    other = workshop_at(data, tmp_path / "broken", epochs=2, settings=["recipe.optimizer.lr=0.01", *ALONE])
    with pytest.raises(StoreError, match="--replace"):
        run_part(other)
    folder.archive()
    folder.path.mkdir()
    folder.last.write_bytes(last)
    fresh = workshop_at(data, tmp_path / "fresh", epochs=2, settings=["recipe.optimizer.lr=0.01", *ALONE])
    assert run_part(other) == run_part(fresh) == []
    assert losses(other.store) == losses(fresh.store)


def test_a_lost_run_file_never_lends_its_counts_to_another_network(trained, tmp_path):
    folder = Store(tmp_path / "out").run("unet", 42)
    folder.config.unlink()
    rate = ["recipe.optimizer.lr=0.00001"]
    changed, fresh = (workshop_at(trained, tmp_path / name, epochs=1, settings=rate) for name in ("out", "fresh"))
    assert run_part(changed) == run_part(fresh) == []
    ours, theirs = (
        read_arrays(store.run("unet", 42).evaluation("kvasir", "test"))[0] for store in (changed.store, fresh.store)
    )
    assert np.array_equal(ours["confusion"], theirs["confusion"])
    assert (folder.path.with_name("seed42.old1") / "best.safetensors").is_file()


def test_damaged_counts_are_scored_again_and_damaged_weights_trained_again(trained, tmp_path):
    workshop = workshop_at(trained, tmp_path / "out", epochs=1)
    folder = workshop.store.run("unet", 42)
    counts, best = folder.evaluation("kvasir", "test"), folder.best.read_bytes()
    arrays, meta = read_arrays(counts)
    write_arrays(counts, arrays | {"confusion": arrays["confusion"] + 1}, meta)
    assert run_part(workshop_at(trained, tmp_path / "out", epochs=1)) == []
    assert np.array_equal(read_arrays(counts)[0]["confusion"], arrays["confusion"])
    flip(folder.best)
    with pytest.raises(StoreError, match=r"nothing is packed(.|\n)*best.safetensors: changed since"):
        write_archive(workshop.store, make_plan(workshop.study))
    with pytest.raises(StoreError, match="changed since its sum was taken, so it is damaged"):
        export_run(make_plan(workshop.study).first("unet"), folder, tmp_path / "export")
    counts.unlink()  # so that there is something to do
    assert run_part(workshop_at(trained, tmp_path / "out", epochs=1)) == []
    assert folder.best.read_bytes() == best
    assert verify(folder.path)[1] == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_masks_edited_since_are_refused_when_scored_anew_and_by_another_seed(trained, tmp_path, split):
    dataset, _ = workshop_at(trained, tmp_path / "out").dataset("kvasir")
    for sample in dataset.samples(split):
        Image.fromarray(255 - np.asarray(Image.open(sample.mask))).save(sample.mask)
    changed = workshop_at(trained, tmp_path / "out", epochs=1, settings=["scoring.tolerances_px=[3]", "seeds=[42, 43]"])
    before, after = run_part(changed)
    assert f"(split '{split}' of 'kvasir')" in before and "changed since this run began" in before
    assert f"(split '{split}' of 'kvasir')" in after and "changed since seed 42 of this experiment was made" in after
    assert data_changes(changed, make_plan(changed.study).select(["unet"], 42)).keys() == {"unet/seed42"}
    assert run_part(changed, replace=True) == []


def test_a_run_that_another_process_holds_is_skipped_and_is_no_failure(data, tmp_path):
    workshop = workshop_at(data, tmp_path / "out", epochs=1)
    plan = make_plan(workshop.study).select(["unet"])
    with workshop.store.run("unet", 42).lock():
        outcome = execute(workshop, plan)
    assert (outcome.failures, outcome.held) == ([], ["unet/seed42"])
    assert execute(workshop, plan).held == []


def test_a_damaged_cache_is_built_again_in_the_midst_of_a_study(finished, tmp_path):
    broken = workshop_at(finished, tmp_path / "broken", epochs=1)
    broken.cached("kvasir", "train", 32)
    (images,) = (tmp_path / "broken" / "cache").glob("kvasir-train-32-*/images.npy")
    flip(images)
    assert run_part(broken) == []
    assert losses(broken.store) == losses(Store(finished / "out"))


def test_evaluations_hold_all_counts_the_rules_and_the_groups(data, tmp_path):
    rules = ["scoring.tolerances_px=[1, 3]", "scoring.calibration_bins=7", "data.kvasir.groups=cju0.(.)"]
    workshop = workshop_at(data, tmp_path / "out", protocol="held-out", epochs=1, settings=rules)
    assert run_part(workshop) == []
    arrays, meta = read_arrays(workshop.store.run("unet", 42).evaluation("kvasir", "test"))
    assert arrays["calibration"].shape == (len(arrays["ids"]), 7, 3)
    assert arrays["boundary_matches"].shape[1:] == (3, 2, 4)  # two tolerances in pixels, one share; two classes
    assert arrays["groups"].tolist() == [name[-1] for name in arrays["ids"]]
    assert meta["scoring"]["tolerances_px"] == [1, 3]
    assert (arrays["confusion_input"].sum(axis=(1, 2)) == 32 * 32).all()
