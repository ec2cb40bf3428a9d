"""Describes faults of settings: the wrong key, and the nearest right one or the values that are allowed."""

from __future__ import annotations

import difflib
from typing import Any

from captioning.core.errors import shown

EXPECTED = {  # type of a pydantic fault: what was expected
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "finite_number": "a finite number",
    "model_type": "a group of settings",
    "dict_type": "a group of settings",
}


def explain(fault: dict[str, Any], keys: list[str]) -> str:
    """Describes a pydantic fault in a sentence: the key, the value, what was expected.

    Args:
        keys: all dotted keys of the schema, in which to look for the neighbour of a misspelt key.
    """
    path = [str(part) for part in fault["loc"]]
    key, value, kind = ".".join(path), fault["input"], fault["type"]
    if kind == "extra_forbidden" and path[-1] == "workers":
        return f"{key} has moved: one number, machine.workers, is for all stages; remove this key"
    if kind == "extra_forbidden":
        return f"{key} = {shown(value)}: no such setting; {_neighbour(key, keys)}"
    if kind == "missing":
        return f"{key} is missing; every setting must be given (see the comments in params.yaml)"
    if kind == "value_error":
        return f"{key}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"])
    expected = EXPECTED[kind].format(**fault.get("ctx", {})) if kind in EXPECTED else fault["msg"]
    return f"{key} = {shown(value)}: expected {expected}"


def _neighbour(key: str, keys: list[str]) -> str:
    """The most similar key of the same group, else of the whole schema, else all keys of the group."""
    groups = {key[:i] for key in keys for i, char in enumerate(key) if char == "."}
    known = keys + sorted(groups)
    siblings = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
    for names in (siblings, known):
        if near := difflib.get_close_matches(key, names, 1, 0.6):
            return f"did you mean {near[0]}?"
    return f"known here: {', '.join(name.rpartition('.')[2] for name in siblings)}"
