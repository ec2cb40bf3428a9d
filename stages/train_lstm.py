"""Stage train_lstm: trains the baseline, an LSTM, on the cached VGG16 features.

Reads   data/ (training and dev captions as PTB tokens), features/vgg16.h5.
Writes  checkpoints/lstm/ (config.json, model.safetensors, tokenizer), live/train_lstm/ (curves).
Expect  on `scenes` two minutes on 2 cores. A grid of features (`vgg16.layer: conv5_3`) trains the
        attending LSTM of Show, Attend and Tell; one vector per image trains that of Show and Tell.
"""

from __future__ import annotations

from captioning.core import settings as schema
from captioning.core.device import seed_everything
from captioning.core.paths import features
from captioning.data.dataset import load_data
from captioning.decoders.checkpoint import Decoder, feature_identity
from captioning.decoders.vocabulary import word_vocabulary
from captioning.features.store import FeatureStore
from captioning.training.decoder import DecoderData, train_decoder
from captioning.training.processes import in_processes
from captioning.weights.checkpoint import config_from
from models.lstm import LSTMConfig, LSTMDecoder
from stages import stage


@stage
@in_processes
def main() -> None:
    settings = schema.load()
    data, store = load_data(), FeatureStore.open(features("vgg16"))
    captions = {split: data.by_image("tokens", split) for split in ("train", "dev")}
    text = word_vocabulary(
        (caption for of_image in captions["train"] for caption in of_image), settings.lstm.min_count
    )
    seed_everything(settings.seed)
    sizes = {"vocab_size": text.size, "feature_size": store.shape[-1], "grid": len(store.shape) == 4}
    config = config_from(LSTMConfig, settings.lstm, **sizes)
    decoder = Decoder("lstm", LSTMDecoder(config), text, config.to_dict(), feature_identity(store.attrs))
    train_decoder("train_lstm", decoder, DecoderData(data, store, captions), settings, standardize=True)


if __name__ == "__main__":
    main()
