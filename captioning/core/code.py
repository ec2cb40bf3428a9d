"""Hashes of the code that each stage runs. Comments and docstrings do not change them.

DVC does not follow imports. So stage `code` writes these hashes, one file per stage, and each stage depends
on its file. They also key the rows of the row store.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("captioning", "models", "scenes", "stages", "commands", "app")
# These modules affect no result, so a change to them runs no stage again.
DECIDE_NOTHING = ("errors", "malloc", "progress", "setting_faults", "settings", "yaml_files")


@cache
def hash_source(source: str) -> str:
    """A hash of Python source without its comments, docstrings, blank lines and trailing blanks.

    It cuts these spans out and hashes the rest as text, since the output of `ast.dump` and `tokenize` differs
    between versions of Python. Lines that end inside a string are kept whole. Raises SyntaxError.
    """
    tree, lines = ast.parse(source), source.split("\n")
    encoded = [line.encode() for line in lines]  # ast counts bytes, tokenize characters
    in_string: set[int] = set()  # lines that end inside a string
    cuts: list[tuple[int, int, int, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        ):
            in_string.update(range(node.lineno - 1, node.end_lineno - 1))
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            doc = node.body[0]
            cuts.append((doc.lineno - 1, doc.col_offset, doc.end_lineno - 1, doc.end_col_offset))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start[0] - 1, len(lines[token.start[0] - 1][: token.start[1]].encode())
            cuts.append((row, column, row, len(encoded[row])))
    for row, column, last, end in sorted(cuts, reverse=True):
        encoded[row : last + 1] = [encoded[row][:column] + encoded[last][end:], *[b""] * (last - row)]
        in_string.difference_update(range(row, last))
    kept = [line if row in in_string else line.rstrip() for row, line in enumerate(encoded)]
    text = b"\n".join(line for row, line in enumerate(kept) if line or row in in_string)
    return hashlib.sha256(text).hexdigest()


def hash_file(path: Path) -> str:
    """`hash_source` of a Python file, or the hash of another file's bytes."""
    if path.suffix == ".py":
        return hash_source(path.read_text(encoding="utf-8"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hash_of_files(paths: Iterable[Path]) -> str:
    """One hash of the code of several files; their order does not matter."""
    return hashlib.sha256("\n".join(sorted(map(hash_file, paths))).encode()).hexdigest()


def files_of(module: str, root: Path = Path()) -> Iterator[Path]:
    """A module's file, or a package's `__init__.py` and the other files in its folder."""
    folder = root.joinpath(*module.split("."))
    if (folder / "__init__.py").is_file():
        yield folder / "__init__.py"
        yield from (path for path in folder.rglob("*") if path.is_file() and not _is_code(path, folder))
    elif folder.with_suffix(".py").is_file():
        yield folder.with_suffix(".py")


def _is_code(path: Path, package: Path) -> bool:
    """Whether a file is Python code or belongs to a package below this one."""
    between = [path.parent, *path.parent.parents]
    inner = between[: between.index(package)]
    return path.suffix in (".py", ".pyc") or any((folder / "__init__.py").is_file() for folder in inner)


@cache
def imported(source: str) -> list[str]:
    """The project's own modules that Python source imports, and the names that it imports from them."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] in PACKAGES]


def closure(module: str, root: Path = Path()) -> list[Path]:
    """All of the project's files that `python -m module` may run or read, sorted.

    It follows imports at the top of a file and inside functions, and imports the packages above a module too.
    """
    files: set[Path] = set()
    names, queue = set(), [module]  # names of modules, packages and what is imported from them
    while queue:
        if (name := queue.pop()) in names:
            continue
        names.add(name)
        queue += [name.rpartition(".")[0]] if "." in name else []
        found = set(files_of(name, root)) - files
        files |= found
        for path in found:
            if path.suffix == ".py":
                queue += imported(path.read_text(encoding="utf-8"))
    return sorted(files)


def describe(module: str, root: Path = Path()) -> str:
    """A line for each file that decides what a module writes: its hash and its path."""
    core = [Path("captioning/core") / f"{name}.py" for name in DECIDE_NOTHING]
    paths = [path for path in closure(module, root) if path.relative_to(root) not in core]
    return "".join(f"{hash_file(path)}  {path.relative_to(root).as_posix()}\n" for path in paths)
