"""Captions for your own pictures, by what the pipeline has trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.captioner import Captioner

KINDS = {"clipcap": "ClipCap", "lstm": "LSTM"}  # of captioners, and what people call them


def load_captioner(model: str | Path) -> Captioner:
    """A captioner, ready for `captioner(["a.jpg", picture])`.

    Args:
        model: one of a project's checkpoints (checkpoints/clipcap), a folder that `commands.export` wrote, or USER/NAME
            of one that it uploaded to the Hugging Face hub.

    Raises:
        UserError: it cannot be found or used; says why.
    """
    from app.captioner import Captioner  # torch is imported only when something is to be captioned
    from app.hub import found

    return Captioner(found(model))
