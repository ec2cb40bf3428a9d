"""Reads YAML files of settings as plain values, and reports in one sentence what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from captioning.core.errors import UserError, shown

MOST_VALUES = 100_000  # in a file of settings; ours has 150


def read_yaml(path: str | Path) -> dict:
    """Reads a file and parses it with `parse_yaml`."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: run from the project's folder, or restore it with `git checkout {path}`"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): restore it with `git checkout {path}`"
        ) from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, origin: str) -> dict:
    """Parses YAML 1.2 to plain Python, as DVC does (`1e-3` is a number, a duplicate key is an error)."""
    text = ""
    try:
        text = content.decode()
        _check_nodes(text)
        values = YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise UserError(
            f"{origin} is not valid YAML: values are nested too deep; close their brackets"
        ) from None
    except (YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:  # its parser raises them
        raise UserError(f"{origin} is not valid YAML: {_fault(error, text)}") from None
    if not isinstance(values, dict):
        raise UserError(
            f"{origin} must hold groups of settings (`data:`, `model:`, ...), not {type(values).__name__}"
        )
    return values


def _fault(error: Exception, text: str) -> str:
    """A parser's error in one sentence: the line, what it holds, and what is wrong with it."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).replace('in "<unicode string>",', "at").split())
    number = error.problem_mark.line
    line = "".join(text.split("\n")[number : number + 1]).partition(" #")[0].strip()
    where = f"line {number + 1}, {shown(line)}" if line else f"line {number + 1}"
    start = error.context_mark
    within = f", {error.context} that begins on line {start.line + 1}" if error.context and start else ""
    return f"{where}: {error.problem}{within}; mend its indentation, colons, quotes or brackets"


def _check_nodes(text: str) -> None:
    """Raises ValueError, with the line, if a value does not fit its tag or form, or if aliases are too many.

    An alias represents everything that it names, so a few lines of nested aliases unfold to millions of
    values.
    """
    yaml = YAML(typ="safe", pure=True)
    waiting, count = [yaml.compose(text)], 0
    while waiting:
        node, count = waiting.pop(), count + 1
        if count > MOST_VALUES:
            raise ValueError(f"its aliases unfold to more than {MOST_VALUES:,} values; write the values out")
        if isinstance(node, MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, ScalarNode) and not node.tag.endswith(":merge"):  # `<<` is not a value
            what = f"{shown(node.value)} on line {node.start_mark.line + 1}"
            try:
                value = yaml.constructor.construct_object(node, deep=True)
            except (ValueError, KeyError, TypeError, AttributeError):
                kind = node.tag.rpartition(":")[2]
                raise ValueError(
                    f"{what} looks like a value of type {kind} but is not one; correct it, or quote it"
                ) from None
            if isinstance(value, int) and value.bit_length() > 63:
                raise ValueError(f"{what} is larger than any setting may be; write a smaller number")
