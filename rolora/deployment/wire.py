"""A client's update as bytes, and back: nothing in them is ever executed, and whatever is wrong with them is one line.

The layout: ``RoLoRA``, the protocol's version and the header's length (2 and 4 bytes, big-endian), the SHA-256 of all that
follows, a JSON header, and the tensors in the safetensors format under the names ``PART|NAME``. The digest finds bytes that
were damaged on the way. It does not say who sent them: that is the transport's part.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from rolora.adapter import FACTORS, Array
from rolora.federation.communication import Message
from rolora.federation.state import MOST_WEIGHT, ClientUpdate, UpdateError, shown

PROTOCOL = 1
"""The version of the layout; another one is refused."""

MAGIC = b"RoLoRA"
PRELUDE = struct.Struct(f">{len(MAGIC)}sHI32s")
MOST_HEADER = 2**16
"""Bytes of the JSON header."""

MOST_BYTES = 2**30
"""Bytes of a whole update, unless the caller says how many are expected."""

MOST_COUNT = 2**53
DTYPES = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
"""What adapters and heads are made of. NumPy has no bfloat16, and adapters are float32 whatever the backbone is."""

FIELDS = ("client", "declared", "loss", "round", "weight")


def encode(update: ClientUpdate) -> bytes:
    """An update as bytes. What the client keeps is not among them.

    Args:
        update: of NumPy arrays, or of torch tensors on any device.

    Returns:
        The same bytes for the same update.

    Raises:
        UpdateError: a tensor is not of float64, float32 or float16.

    Example:
        >>> update = ClientUpdate(2, 5, 30.0, Message({"B": {"q": np.ones((1, 2), np.float32)}}), loss=0.5)
        >>> data = encode(update)
        >>> decode(data).client, decode(data).message.factors["B"]["q"]
        (2, array([[1., 1.]], dtype=float32))
    """
    header = {
        "client": int(update.client),
        "round": int(update.round),
        "weight": float(update.weight),
        "loss": None if math.isnan(update.loss) else float(update.loss),
        "declared": dict(update.declared),
    }
    written = json.dumps(header, sort_keys=True, allow_nan=False).encode()
    sender = f"client {update.client}, round {update.round}"
    tensors = {f"{part}|{name}": _numbers(sender, part, name, array) for part, name, array in update.message.arrays()}
    content = written + save(tensors)
    return PRELUDE.pack(MAGIC, PROTOCOL, len(written), hashlib.sha256(content).digest()) + content


def _numbers(sender: str, part: str, name: str, array: Array) -> np.ndarray:
    kind = (
        getattr(array.dtype, "name", None) or str(array.dtype).rpartition(".")[2]
    )  # NumPy's name leaves out the byte order
    if kind not in ("float64", "float32", "float16"):
        raise UpdateError(f"{sender}: {part} of {name} is {array.dtype}, expected float32, float64 or float16 to send")
    found = array.numpy(force=True) if hasattr(array, "numpy") else np.asarray(array)
    return np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("<"))


def decode(
    data: bytes, *, most_bytes: int = MOST_BYTES, convert: Callable[[np.ndarray], Array] = lambda array: array
) -> ClientUpdate:
    """The update that bytes stand for. It has a form and no more: ``rolora.federation.acceptance.accept`` says whether it is taken.

    Args:
        data: what came; of any length and content.
        most_bytes: more are not looked at.
        convert: makes a tensor of the server's kind of a NumPy array that nobody else holds, such as ``torch.from_numpy``.

    Raises:
        UpdateError: they are no update; one line says why.
    """
    if len(data) > most_bytes:
        raise UpdateError(f"update: {len(data)} bytes, expected at most {most_bytes}")
    if len(data) < PRELUDE.size:
        raise UpdateError(f"update: {len(data)} bytes, expected at least {PRELUDE.size}")
    magic, protocol, length, digest = PRELUDE.unpack_from(data)
    if magic != MAGIC:
        raise UpdateError(f"update: begins with {magic.hex()}, expected {MAGIC.hex()}")
    if protocol != PROTOCOL:
        raise UpdateError(
            f"update: protocol {protocol}, expected {PROTOCOL}; client and server are of different versions"
        )
    content = memoryview(data)[PRELUDE.size :]
    if length > min(MOST_HEADER, len(content)):
        raise UpdateError(f"update: a header of {length} bytes, expected at most {min(MOST_HEADER, len(content))}")
    if hashlib.sha256(content).digest() != digest:
        raise UpdateError("update: its digest differs, expected that of its content; it was damaged on the way")
    header = _header(bytes(content[:length]))
    sender = f"client {header['client']}, round {header['round']}"
    message = _message(sender, _tensors(sender, bytes(content[length:])), convert)
    return ClientUpdate(
        client=header["client"],
        round=header["round"],
        weight=header["weight"],
        message=message,
        loss=math.nan if header["loss"] is None else header["loss"],
        declared=header["declared"],
    )


def _header(text: bytes) -> dict[str, Any]:
    """The header with its fields checked."""
    try:
        header = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # JSON's and UTF-8's faults are ValueErrors
        raise UpdateError(f"update: its header is not JSON; {shown(str(error))}") from None
    if not isinstance(header, dict) or tuple(sorted(header)) != FIELDS:
        raise UpdateError(f"update: the header has other fields, expected {', '.join(FIELDS)}")
    for name in ("client", "round"):
        if type(header[name]) is not int or not 0 <= header[name] <= MOST_COUNT:
            raise UpdateError(f"update: {name} is {shown(header[name])}, expected a whole number from 0")
    sender = f"client {header['client']}, round {header['round']}"
    weight, loss, declared = header["weight"], header["loss"], header["declared"]
    if type(weight) not in (int, float) or not 0 < weight <= MOST_WEIGHT:
        raise UpdateError(f"{sender}: weight {shown(weight)} is not a positive number (of at most {MOST_WEIGHT:g})")
    if loss is not None and (type(loss) not in (int, float) or not abs(loss) < math.inf):
        raise UpdateError(f"{sender}: loss is {shown(loss)}, expected a finite number or null")
    if not isinstance(declared, dict) or not all(isinstance(value, str) for value in declared.values()):
        raise UpdateError(f"{sender}: declared is {shown(declared)}, expected texts by name")
    try:
        numbers = {"weight": float(weight), "loss": None if loss is None else float(loss)}
    except OverflowError:
        raise UpdateError(f"{sender}: loss {shown(loss)} is not a finite number") from None
    return header | numbers


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _tensors(sender: str, content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors content by their names; they share no memory with it."""
    found = {}
    try:
        for name, stored in deserialize(content):
            if stored["dtype"] not in DTYPES:
                raise UpdateError(f"{sender}: {shown(name)} is {stored['dtype']}, expected one of {', '.join(DTYPES)}")
            # Of the machine's byte order, with memory of their own that may be written to.
            array = np.frombuffer(stored["data"], dtype=DTYPES[stored["dtype"]]).reshape(stored["shape"])
            found[name] = array.astype(array.dtype.newbyteorder("="), copy=True)
    except SafetensorError as error:
        raise UpdateError(f"{sender}: its tensors are not safetensors; {shown(str(error))}") from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, UpdateError):
            raise
        raise UpdateError(f"{sender}: {shown(name)} has a shape that no array has; {shown(str(error))}") from None
    return found


def _message(sender: str, tensors: Mapping[str, np.ndarray], convert: Callable[[np.ndarray], Array]) -> Message:
    parts: dict[str, dict[str, Array]] = {}
    for label, array in tensors.items():
        part, bar, name = label.partition("|")
        if not bar or part not in (*FACTORS, "head"):
            raise UpdateError(f"{sender}: a tensor named {shown(label)}, expected PART|NAME with part A, B or head")
        parts.setdefault(part, {})[name] = convert(array)
    head = parts.pop("head", {})
    return Message(factors={part: parts[part] for part in sorted(parts)}, head=head)
