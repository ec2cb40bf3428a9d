"""Stage filter_paraphrases: reduces METEOR's paraphrase table to what the references can match.

Reads   data/
Writes  features/paraphrases.gz: every entry of the table that can match a reference. No score depends on the
        others.
Takes   6 s on one core. Java spends nearly all of it reading the 5.3 million entries. 0.2 GB for 5,000
        references.
Expect  one line. It is a stage of its own because only stage evaluate needs the table.
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
