"""Content of a Flower message: a header of JSON, and tensors as one safetensors blob. Nothing is ever unpickled.

Tensors have the labels of ``rolora.federation.state_tensors``. One blob, and not an array of Flower's own for every tensor,
because Flower moves every array in requests of its own. A blob of a few MiB lies beside the header, in the same request; a
larger one is an array, which Flower cuts into pieces.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, TypeVar

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from rolora.federation import ServerState, UpdateError
from rolora.federation.communication import Message
from rolora.federation.state_tensors import message_from, message_tensors, state_tensors
from rolora.federation.validation import shown

PROTOCOL = 1
"""Version of these messages; both sides must have the same."""

HELLO, TRAIN, FINISHED, REJECTED = "query.hello", "train", "query.finished", "query.refused"
"""Flower's types of the messages that a server sends."""

HEADER, TENSORS, BLOB = "header", "tensors", "all"

KIND = "safetensors"
"""Flower's ``stype`` of the one array: the format of its bytes."""

BESIDE = 4 << 20
"""Bytes of a blob up to which it lies beside the header."""

MAX_HEADER = 1 << 20
"""Characters of a header; a longer one is not parsed."""

MAX_COUNT = 1 << 53
"""Largest number of a client or a round in a header."""

MAX_TENSORS = 1 << 33
"""Bytes of a blob, unless the receiver knows how many it expects; a longer one is not parsed."""

MAX_NAMES = 1 << 20
"""Bytes that a blob may need for its table of names and shapes, beside the tensors' entries."""


class Header(BaseModel):
    """A header: frozen, with exactly the fields that are declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants")


Kind = TypeVar("Kind", bound=Header)


class TrainRequest(Header):
    """Request for a client's local update in one round."""

    protocol: int
    round: int = Field(ge=0, le=MAX_COUNT)
    client: int = Field(ge=0, le=MAX_COUNT)
    trainable: list[Literal["A", "B"]]
    state: str  # the digest of all that the client starts from, the tensors that it holds already included


class TrainReply(Header):
    """A client's reply beside its tensors; ``stale`` if it does not hold what the server assumes."""

    protocol: int
    round: int = Field(ge=0, le=MAX_COUNT)
    client: int = Field(ge=0, le=MAX_COUNT)
    weight: float = 0.0
    loss: float = 0.0
    stale: bool = False


class ClientHello(Header):
    """A client's description of itself, which the server checks before it sends anything of the model."""

    protocol: int
    version: str
    client: int = Field(ge=0, le=MAX_COUNT)
    config: str
    backbone: str | None
    labels: list[str]
    examples: int = Field(ge=1)
    fresh: bool  # it holds nothing of the model
    packages: dict[str, str]


class Reason(Header):
    """Why a client is rejected; empty in messages without content."""

    reason: str = ""


def content(header: Header, message: Message | None = None) -> RecordDict:
    """Return a message's content: a header, and tensors if there are any."""
    fields: dict[str, Any] = {"json": header.model_dump_json()}
    records: dict[str, Any] = {}
    if message is not None:
        blob = encode(message)
        if len(blob) <= BESIDE:
            fields[BLOB] = blob
        else:
            records[TENSORS] = ArrayRecord({BLOB: Array("uint8", (len(blob),), KIND, blob)})
    return RecordDict(records | {HEADER: ConfigRecord(fields)})


def header_of(received: RecordDict, kind: type[Kind]) -> Kind:
    """Return the header of a message.

    Raises:
        UpdateError: there is none, it is too long, or it is of another kind.
    """
    text = received.config_records.get(HEADER, {}).get("json")
    if not isinstance(text, str) or len(text) > MAX_HEADER:
        raise UpdateError(f"no valid header, expected a {kind.__name__} of at most {MAX_HEADER} characters")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "JSON"
        raise UpdateError(f"no valid {kind.__name__}: {shown(place)}: {shown(first['msg'])}") from None


def tensors_of(received: RecordDict, device: torch.device, most_bytes: int = MAX_TENSORS) -> Message:
    """Return the tensors of a message.

    Args:
        received: the content.
        device: where they are needed.
        most_bytes: bytes of the blob; a longer one is not parsed.

    Raises:
        UpdateError: there are none, they are too many, or their bytes are no safetensors with valid labels.
    """
    blob = received.config_records.get(HEADER, {}).get(BLOB)
    if isinstance(blob, bytes):
        return decode(blob, device, most_bytes)
    array = received.array_records.get(TENSORS, {}).get(BLOB)
    if array is None:
        raise UpdateError("a message without tensors")
    if array.stype != KIND:
        raise UpdateError(f"tensors of the kind {shown(array.stype)}, expected {KIND}")
    return decode(array.data, device, most_bytes)


def encode(message: Message) -> bytes:
    """Return tensors in the safetensors format.

    Example:
        >>> message = Message(factors={"A": {"layer": torch.ones(2, 3)}}, head={"bias": torch.zeros(2)})
        >>> again = decode(encode(message), torch.device("cpu"))
        >>> torch.equal(again.factors["A"]["layer"], torch.ones(2, 3)), list(again.head)
        (True, ['bias'])
    """
    return save({label: array.detach().cpu().contiguous() for label, array in message_tensors(message).items()})


def decode(blob: bytes, device: torch.device, most_bytes: int = MAX_TENSORS) -> Message:
    """Return the tensors that :func:`encode` wrote. Arguments as in :func:`tensors_of`.

    Raises:
        UpdateError: the blob is too long, no safetensors, or has an unknown label.
    """
    if len(blob) > most_bytes:
        raise UpdateError(f"tensors of {len(blob)} bytes, expected at most {most_bytes}")
    try:
        tensors = load(blob)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RuntimeError) as error:
        raise UpdateError(f"bytes that are no safetensors: {shown(' '.join(str(error).split()))}") from None
    return message_from({label: tensor.to(device) for label, tensor in tensors.items()})


def most_bytes(expected: Message) -> int:
    """Return the bytes that a blob with the tensors of ``expected`` can have."""
    return sum(expected.bytes_by_part().values()) + MAX_NAMES


def digest(state: ServerState) -> str:
    """Return the SHA-256 of a client's start: names, shapes, types and bits of factors, head and residual.

    Example:
        >>> state = ServerState({}, {"bias": torch.zeros(2)})
        >>> digest(state) == digest(ServerState({}, {"bias": torch.zeros(2)}))
        True
        >>> digest(state) == digest(ServerState({}, {"bias": torch.zeros(3)}))
        False
    """
    total = hashlib.sha256()
    for label, array in sorted(state_tensors(state).items()):
        if label.startswith(("A|", "B|", "head|", "residual|")):
            total.update(f"{label}|{array.dtype}|{tuple(array.shape)}|".encode())
            total.update(array.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()
