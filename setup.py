"""What `pip install .` installs: one package, `captioning`, with app/ and models/ inside it.

Here these folders lie beside each other, where a stage's reader looks for them. But `app` and `models` are what many
people call their own packages, and a name can be installed once. So a wheel has them as `captioning.app` and
`captioning.models`, and says so wherever the code imports them: `from models import clip` becomes
`from captioning.models import clip` while it is built. Nothing happens at import: no hook, no path is changed, each
module has one name. What trains and scores needs the repository and stays there.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

MOVED = ("app", "models")
STAY = ("captioning.training*", "captioning.evaluation*", "captioning.data.sources*")
IMPORT = re.compile(rf"^( *from )({'|'.join(MOVED)})(?=[. ])", re.MULTILINE)


class Build(build_py):
    def run(self) -> None:
        if self.editable_mode:
            raise SystemExit("error: not as an editable install; work in this folder, or `pip install .`")
        super().run()

    def build_module(self, module, module_file, package):
        written, copied = super().build_module(module, module_file, package)
        path = Path(written)
        path.write_text(IMPORT.sub(r"\1captioning.\2", path.read_text(encoding="utf-8")), encoding="utf-8")
        return written, copied


ROOMS = find_packages(include=["captioning", "captioning.*"], exclude=STAY)

setup(
    packages=[*ROOMS, *(f"captioning.{name}" for name in MOVED)],
    package_dir={f"captioning.{name}": name for name in MOVED},
    package_data={"captioning.app": ["page/**"]},
    cmdclass={"build_py": Build},
)
