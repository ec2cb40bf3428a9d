"""`results/report.html`: one self-contained file with the run's settings, scores and captions.

`report.data.collect` reads the outputs of the stages. `render` combines them with the files beside this
module into one HTML file. The page's own script does all drawing. `render` escapes the data, so that nothing
in it can become markup or script.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent
# In order of loading.
SCRIPTS = ("dom.js", "charts.js", "scores.js", "search.js", "viewer.js", "gallery.js", "run.js",
           "main.js")  # fmt: skip
ESCAPES = {char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}  # valid in JSON, harmless in HTML


def render(data: dict[str, Any]) -> str:
    """The report as HTML. `data` is the result of `captioning.evaluation.report.data.collect`."""
    style = (PAGE / "report.css").read_text(encoding="utf-8")
    script = '"use strict";\n' + "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"POLICY": policy, "STYLE": style, "SCRIPT": script, "DATA": escape(data)}
    html = (PAGE / "template.html").read_text(encoding="utf-8")
    # All slots are replaced in one pass, because the data may contain a slot's name.
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot[1]], html)


def escape(data: Any) -> str:
    """JSON that is safe in a script element: no `</script>`, no `<!--`, and no line separator."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char, escaped in ESCAPES.items():
        text = text.replace(char, escaped)
    return text.encode("utf-8", "replace").decode()  # a lone surrogate in a file name


def _hash(text: str) -> str:
    """The hash by which a Content-Security-Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
