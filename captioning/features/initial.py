"""The weights that the fine-tuning stages start from: fresh ones, the libraries' pretrained ones, or a file.

Where a file comes from (a path, a cache, the network) is `captioning.weights.sources`'s to say; no library is asked
to load anything by name, so none looks for a network that is not there, and nothing in a file is ever run.
"""

from __future__ import annotations

from torch import Tensor

from captioning.core.errors import UserError
from captioning.core.settings import CLIPSettings, VGG16Settings
from captioning.features.images import Preprocess, clip_preprocess, vgg16_preprocess
from captioning.weights import sources
from captioning.weights.state_dict import read_state_dict
from models import clip, vgg16

CLIP_VOCABULARY = 49408  # of clip.tokenize


def initial_vgg16(options: VGG16Settings) -> tuple[vgg16.VGG16, Preprocess]:
    """A VGG16 as `vgg16.weights` asks for it, and the preprocessing that goes with it."""
    if options.weights == "scratch":
        config = vgg16.VGG16Config(options.image_size, options.scratch.width, batch_norm=True, num_labels=1)
        return vgg16.VGG16(config), vgg16_preprocess(options.image_size)
    weights = read_state_dict(sources.vgg16(options.weights).get())
    network = _fit(vgg16.from_state_dict, weights, "vgg16.weights", options.weights)
    return network, vgg16_preprocess(network.config.image_size)


def initial_clip(options: CLIPSettings) -> tuple[clip.CLIP, Preprocess]:
    """A CLIP as `clip.weights` asks for it, and the preprocessing that goes with it."""
    if options.weights == "scratch":
        s = options.scratch
        config = clip.CLIPConfig(
            s.embed_dim, s.image_size, tuple(s.vision_layers), s.vision_width, None,
            s.context_length, CLIP_VOCABULARY, s.text_width, s.text_layers,
        )  # fmt: skip
        return clip.build(config), clip_preprocess(s.image_size)
    weights = read_state_dict(sources.clip(options.weights).get())
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("attn_mask")}  # no weight
    model = _fit(clip.from_state_dict, weights, "clip.weights", options.weights)
    return model, clip_preprocess(model.visual.input_resolution)


def _fit(build, weights: dict[str, Tensor], key: str, value: str):
    try:
        return build(weights)
    except ValueError as error:
        raise UserError(f"{key} = {value!r}: {error}") from None
