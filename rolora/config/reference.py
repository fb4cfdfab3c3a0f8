"""Documents made from the schema: the reference of all keys, and a commented config to start from."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rolora.config.reading import merge, packaged_configs, resolve_base
from rolora.config.schema import Config, flatten

WIDTH = 100
HEADING = "Keys after a # are at their default, or not set; `rolora config reference` lists all of them."


class Field(NamedTuple):
    """A key of the config."""

    key: str
    kind: str
    """Type and bounds, in words."""
    meaning: str
    required: bool
    default: Any


def fields() -> Iterator[Field]:
    """Yield all fields, those without a section first."""
    schema = Config.model_json_schema()
    owners = {"": schema}
    for name, entry in schema["properties"].items():
        if "$ref" in entry:
            owners[f"{name}."] = schema["$defs"][entry["$ref"].rpartition("/")[2]]
    for prefix, owner in owners.items():
        for name, entry in owner["properties"].items():
            if "$ref" not in entry:
                required = name in owner.get("required", ())
                yield Field(prefix + name, _kind(entry), entry["description"], required, entry.get("default"))


def _kind(entry: Mapping[str, Any]) -> str:
    """Return a type of JSON schema in words."""
    if "anyOf" in entry:
        return " or ".join(_kind(branch) for branch in entry["anyOf"] if branch.get("type") != "null")
    if "enum" in entry:
        return ", ".join(json.dumps(value) for value in entry["enum"])
    if entry["type"] == "array":
        return f"list of {_kind(entry['items'])}"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f" {sign} {entry[name]:g}" for name, sign in signs.items() if name in entry]
    names = {"boolean": "true or false", "object": "table", "string": "text"}
    return names.get(entry["type"], entry["type"]) + ",".join(bounds)


def table() -> str:
    """Return the reference of all keys as a Markdown table."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in fields():
        default = (
            "required" if field.required else "not set" if field.default in (None, {}) else toml_value(field.default)
        )
        cells = (f"`{field.key}`", field.kind, default, field.meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def starting_config(task: str = "classification", model: str | None = None, data: str | None = None) -> str:
    """Return a complete config in TOML with every key explained; those that may be left out are commented.

    Args:
        task: "classification", "regression" or "generation".
        model: as ``model.name``; a packaged one if None.
        data: as ``data.name``; the packaged sentences if None. Their label is the number, or the response.

    Example:
        >>> print(starting_config("regression", data="scores.csv").partition("[model]")[0])
        # Keys after a # are at their default, or not set; `rolora config reference` lists all of them.
        <BLANKLINE>
        # the method, as `rolora list` names it (text)
        algorithm = "rolora"
        # of all random draws but the split of the data (integer)
        seed = 0
        # the algorithm's own options, such as schedule (table)
        #method = {}
        <BLANKLINE>
        # The backbone and its head.
        <BLANKLINE>
    """
    generates = task == "generation"
    start = resolve_base(packaged_configs()["decoder" if generates else "quickstart"])
    own: dict[str, Any] = {"name": data or "rotten-tomatoes", "validation_examples": 50, "test_examples": 100}
    own |= {} if task == "classification" else {"task": task}
    own |= {"text_columns": ["text"], "response_column": "label"} if generates and data is None else {}
    start = merge({**start, "data": own}, {"model": {"max_length": 128} | ({"name": model} if model else {})})
    for key in ("target_modules", "layers"):
        start["lora"].pop(key, None)
    values, section = flatten(start), ""
    lines = [f"# {HEADING}", ""]
    for field in fields():
        owner, _, name = field.key.rpartition(".")
        if owner != section:
            section = owner
            lines += ["", f"# {Config.model_fields[section].annotation.__doc__}", f"[{section}]"]
        explained = f"{field.meaning} ({field.kind})"
        lines += textwrap.wrap(explained, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        value = values.get(field.key, field.default)
        sign = "" if field.key in values else "#"
        lines.append(f"{sign}{name} = {'' if value is None else toml_value(value)}".rstrip())
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Return a value in TOML.

    Example:
        >>> toml_value([{"rank": 2, "layers": [4, 5]}, True])
        '[{ rank = 2, layers = [4, 5] }, true]'
    """
    if isinstance(value, Mapping) and value:
        return f"{{ {', '.join(f'{key} = {toml_value(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def toml(table: Mapping[str, Any]) -> str:
    """Return a config's table in TOML, sections after the keys that have none.

    Example:
        >>> print(toml({"lora": {"rank": 2}, "seed": 0}), end="")
        seed = 0
        <BLANKLINE>
        [lora]
        rank = 2
    """
    lines = [f"{key} = {toml_value(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for name, section in table.items():
        if isinstance(section, Mapping):
            lines += ["", f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"
