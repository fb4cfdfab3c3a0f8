"""Configs from TOML files, packaged names, records of runs and the command line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterator
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rolora.config.schema import Config, field_of, flatten
from rolora.config.sections import Section, missing, unknown
from rolora.errors import InputError, one_of


def packaged_configs() -> dict[str, Path]:
    """Return the files of the packaged configs by name, without ``.toml``."""
    folder = Path(str(resources.files("rolora.config") / "presets"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def locate(config: Path) -> Path:
    """Return the file of a config argument: a path, or the name of a packaged config.

    Raises:
        InputError: there is neither.
    """
    packaged = packaged_configs()
    try:
        if config.exists():
            return config
    except OSError as error:  # a name too long for the file system
        raise InputError(key="config", got=str(config)[:80], expected=f"a TOML file; {error.strerror}") from None
    if str(config) not in packaged:
        raise InputError(key="config", got=config, expected=f"a TOML file or {one_of(config, packaged)}")
    return packaged[str(config)]


def read(path: Path, overrides: list[str] | None = None) -> list[Config]:
    """Return the experiments of a config file: one, or the product of its ``[grid]``.

    In ``[grid]`` each key has a list of values. Under a key of the config a value is that field's, and a table sets
    several of its fields; under any other name a table sets fields of several sections together::

        [grid]
        algorithm = ["ffa-lora", "rolora"]
        scale = [{ federation = { num_clients = 3, rounds = 100 }, evaluation = { every = 20 } }]

    With ``base = "other.toml"``, a file in the same folder, the file holds only the differences from it.

    Args:
        path: a TOML file, or the ``record.json`` of a run, whose config is then run again.
        overrides: ``section.key=value``, the value in TOML (a bare word is taken as a string); they win over the file.

    Raises:
        InputError: file, key, what was given and what was expected.
    """
    table = resolve_base(path)
    grid = table.pop("grid", {})
    if not isinstance(grid, dict):
        raise InputError(key="grid", got=grid, expected="a table with a list of values for each key", where=path)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(key=f"grid.{key}", got=values, expected="a list of values", where=path)
        if key not in Config.model_fields and not all(isinstance(value, dict) for value in values):
            expected = f"one of {', '.join(Config.model_fields)}, or a list of tables with those keys"
            raise unknown(f"grid.{key}", expected).at(path)
    changes = [_override(text) for text in overrides or []]
    overridden = {key for change in changes for key in flatten(change)}
    configs = []
    for choice in product(*grid.values()):
        chosen = table
        for key, value in zip(grid, choice, strict=True):
            chosen = merge(chosen, {key: value} if key in Config.model_fields else value)
        for change in changes:
            chosen = merge(chosen, change)
        configs.append(check(chosen, str(path), overridden))
    return list({config.hash(): config for config in configs}.values())


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return tomllib.loads(text)
        record = json.loads(text)
        table = record.get("config") if isinstance(record, dict) else None
    except FileNotFoundError:
        raise InputError(key="config", got=path, expected="an existing TOML file") from None
    except RecursionError:
        raise InputError(where=path, expected="TOML or a record; it is nested too deeply") from None
    except (ValueError, OSError) as error:  # TOML, JSON and UTF-8 faults are all ValueErrors
        raise InputError(where=path, expected=f"TOML; {error}") from None
    if not isinstance(table, dict):
        raise InputError(where=path, expected="the record of a run, with its config")
    return table


def resolve_base(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a file's table, merged over that of its ``base`` if it names one.

    Args:
        path: a TOML file or a run's record.
        above: files whose bases led to this one.

    Raises:
        InputError: a file that cannot be read, or bases in a circle.
    """
    table = _table(path)
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str) or path.resolve() in above:
        expected = 'the name of a file in the same folder, such as "base.toml", that has not this one as its base'
        raise InputError(key="base", got=base, expected=expected, where=path)
    return merge(resolve_base(path.parent / base, (*above, path.resolve())), table)


def check(table: dict[str, Any], source: str, overridden: Collection[str] = ()) -> Config:
    """Return the config of a table.

    Args:
        table: keys and values, as read from TOML.
        source: file or command, for the error.
        overridden: dotted keys whose values come from the command line.

    Raises:
        InputError: source, key, what was given and what was expected; several faults are reported together.
    """
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        # A value that fits no branch of a union has one fault a branch; the first is enough.
        by_field = {str(fault["loc"][:2]): fault for fault in reversed(error.errors())}
        # A misspelt key is both unknown and missing; that it is unknown says more, and comes first.
        entries = sorted(reversed(by_field.values()), key=lambda entry: entry["type"] != "extra_forbidden")
        faults = tuple(
            fault.at("command line" if fault.key in overridden else source)
            for entry in entries
            for fault in _faults(entry)
        )
    raise faults[0] if len(faults) == 1 else InputError("\n".join(map(str, faults)), where=source, faults=faults)


def _faults(fault: Any) -> Iterator[InputError]:
    """Yield the errors of one of pydantic's."""
    # Between a field and an item, pydantic names the branch of a union, such as "tuple[...]": no part of a key.
    path = [str(part) for part in fault["loc"] if "[" not in str(part)]
    key, kind = ".".join(path), fault["type"]
    if kind == "value_error":
        for refused in fault["ctx"]["error"].faults:
            yield refused if refused.key or not key else InputError(key=key, got=refused.got, expected=refused.expected)
    elif kind == "extra_forbidden":
        parent: Any = Config if len(path) == 1 else field_of(".".join(path[:-1])).annotation
        known = list(parent.model_fields)
        yield unknown(key, one_of(path[-1], known))
    elif kind == "missing":
        kind = field_of(key).annotation
        inner = kind.model_fields if isinstance(kind, type) and issubclass(kind, Section) else {}
        for name in [f"{key}.{name}" for name, field in inner.items() if field.is_required()] or [key]:
            yield missing(name, field_of(name).description)
    else:
        expected = fault["msg"].removeprefix("Input should be ").replace("a valid tuple", 'a list, such as ["a", "b"]')
        yield InputError(key=key, got=fault["input"], expected=expected)


def _override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(key="command line", got=text, expected="key=value, such as federation.rounds=10")
    parsed: Any = parse_value(value)
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return parsed


def parse_value(text: str) -> Any:
    """Return a value from the command line, in TOML or as bare words: a shell takes the quotes off a list of names.

    Example:
        >>> parse_value("1e-3"), parse_value("rolora"), parse_value("[q_proj, v_proj]"), parse_value('["query"]')
        (0.001, 'rolora', ['q_proj', 'v_proj'], ['query'])
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        bare = text.strip()
        if bare.startswith("[") and bare.endswith("]") and not set(bare[1:-1]) & set("[]{}\"'"):
            return [word.strip() for word in bare[1:-1].split(",")]
        return text


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return a table with the values of another, section by section."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
