"""Captions for your own pictures, from the captioners that the pipeline has trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.captioner import Captioner

KINDS = {"clipcap": "ClipCap", "lstm": "LSTM"}  # captioners, and their names for people


def load_captioner(model: str | Path) -> Captioner:
    """A captioner, ready for `captioner(["a.jpg", picture])`.

    Args:
        model: a project's checkpoint (checkpoints/clipcap), a folder that `commands.export` wrote, or
            USER/NAME of such a folder on the Hugging Face hub.

    Raises:
        UserError: the captioner cannot be found or used; the message says why.
    """
    from app.captioner import Captioner  # imports torch only when a captioner is needed
    from app.hub import found

    return Captioner(found(model))
