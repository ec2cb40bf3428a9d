"""Stage report: writes one HTML file with scores, captions, curves, data and settings. It needs no network.

Reads   data/, captions/, results/ of stage evaluate, live/ (curves), params.yaml; dvc.lock and live/times/
        for each stage's outputs and duration.
Writes  results/report.html.
Expect  15 s and 9 MB for the 1,000 test images of `scenes` or of Flickr8k.
"""

from __future__ import annotations

from captioning.core.files import atomic_write
from captioning.core.paths import REPORT
from captioning.evaluation.report.data import collect
from captioning.evaluation.report.page import render
from stages import stage


@stage
def main() -> None:
    data = collect()
    html = render(data)
    with atomic_write(REPORT) as file:
        file.write(html)
    size = f"{len(data['images'])} images, {len(html.encode()) / 1e6:.1f} MB"
    print(f"wrote {REPORT}: {size}; open it in a browser")


if __name__ == "__main__":
    main()
