"""Stage filter_paraphrases: what METEOR's paraphrase table holds for the references that captions are scored by.

Reads   data/
Writes  features/paraphrases.gz: every entry of the table that can match there; no score depends on the others.
Takes   6 s on one core, nearly all of it Java's reading of the 5.3 million entries; 0.2 GB for 5,000 references.
Expect  one line. The stage stands alone because nothing but stage evaluate needs the table.
"""

from __future__ import annotations

from captioning.core import settings as schema
from captioning.core.paths import PARAPHRASES
from captioning.data.dataset import load_data
from captioning.metrics.paraphrases import write_table
from stages import stage


@stage
def main() -> None:
    references = load_data().tokens(schema.load().evaluate.split)
    entries = write_table((text for texts in references.values() for text in texts), PARAPHRASES)
    print(f"{PARAPHRASES}: the {entries} entries of METEOR's paraphrase table that can match the references")


if __name__ == "__main__":
    main()
