"""What `pip install .` installs: one package, `captioning`, which includes app/ and models/.

In the repository these folders lie side by side, where a reader of a stage looks for them. But `app` and
`models` are common package names, and a name can be installed only once. So a wheel has them as
`captioning.app` and `captioning.models`. The build rewrites their imports: `from models import clip` becomes
`from captioning.models import clip`. There is no import hook and no changed path, and each module has one
name. Training and scoring need the repository and are not installed.
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
            raise SystemExit("error: no editable install; work in this folder, or run `pip install .`")
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
