"""Network files run by their own runtime: ONNX, torch.export, TensorFlow Lite, OpenVINO.

Array letters: ``n`` image, ``c`` colour channel or output channel, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from segstudy.doors import Door
from segstudy.errors import SegstudyError, WeightsError, listing

Layout = Literal["nchw", "nhwc"]
Size = tuple[int | None, ...]  # None where the file takes any


@dataclass(frozen=True)
class Session:
    """A loaded file: its input as it declares it, and a function that runs it.

    ``run`` takes one array of ``dtype`` and shape ``shape`` and gives the outputs by name.
    """

    run: Callable[[NDArray[Any]], Mapping[str, NDArray[Any]]]
    shape: Size
    dtype: Any = np.float32


@dataclass(frozen=True)
class Runtime:
    """A network file that is ready to run; see :func:`load_runtime`."""

    kind: str
    path: Path
    session: Session
    layout: Layout
    output: str | None = None

    @property
    def shape_nchw(self) -> Size:
        """The declared shape of the input; None where the file takes any size."""
        n, *rest = self.session.shape
        return (n, *rest) if self.layout == "nchw" else (n, rest[2], rest[0], rest[1])

    def __call__(self, images_nchw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a batch, in parts if the file has a fixed batch size.

        Parameters
        ----------
        images_nchw
            float32 (n, c, h, w), normalised as the network expects it.

        Returns
        -------
        ndarray
            The network's output as float32: (n, c, h, w) whatever the file's layout, or (n, h, w) if it has no channels.

        Raises
        ------
        WeightsError
            If the file takes images of another size, or its runtime stops.

        """
        num, at_once = len(images_nchw), self.shape_nchw[0]
        self._check(images_nchw)
        step = at_once or num
        parts = [self._run(images_nchw[start : start + step], step) for start in range(0, num, step)]
        return np.concatenate(parts)[:num]

    def _check(self, images_nchw: NDArray[np.float32]) -> None:
        wanted, given = self.shape_nchw, images_nchw.shape
        if any(side not in (None, found) for side, found in zip(wanted[1:], given[1:], strict=True)):
            raise WeightsError(
                f"{self.path}: takes images of {words_of(wanted)}, given {words_of(given)}; set input_size, or layout if the "
                "colour channel is elsewhere"
            )

    def _run(self, images_nchw: NDArray[np.float32], at_once: int) -> NDArray[np.float32]:
        missing = at_once - len(images_nchw)
        batch = np.pad(images_nchw, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else images_nchw
        given = batch if self.layout == "nchw" else batch.transpose(0, 2, 3, 1)
        try:
            outputs = self.session.run(np.ascontiguousarray(given, dtype=self.session.dtype))
        except Exception as error:  # every runtime has its own exceptions
            size = f"{batch.shape[2]} x {batch.shape[3]}"
            raise WeightsError(f"{self.path}: stopped on {len(batch)} images of {size} ({reason(error)})") from None
        found = self._pick(outputs)
        turned = found.transpose(0, 3, 1, 2) if self.layout == "nhwc" and found.ndim == 4 else found
        return np.asarray(turned, dtype=np.float32)

    def _pick(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if self.output is None and len(outputs) == 1:
            return next(iter(outputs.values()))
        if self.output is None or self.output not in outputs:
            said = f"has no output '{self.output}'" if self.output else f"has {len(outputs)} outputs"
            raise WeightsError(f"{self.path}: {said}; set output_name to one of {listing(outputs)}")
        return outputs[self.output]


def words_of(shape_nchw: Size) -> str:
    """A declared input in words.

    >>> words_of((1, 3, 144, 256)), words_of((None, 3, None, None))
    ('3 channels, 144 x 256', '3 channels, any size')
    """
    _, channels, height, width = shape_nchw
    sides = "any size" if height is width is None else f"{height or 'any'} x {width or 'any'}"
    return f"{'any number of' if channels is None else channels} channels, {sides}"


def reason(error: Exception) -> str:
    """The first line of an error, or its kind if it has no text."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def need(module: str, package: str, extra: str) -> ModuleType:
    """Import a module of an optional package; raises :class:`WeightsError` with how to install it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise WeightsError(
            f'needs {package} ({reason(error)}); install it with: pip install "segstudy[{extra}]"'
        ) from None


def _onnx(path: Path, size: tuple[int, int] | None) -> Session:
    ort = need("onnxruntime", "onnxruntime", "onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    # A path, not bytes: weights of large networks lie in a second file next to the first.
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted, names = _only(session.get_inputs()), [each.name for each in session.get_outputs()]
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    if wanted.type not in kinds:
        raise WeightsError(f"its input is {wanted.type}; only {listing(kinds)} are supported")

    def run(images: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        return dict(zip(names, session.run(None, {wanted.name: images}), strict=True))

    shape = tuple(side if isinstance(side, int) else None for side in wanted.shape)
    return Session(run, shape, np.dtype(kinds[wanted.type]))


def _torch_export(path: Path, size: tuple[int, int] | None) -> Session:
    program = torch.export.load(path)
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    value = _only(inputs).meta["val"]
    module = program.module()

    def run(images: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        with torch.inference_mode():
            return _named_outputs(module(torch.from_numpy(images)))

    shape = tuple(side if isinstance(side, int) else None for side in value.shape)
    return Session(run, shape, torch.empty(0, dtype=value.dtype).numpy().dtype)


def _named_outputs(given: Any) -> dict[str, NDArray[Any]]:
    named = (
        given if isinstance(given, Mapping) else dict(enumerate(given if isinstance(given, list | tuple) else [given]))
    )
    return {str(name): value.float().cpu().numpy() for name, value in named.items() if isinstance(value, torch.Tensor)}


def _tflite(path: Path, size: tuple[int, int] | None) -> Session:
    litert = need("ai_edge_litert.interpreter", "ai-edge-litert", "tflite")
    with _without_notices():
        interpreter = litert.Interpreter(model_path=str(path), num_threads=torch.get_num_threads())
        wanted = _only(interpreter.get_input_details())
        shape = tuple(None if side < 0 else int(side) for side in wanted["shape_signature"])
        if None in shape:
            fixed = _fixed(shape, size)
            interpreter.resize_tensor_input(wanted["index"], fixed)
        interpreter.allocate_tensors()
    details = interpreter.get_output_details()
    scale, zero = wanted["quantization"]
    wanted = interpreter.get_input_details()[0]

    def run(images: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        kind = wanted["dtype"]
        bounds = np.iinfo(kind) if np.issubdtype(kind, np.integer) else None
        if bounds and scale:
            images = np.clip(np.rint(images / scale + zero), bounds.min, bounds.max)
        interpreter.set_tensor(wanted["index"], images.astype(kind))
        interpreter.invoke()
        return {each["name"]: _dequantised(interpreter.get_tensor(each["index"]), each) for each in details}

    return Session(run, tuple(map(int, wanted["shape"])))


def _dequantised(values: NDArray[Any], details: Mapping[str, Any]) -> NDArray[Any]:
    scale, zero = details["quantization"]
    return (values.astype(np.float32) - zero) * scale if scale else values


def _fixed(shape: Size, size: tuple[int, int] | None) -> list[int]:
    """The shape of a file that takes any size, for one image of ``size``."""
    if size is None and None in shape[1:]:
        raise WeightsError("takes images of any size, but its runtime needs a fixed one; set input_size")
    sides = [1, *shape[1:]]
    free = [place for place, side in enumerate(sides) if side is None]
    for place, side in zip(free, size or (), strict=False):
        sides[place] = side
    return [int(side or 3) for side in sides]


@contextlib.contextmanager
def _without_notices() -> Any:
    """Keep lines that a compiled library writes by itself off the terminal."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _openvino(path: Path, size: tuple[int, int] | None) -> Session:
    ov = need("openvino", "openvino", "openvino")
    core = ov.Core()
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(str(path), "CPU", threads)
    wanted = _only(compiled.inputs)

    def run(images: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        found = compiled(images)
        return {_port_name(port, place): found[port] for place, port in enumerate(compiled.outputs)}

    shape = tuple(side.get_length() if side.is_static else None for side in wanted.partial_shape)
    return Session(run, shape, np.dtype(wanted.element_type.to_dtype()))


def _port_name(port: Any, place: int) -> str:
    return port.any_name if port.get_names() else str(place)


def _only(inputs: Sequence[Any]) -> Any:
    if len(inputs) != 1:
        raise WeightsError(f"has {len(inputs)} inputs; only networks of one image are supported")
    return inputs[0]


# What runs which kind of file: functions of its path, and of the height and width of images where the file does not fix them.
RUNTIMES = Door("runtime", {"onnx": _onnx, "torch_export": _torch_export, "tflite": _tflite, "openvino": _openvino})


def load_runtime(
    kind: str,
    path: Path,
    *,
    layout: Layout | None = None,
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> Runtime:
    """Load a network file for its own runtime, on the CPU.

    Parameters
    ----------
    kind
        A name of ``RUNTIMES``: ``onnx``, ``torch_export``, ``tflite`` or ``openvino``.
    path
        The file.
    layout
        Order of the file's axes; by default read off its declared input.
    size
        Height and width of images, which a TensorFlow Lite file of any size needs.
    output
        Name of the output, if there are several.

    Returns
    -------
    Runtime
        Takes float32 images (n, c, h, w) and gives float32 outputs (n, c, h, w).

    Raises
    ------
    WeightsError
        If the runtime is not installed, or the file is missing, damaged or of another kind.

    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecated ways of the runtimes' own libraries
            session = RUNTIMES.find(kind)(path, size)
    except SegstudyError as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # every runtime has its own exceptions for damaged files
        raise WeightsError(f"{path}: cannot be loaded as {kind} ({reason(error)})") from None
    if len(session.shape) != 4:
        raise WeightsError(f"{path}: its input has {len(session.shape)} axes; images have 4 (n, c, h, w)")
    return Runtime(kind, path, session, layout or layout_of(session.shape), output)


def layout_of(shape: Size) -> Layout:
    """Order of axes of a declared input: the colour channel is the axis of 3, or of 1; (n, c, h, w) if that decides nothing.

    >>> layout_of((1, 256, 256, 3)), layout_of((None, 3, None, None))
    ('nhwc', 'nchw')
    """
    return "nhwc" if shape[3] in (1, 3) and shape[1] not in (1, 3) else "nchw"


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a ``.safetensors`` file; empty if it has none."""
    try:
        with importlib.import_module("safetensors").safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except Exception as error:  # a damaged file
        raise WeightsError(f"{path}: cannot be read ({reason(error)})") from None
