"""A page in the browser on which a finished run segments images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from segstudy.arrays import Labels
from segstudy.data.quality.sheets import overlay
from segstudy.errors import SegstudyError
from segstudy.networks.foreign import need
from segstudy.plan import Run
from segstudy.predict import open_predictor
from segstudy.store import RunFolder

Shown = tuple[Image.Image, Image.Image, list[list[str]]]  # overlay, mask, class and share of each row


def segment_with(run: Run, folder: RunFolder) -> Callable[[Image.Image], Shown]:
    """A function of an image (RGB): the image with its mask over it, the mask alone, and each class's share of the pixels."""
    predictor = open_predictor(run, folder)
    palette, classes = predictor.dataset.palette, predictor.dataset.classes

    def segment(image: Image.Image) -> Shown:
        labels: Labels = predictor.predict(image)
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = palette
        shares = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
        rows = [[name, f"{share:.1%}"] for name, share in zip(classes, shares, strict=True)]
        return overlay(image, labels, palette), Image.fromarray(colours[labels]), rows

    return segment


def make_page(run: Run, folder: RunFolder) -> Any:
    """The page, a ``gradio.Blocks``; it loads nothing from elsewhere.

    Raises
    ------
    WeightsError
        If Gradio is not installed.

    """
    gradio = need("gradio", "Gradio", "serve")
    segment = segment_with(run, folder)

    def answer(image: Image.Image | None) -> tuple[Any, ...]:
        return (None, None, []) if image is None else segment(image.convert("RGB"))

    with gradio.Blocks(title=f"{run.name}: segment an image", analytics_enabled=False) as page:
        gradio.Markdown(f"# {run.name}\n\nDrop an image. The network runs on this machine; nothing is sent elsewhere.")
        with gradio.Row():
            given = gradio.Image(type="pil", label="Image", sources=["upload", "clipboard"])
            laid = gradio.Image(label="Classes over the image", interactive=False)
        with gradio.Row():
            mask = gradio.Image(label="Mask", interactive=False, format="png", elem_id="mask")
            shares = gradio.Dataframe(headers=["class", "pixels"], label="Share of the pixels", interactive=False)
        given.change(answer, given, [laid, mask, shares], api_name="segment")
    return page


def open_page(page: Any, port: int | None = None, browser: bool = True) -> str:
    """Serve a page to this machine alone, in a thread of its own; returns its address.

    Raises
    ------
    SegstudyError
        If the port is taken.

    """
    try:
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=port,
            share=False,
            inbrowser=browser,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise SegstudyError(f"--port {port}: the page cannot be served there ({error}); choose another one") from None
    return str(address)
