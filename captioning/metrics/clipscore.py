"""CLIPScore and RefCLIPScore (Hessel et al. 2021, https://arxiv.org/abs/2104.08718) from cached features.

CLIPScore is 2.5 * max(cos(image, caption), 0). RefCLIPScore is the harmonic mean of CLIPScore and the
caption's cosine with its nearest reference. The paper uses ViT-B/32 and puts "A photo depicts" before each
caption. A CLIP that was fine-tuned on this data set measures something else: its numbers only compare
captioners within one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.core.device import pick_device
from captioning.core.files import sha256_of
from captioning.core.progress import track
from captioning.features.clip_text import tokenize, trim
from captioning.features.encoders import TOWERS, open_clip
from captioning.features.store import FeatureStore
from captioning.weights import checkpoint
from captioning.weights.sources import CLIP_FILES

WEIGHT = 2.5
PROMPT = "A photo depicts "
BATCH = 256


class CLIPScorer:
    """CLIP's text tower beside the image features of the same CLIP.

    Args:
        folder: the checkpoint of the CLIP.
        store: its features of the images.
        official: whether the weights are OpenAI's own; captions then get the paper's prompt.
    """

    def __init__(self, folder: Path, store: FeatureStore, official: bool) -> None:
        self.device = pick_device()
        self.model = open_clip(folder)[0].eval().to(self.device)
        self.store, self.prompt = store, PROMPT if official else ""
        self._embedded: dict[str, Tensor] = {}

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Unit embeddings (N, D) of captions. Embeddings computed before are reused."""
        new = [text for text in dict.fromkeys(captions) if text not in self._embedded]
        if new:
            tokens = tokenize([self.prompt + text for text in new], self.model.context_length)  # (M, L)
            parts = track(range(0, len(new), BATCH), "CLIP's text tower", unit="batch")
            with torch.inference_mode():
                batches = (trim(tokens[i : i + BATCH]).to(self.device) for i in parts)
                rows = torch.cat([self.model.encode_text(batch).float().cpu() for batch in batches])
            self._embedded |= dict(zip(new, F.normalize(rows, dim=1), strict=True))
        return torch.stack([self._embedded[text] for text in captions])

    def score(
        self, captions: Mapping[str, str], references: Mapping[str, Sequence[str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """CLIPScore and RefCLIPScore of each image, (N,) each, in the order of `captions`."""
        images = F.normalize(torch.from_numpy(self.store.load(list(captions))).float(), dim=1)  # (N, D)
        self.embed([text for i in captions for text in references[i]])  # all together, before the loop
        said = self.embed(list(captions.values()))  # (N, D)
        plain = WEIGHT * (images * said).sum(dim=1).clamp(min=0)  # (N,)
        pairs = zip(captions, said, strict=True)
        best = torch.stack([(self.embed(references[i]) @ row).max() for i, row in pairs]).clamp(min=0)  # (N,)
        both = 2 * plain * best / (plain + best).clamp(min=1e-12)
        return plain.double().numpy(), both.double().numpy()


def fault(folder: Path, store: FeatureStore) -> str | None:
    """Why there is no CLIPScore, or None."""
    if len(store.shape) != 2:
        return "the features of stage extract_clip are no single vector an image"
    weights = folder / checkpoint.WEIGHTS
    if not weights.is_file() or store.attrs.get("weights") != sha256_of(weights):
        origin = store.attrs.get("encoder", "of unknown origin")
        return f"the features are not those of the CLIP in {folder} but {origin}"
    if checkpoint.read(folder, TOWERS).kind != "clip":
        return f"the encoder in {folder} has no text tower"
    return None


def is_official(name: str, epochs: int) -> bool:
    """Whether `clip.weights` and `finetune_clip.epochs` leave one of OpenAI's own CLIPs as it is."""
    return name in CLIP_FILES and epochs == 0
