"""VGG16 (Simonyan and Zisserman 2015) as in torchvision, from full size to one for training on a laptop.

At width 1 and 224 pixels, all weights have the names and shapes of `torchvision.models.vgg16` (`vgg16_bn`
with batch normalisation), so any state dict of that network loads. `forward` and `fc7` give exactly
torchvision's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from models.empty import no_weights

# Output channels of the thirteen convolutions; "M" is a max pooling that halves height and width.
LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
STRIDE = 32  # pixels per side of one cell of the last feature map


@dataclass(frozen=True)
class VGG16Config:
    """Sizes of the network. The defaults are torchvision's; smaller ones are for training from scratch."""

    image_size: int = 224  # pixels of a side; a multiple of 32
    width: float = 1.0  # factor of every layer's number of channels
    batch_norm: bool = False  # after each convolution; without it, training from scratch works badly
    num_labels: int = 1000
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.image_size < STRIDE or self.image_size % STRIDE:
            raise ValueError(f"VGG16's image_size must be a multiple of {STRIDE}, not {self.image_size}")
        if not 0 < self.width <= 4:
            raise ValueError(f"VGG16's width must lie in (0, 4], not {self.width}")

    def channels(self, full: int) -> int:
        """The channels of a layer that has `full` at width 1: a multiple of 8, at least 8."""
        return max(8, round(full * self.width / 8) * 8)


class VGG16(nn.Module):
    """Normalised images (B, 3, S, S) to label logits (B, num_labels), or to features for captioners."""

    def __init__(self, config: VGG16Config | None = None) -> None:
        super().__init__()
        self.config = config = config or VGG16Config()
        layers = [layer if layer == "M" else config.channels(layer) for layer in LAYERS]
        self.features = convolutions(layers, config.batch_norm)
        # torchvision pools to 7 x 7 cells, the size for 224 pixels. Smaller images have fewer cells and keep
        # them.
        cells = min(7, config.image_size // STRIDE)
        self.avgpool = nn.AdaptiveAvgPool2d((cells, cells))
        hidden = config.channels(4096)
        self.classifier = nn.Sequential(
            nn.Linear(config.channels(512) * cells * cells, hidden),  # fc6
            nn.ReLU(True),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),  # fc7
            nn.ReLU(True),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, config.num_labels),
        )
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Label logits (B, num_labels) of images (B, 3, S, S)."""
        return self.classifier[5:](self.fc7(images))

    def fc7(self, images: Tensor) -> Tensor:
        """The last hidden layer after its ReLU, (B, 4096 * width): the conventional captioner's features."""
        x = self.avgpool(self.features(images))  # (B, C, 7, 7)
        return self.classifier[:5](x.flatten(1))  # (B, C * 7 * 7) -> (B, D)

    def conv5_3(self, images: Tensor) -> Tensor:
        """The last convolution after its ReLU, as a grid (B, S/16, S/16, 512 * width) for attention."""
        return self.features[:-1](images).permute(0, 2, 3, 1)  # (B, C, H, W) -> (B, H, W, C)

    def replace_head(self, num_labels: int) -> None:
        """Replaces the last layer by a freshly initialised one for `num_labels` labels."""
        old = self.classifier[6]
        self.classifier[6] = nn.Linear(
            old.in_features, num_labels, device=old.weight.device, dtype=old.weight.dtype
        )
        initialise(self.classifier[6])
        self.config = replace(self.config, num_labels=num_labels)


def convolutions(layers: Sequence[int | str], batch_norm: bool) -> nn.Sequential:
    """Builds the convolutions with torchvision's numbering. Importing torchvision for them would take 3 s."""
    modules: list[nn.Module] = []
    channels = 3
    for layer in layers:
        if layer == "M":
            modules.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        modules.append(nn.Conv2d(channels, layer, kernel_size=3, padding=1))
        modules += [nn.BatchNorm2d(layer)] if batch_norm else []
        modules.append(nn.ReLU(inplace=True))
        channels = layer
    return nn.Sequential(*modules)


def initialise(module: nn.Module) -> None:
    """Initialises all layers after He et al. (2015).

    torchvision does so for convolutions only; narrow networks need it for linear layers, too.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)


def config_of(weights: dict[str, Tensor]) -> VGG16Config:
    """Returns the sizes of the network that a state dict belongs to.

    Raises ValueError if it is not a VGG16's.
    """
    try:
        first, last = weights["features.0.weight"], weights["classifier.6.weight"]
        fc6 = weights["classifier.0.weight"]
    except KeyError as error:
        raise ValueError(f"not a VGG16: no weight named {error}") from None
    batch_norm = first.dim() == 4 and "features.1.running_mean" in weights
    width = fc6.shape[0] / 4096
    config = VGG16Config(width=width, batch_norm=batch_norm, num_labels=last.shape[0])
    cells = round((fc6.shape[1] / config.channels(512)) ** 0.5)
    config = VGG16Config(
        image_size=cells * STRIDE, width=width, batch_norm=batch_norm, num_labels=last.shape[0]
    )
    with no_weights():
        expected = VGG16(config).state_dict()
    wrong = [name for name in expected if name not in weights or expected[name].shape != weights[name].shape]
    wrong += [name for name in weights if name not in expected]
    if wrong:
        raise ValueError(f"not a VGG16: {len(wrong)} weights do not fit, the first is {wrong[0]}")
    return config


def from_state_dict(weights: dict[str, Tensor]) -> VGG16:
    """Builds a VGG16 in fp32 with these weights; the sizes are inferred from them.

    Raises ValueError if they are not a VGG16's.
    """
    config = config_of(weights)
    with no_weights():
        network = VGG16(config)
    network.load_state_dict({name: tensor.clone() for name, tensor in weights.items()}, assign=True)
    return network.float()
