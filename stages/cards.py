"""Stage cards: writes a full model card for each captioner, once the test split is scored.

Reads   data/, checkpoints/NAME/config.json, live/train_NAME/ (curves), captions/NAME_weights.json,
        results/scores.json, results/NAME.csv.
Writes  results/cards/lstm.md and results/cards/clipcap.md: Markdown with the front matter of the Hugging Face
        hub.
Expect  2 s.
"""

from __future__ import annotations

from captioning.core import paths
from captioning.core import settings as schema
from captioning.core.files import atomic_write
from captioning.evaluation.report.cards import read_captioner
from stages import stage


@stage
def main() -> None:
    settings = schema.load()
    for name in paths.ENCODER_OF:
        path = paths.CARDS / f"{name}.md"
        text = read_captioner(name, settings).card()
        with atomic_write(path) as file:
            file.write(text)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
