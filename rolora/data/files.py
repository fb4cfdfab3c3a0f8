"""Rows of one CSV, TSV, JSON or JSON-lines file, gzip or not: values as they stand, and one clear line for each fault.

The standard library's readers are used because they say on which line a row stands, and because they guess nothing: to
pandas the texts "NA", "null" and "None" are missing values, and a column of whole numbers with one gap is one of decimals.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from rolora.errors import InputError

KINDS = (".csv", ".tsv", ".jsonl", ".json")
SUFFIXES = (*KINDS, *(f"{kind}.gz" for kind in KINDS))


def from_file(path: Path, header: tuple[str, ...] | None = None, cut_rows: bool = False) -> pd.DataFrame:
    """The rows of a file. CSV quotes with double quotes; TSV does not quote, as in GLUE.

    Args:
        path: its suffix says what it is, one of :data:`SUFFIXES`. UTF-8, with or without a byte order mark.
        header: names for the columns of a CSV or TSV whose first line has none of them.
        cut_rows: a row may end early, and has None where it does.

    Returns:
        A table of Python objects: strings from CSV and TSV, whatever JSON says otherwise; None where there is nothing.
        Its index is named "line" and holds the line on which each row starts (in JSON "item", from 1).

    Raises:
        InputError: file, line, what was found and what was expected.
    """
    name = path.name.lower().removesuffix(".gz")
    kind = next((kind for kind in KINDS if name.endswith(kind)), None)
    if kind is None:
        raise InputError(f"data.name: got {path}, expected a file ending in {', '.join(SUFFIXES)}")
    text = _text(path)
    if not text.strip():
        raise InputError(f"data.name: {path}: the file is empty, expected {kind[1:].upper()} rows")
    if kind == ".json":
        table = _json(path, text)
    elif kind == ".jsonl":
        table = _json_lines(path, text)
    else:
        table = _separated(path, text, kind, header, cut_rows)
    if not len(table):
        raise InputError(f"data.name: {path}: a header and no rows, expected rows below it")
    return table


def _text(path: Path) -> str:
    if path.is_dir():
        raise InputError(f"data.name: got {path}, a folder; expected a file by that name")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"data.name: {path}: cannot be read; {error.strerror}") from None
    zipped = path.name.lower().endswith(".gz")
    if zipped:
        try:
            content = gzip.decompress(content) if content else content
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"data.name: {path}: expected gzip, as the name says; {error}") from None
    elif content.startswith(b"\x1f\x8b"):
        raise InputError(f"data.name: {path}: is gzip, expected a name that says so: {path.name}.gz")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"data.name: {path}: is UTF-16, expected UTF-8; {_convert(path, 'UTF-16', zipped)}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        offset = error.start + 3 * content.startswith(b"\xef\xbb\xbf")  # the codec counts after the byte order mark
        line = content.count(b"\n", 0, offset) + 1
        raise InputError(
            f"data.name: {path}, line {line}: byte 0x{content[offset]:02x} at offset {offset} is not UTF-8; if the file is "
            f"Latin-1, {_convert(path, 'ISO-8859-1', zipped)}"
        ) from None


def _convert(path: Path, encoding: str, zipped: bool) -> str:
    name = path.name[:-3] if zipped else path.name
    return f"convert it: {'gunzip first, then ' if zipped else ''}iconv -f {encoding} -t UTF-8 {name} > utf8-{name}"


def _table(columns: list[str], rows: list[list[Any]], places: list[int], place: str = "line") -> pd.DataFrame:
    index = pd.Index(places, name=place, dtype="int64")
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    # One by one: pandas would join columns of one type, and turn None into NaN.
    series = {i: pd.Series(list(column), index=index, dtype=object) for i, column in enumerate(values)}
    table = pd.DataFrame(series, index=index)
    table.columns = pd.Index(columns, dtype=object)
    return table


def _separated(path: Path, text: str, kind: str, header: tuple[str, ...] | None, cut_rows: bool) -> pd.DataFrame:
    columns: list[str] = []
    rows: list[list[Any]] = []
    places: list[int] = []
    for line, row in _records(path, text, kind):
        if not columns:
            columns = list(header) if header and not set(header) & set(row) else row
            _distinct(path, columns)
            if columns is row:
                continue
        if cut_rows:
            row = row + [""] * (len(columns) - len(row))
        if len(row) != len(columns):
            hint = "; a text with a comma in it stands in double quotes" if kind == ".csv" else ""
            raise InputError(
                f"data.name: {path}, line {line}: {len(row)} values, expected {len(columns)}, one for each of "
                f"{', '.join(columns)}{hint}"
            )
        rows.append([value if value else None for value in row])
        places.append(line)
    return _table(columns, rows, places)


def _records(path: Path, text: str, kind: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line on which it starts."""
    form: dict[str, Any] = {"strict": True}
    if kind == ".tsv":
        form = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    reader = csv.reader(io.StringIO(text, newline=""), **form)
    line = 1
    with _any_length():
        try:
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            reason = "a double quote is opened and not closed" if "unexpected end" in str(error) else error
            raise InputError(
                f"data.name: {path}, line {line}: expected {kind[1:].upper()}; {reason}; a double quote within a quoted text "
                f"is written twice"
            ) from None


@contextmanager
def _any_length() -> Iterator[None]:
    """Within it, a field may be of any length: the csv module refuses more than 131,072 characters by default."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _distinct(path: Path, columns: list[str]) -> None:
    twice = [column for column in dict.fromkeys(columns) if columns.count(column) > 1]
    if twice:
        raise InputError(f"data.name: {path}, line 1: column {twice[0]!r} stands twice, expected different names")


def _json_lines(path: Path, text: str) -> pd.DataFrame:
    objects, places = [], []
    decode = json.JSONDecoder(object_pairs_hook=_object).decode
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            one = decode(row)
        except ValueError as error:
            raise InputError(f"data.name: {path}, line {line}: expected a JSON object; {_reason(error)}") from None
        if not isinstance(one, dict):
            raise InputError(
                f"data.name: {path}, line {line}: got {_short(one)}, expected a JSON object such as {_SHAPE}"
            )
        objects.append(one)
        places.append(line)
    return _of_objects(objects, places, "line")


def _json(path: Path, text: str) -> pd.DataFrame:
    try:
        items = json.loads(text, object_pairs_hook=_object)
    except ValueError as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        hint = "; one object a line is JSON lines: name it .jsonl" if "Extra data" in str(error) else ""
        raise InputError(f"data.name: {path}{line}: expected JSON; {_reason(error)}{hint}") from None
    if not isinstance(items, list) or not items:
        raise InputError(f"data.name: {path}: got {_short(items)}, expected a list of objects: [{_SHAPE}, ...]")
    for position, one in enumerate(items, start=1):
        if not isinstance(one, dict):
            raise InputError(
                f"data.name: {path}, item {position}: got {_short(one)}, expected an object such as {_SHAPE}"
            )
    return _of_objects(items, list(range(1, len(items) + 1)), "item")


_SHAPE = '{"text": "...", "label": 0}'


def _of_objects(objects: list[dict[str, Any]], places: list[int], place: str) -> pd.DataFrame:
    columns = list(dict.fromkeys(key for one in objects for key in one))
    return _table(columns, [[one.get(column) for column in columns] for one in objects], places, place)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _reason(error: ValueError) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."
