"""The published loops, re-created to compare ours with.

What is re-created, batch by batch, and from where:

- `PaddedCaptions`, `training_loader`, `training_step`, `as_published`: `train.py` of
  rmokady/CLIP_prefix_caption. A row is one caption, padded to the longest of the data set. The prefix is
  computed for every caption, and logits for every position, also for prefix and padding. fp32, AdamW. With a
  frozen GPT-2 the optimiser gets only the mapping network's weights, but GPT-2's gradients are still
  computed, and zeroed.
- `beam_search`: `generate_beam` of its `predict.py`. One image at a time; every step runs the whole sequence
  of every beam again.
- `extract`: its `parse_coco.py`. A batch of one in fp32, in one process, for every caption of an image.
- `lstm_beam_search`: the usual caption script of LSTM captioners (as in Show, Attend and Tell's
  reimplementations). One image at a time, its beams as the batch, one LSTM step per word.
- `score`: `COCOEvalCap.evaluate` of pycocoevalcap without SPICE, in its order and with its own classes.

Two things differ, on both sides: captions end with GPT-2's end-of-text token, and the searches stop at a
given token where the authors stop at a full stop. Progress bars and prints are left out.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.networks import library_gpt2
from models.clipcap import Attention, ClipCap
from models.lstm import LSTMDecoder

# ---- training ----------------------------------------------------------------------------------------------


class PaddedCaptions(Dataset):
    """Item i is caption i: tokens, padded on access; the mask of prefix and tokens; the image's embedding."""

    def __init__(self, captions: list[list[list[int]]], features: Tensor, prefix_len: int) -> None:
        self.tokens = [torch.tensor(caption) for of_image in captions for caption in of_image]
        self.image = [i for i, of_image in enumerate(captions) for _ in of_image]
        self.features, self.prefix_len = features, prefix_len
        lengths = torch.tensor([len(caption) for caption in self.tokens]).float()
        self.longest = min(int(lengths.mean() + 10 * lengths.std()), int(lengths.max()))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Tensor]:
        tokens = self.tokens[item][: self.longest]
        tokens = torch.cat([tokens, torch.full((self.longest - len(tokens),), -1)])  # (T,)
        inside = tokens >= 0
        mask = torch.cat([torch.ones(self.prefix_len), inside.float()])  # (P + T,)
        return tokens.masked_fill(~inside, 0), mask, self.features[self.image[item]]


def training_loader(dataset: PaddedCaptions, batch_size: int) -> DataLoader:
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)


def as_published(model: ClipCap) -> ClipCap:
    """Changes a ClipCap to the authors' arithmetic and transformers' GPT-2, and returns it.

    A frozen GPT-2's gradients are computed, as in their code.
    """
    model.gpt = library_gpt2(model.gpt)
    model.gpt.requires_grad_(True)
    for module in list(model.clip_project.modules()):
        if isinstance(module, Attention):
            module.forward = _einsum_attention.__get__(module)
    return model


def _einsum_attention(self: Attention, x: Tensor) -> Tensor:
    batch, length, width = x.shape
    q = self.to_queries(x).view(batch, length, self.heads, -1)  # (B, S, h, d)
    k, v = self.to_keys_values(x).view(batch, length, 2, self.heads, -1).unbind(2)  # (B, S, h, d) each
    weights = (torch.einsum("bqhd,bkhd->bqkh", q, k) * q.shape[-1] ** -0.5).softmax(dim=2)
    return self.project(torch.einsum("bqkh,bkhd->bqhd", weights, v).reshape(batch, length, width))


def training_loss(model: ClipCap, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Tokens (N, T), masks (N, P + T), embeddings (N, D) -> mean cross-entropy; token 0 is padding."""
    tokens, mask, features = batch
    length = model.config.prefix_len
    prefix = model.clip_project(features).view(len(tokens), length, -1)  # (N, P, E)
    embeddings = torch.cat([prefix, model.gpt.transformer.wte(tokens)], dim=1)  # (N, P + T, E)
    logits = model.gpt(inputs_embeds=embeddings, attention_mask=mask).logits[:, length - 1 : -1]  # (N, T, V)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens.flatten(), ignore_index=0)


def training_step(
    model: ClipCap,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor, Tensor],
    halfway: Callable[[], None] = lambda: None,
) -> float:
    """`halfway` is called between the backward pass and the optimiser."""
    model.zero_grad()
    loss = training_loss(model, batch)
    loss.backward()
    halfway()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def optimizer_of(model: ClipCap) -> torch.optim.Optimizer:
    """AdamW as in transformers at that time: no weight decay by default, one parameter after another."""
    trained = model.clip_project.parameters() if model.config.freeze_gpt2 else model.parameters()
    return torch.optim.AdamW(trained, lr=2e-5, weight_decay=0.0, eps=1e-6, foreach=False, fused=False)


# ---- beam search -------------------------------------------------------------------------------------------


@torch.no_grad()
def beam_search(
    gpt: nn.Module, prefix: Tensor, beam_size: int, max_tokens: int, stop_id: int
) -> tuple[list[int], float]:
    """One prefix's (1, P, E) best caption by transformers' GPT-2, and its mean log-probability per token.

    Beams are ranked by the mean, finished and unfinished ones together; the search ends when all are
    finished.
    """
    rows = prefix  # (K, P + t, E)
    scores = tokens = None  # (K,) sums, (K, t)
    lengths = torch.ones(beam_size, device=prefix.device)
    stopped = torch.zeros(beam_size, dtype=torch.bool, device=prefix.device)
    for _ in range(max_tokens):
        gains = gpt(inputs_embeds=rows).logits[:, -1].softmax(dim=-1).log()  # (K, V)
        if scores is None:
            scores, new = gains[0].topk(beam_size)
            tokens, rows = new[:, None], rows.expand(beam_size, -1, -1)
        else:
            gains[stopped] = -float("inf")
            gains[stopped, 0] = 0
            lengths[~stopped] += 1
            totals = scores[:, None] + gains
            means, best = (totals / lengths[:, None]).flatten().topk(beam_size)
            parents, new = best // gains.shape[1], best % gains.shape[1]
            lengths, stopped, rows = lengths[parents], stopped[parents], rows[parents]
            tokens = torch.cat([tokens[parents], new[:, None]], dim=1)
            scores = means * lengths
        rows = torch.cat([rows, gpt.transformer.wte(new)[:, None]], dim=1)
        stopped = stopped | (new == stop_id)
        if stopped.all():
            break
    means = scores / lengths
    best = int(means.argmax())
    return tokens[best, : int(lengths[best])].tolist(), float(means[best])


@torch.no_grad()
def lstm_beam_search(
    model: LSTMDecoder, features: Tensor, beam_size: int, max_tokens: int, stop_id: int
) -> tuple[list[int], float]:
    """The best caption of one image's features (1, D), and its log-probability.

    A beam that ends leaves the search. Returns the best finished caption, or the best unfinished one if none
    has finished.
    """
    # The output layer is tied.
    norm, weight, bias = model.image_norm, model.embedding.weight, model.output_bias
    inputs = norm(model.image(features))[:, None]  # (1, 1, E): the image is the first input
    hidden = cell = inputs.new_zeros(1, 1, model.config.hidden_size)
    # (K,), (K, t)
    scores, tokens = inputs.new_zeros(1), torch.zeros(1, 0, dtype=torch.int64, device=features.device)
    finished: list[tuple[float, list[int]]] = []
    for _ in range(max_tokens):
        out, (hidden, cell) = model.lstm(inputs, (hidden, cell))
        totals = scores[:, None] + F.linear(model.norm(out[:, 0]), weight, bias).log_softmax(dim=1)  # (K, V)
        scores, best = totals.flatten().topk(beam_size - len(finished))
        parents, new = best // totals.shape[1], best % totals.shape[1]
        tokens = torch.cat([tokens[parents], new[:, None]], dim=1)
        ends = new == stop_id
        finished += zip(scores[ends].tolist(), tokens[ends].tolist(), strict=True)
        going = ~ends
        if not going.any():
            break
        scores, tokens, parents = scores[going], tokens[going], parents[going]
        hidden, cell = hidden[:, parents], cell[:, parents]
        inputs = model.embedding(tokens[:, -1])[:, None]  # (K, 1, E)
    score, caption = max(finished or list(zip(scores.tolist(), tokens.tolist(), strict=True)))
    return caption, score


# ---- extraction --------------------------------------------------------------------------------------------


def preprocess(
    size: int, resize: int, interpolation: str, mean: tuple, std: tuple
) -> Callable[[Image.Image], Tensor]:
    """CLIP's own transform, or that of torchvision's ImageNet weights, by their numbers."""
    return transforms.Compose(
        [
            transforms.Resize(resize, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def extract(
    forward: Callable[[Tensor], Tensor],
    transform: Callable[[Image.Image], Tensor],
    paths: list[str],
    device: str,
) -> Tensor:
    """Features (N, D) of N captions; `paths` has the image file of each caption."""
    features = []
    for path in paths:
        with Image.open(path) as image:
            pixels = transform(image.convert("RGB"))[None].to(device)  # (1, 3, S, S)
        with torch.no_grad():
            features.append(forward(pixels).cpu())
    return torch.cat(features)


# ---- scoring -----------------------------------------------------------------------------------------------


def score(references: dict[str, list[str]], candidates: dict[str, str]) -> dict[str, float]:
    """BLEU-1..4, METEOR, ROUGE-L and CIDEr of plain text captions."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    gts = tokenizer.tokenize({i: [{"caption": text} for text in texts] for i, texts in references.items()})
    res = tokenizer.tokenize({i: [{"caption": text}] for i, text in candidates.items()})
    scorers = [Bleu(4), Meteor(), Rouge(), Cider()]  # all are made before use, as in the original
    bleu = scorers[0].compute_score(gts, res, verbose=0)[0]
    meteor, rouge, cider = (scorer.compute_score(gts, res)[0] for scorer in scorers[1:])
    names = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider")
    return {name: float(x) for name, x in zip(names, [*bleu, meteor, rouge, cider], strict=True)}
