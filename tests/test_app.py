"""The app's faults; that it captions as the pipeline does is tested in test_pipeline, on what that has trained."""

import pytest

from app.captioner import encoder_of
from captioning.core import settings
from captioning.core.errors import UserError
from captioning.decoders.checkpoint import Decoder


@pytest.mark.parametrize("kind", ["lstm", "clipcap"])
def test_a_captioner_of_imported_features_has_no_encoder_here(kind):
    features = {"encoder": "imported from features.npz", "layer": "unknown", "normalization": "as imported"}
    with pytest.raises(UserError, match=rf"checkpoints/{kind} learned from features imported from features\.npz"):
        encoder_of(Decoder(kind, None, None, {}, features), settings.load())
