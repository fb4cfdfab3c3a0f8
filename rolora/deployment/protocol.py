"""What a Flower message holds: a header of JSON, and tensors as one safetensors blob. Nothing is ever unpickled.

A tensor's name in the blob is "PART|NAME": A, B, head or residual, and the layer's or parameter's name, as everywhere in the
project. One blob, and not an array of Flower's own for every tensor, because Flower moves every array in requests of its own. A
blob of a few MiB lies beside the header, in the same request; a larger one is an array, which Flower cuts into pieces.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, TypeVar

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from rolora.adapter import FACTORS
from rolora.experiment.checkpoint import everything
from rolora.federation import ServerState, UpdateError
from rolora.federation.communication import Message

PROTOCOL = 1
"""Of these messages; both sides must have the same."""

HELLO, TRAIN, FINISHED, REFUSED = "query.hello", "train", "query.finished", "query.refused"
"""Flower's types of the messages that a server sends."""

HEADER, TENSORS, BLOB = "header", "tensors", "all"

KIND = "safetensors"
"""Flower's ``stype`` of the one array: how its bytes are read."""

BESIDE = 4 << 20
"""Bytes of a blob up to which it lies beside the header."""

MAX_HEADER = 1 << 20
"""Characters of a header."""


class Header(BaseModel):
    """A header: frozen, and nothing in it that is not expected."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants")


Kind = TypeVar("Kind", bound=Header)


class Question(Header):
    """What the server asks of a client in a round."""

    protocol: int
    round: int = Field(ge=0)
    client: int = Field(ge=0)
    trainable: list[Literal["A", "B"]]
    state: str  # the digest of all that the client starts from, what it holds already included


class Answer(Header):
    """What a client returns beside its tensors; ``stale`` if it does not hold what the server thinks it holds."""

    protocol: int
    round: int = Field(ge=0)
    client: int = Field(ge=0)
    weight: float = 0.0
    loss: float = 0.0
    stale: bool = False


class Greeting(Header):
    """What a client says of itself before it is sent anything of the model."""

    protocol: int
    version: str
    client: int = Field(ge=0)
    config: str
    backbone: str | None
    labels: list[str]
    examples: int = Field(ge=1)
    fresh: bool  # it holds nothing of the model
    packages: dict[str, str]


class Reason(Header):
    """Why a client is refused, or an empty reason where there is nothing to say."""

    reason: str = ""


def content(header: Header, message: Message | None = None) -> RecordDict:
    """What travels: a header, and tensors if there are any."""
    beside: dict[str, Any] = {"json": header.model_dump_json()}
    records: dict[str, Any] = {}
    if message is not None:
        blob = encode(message)
        if len(blob) <= BESIDE:
            beside[BLOB] = blob
        else:
            records[TENSORS] = ArrayRecord({BLOB: Array("uint8", (len(blob),), KIND, blob)})
    return RecordDict(records | {HEADER: ConfigRecord(beside)})


def header_of(found: RecordDict, kind: type[Kind]) -> Kind:
    """The header of a message.

    Raises:
        UpdateError: there is none, or it is of another kind.
    """
    text = found.config_records.get(HEADER, {}).get("json")
    if not isinstance(text, str) or len(text) > MAX_HEADER:
        raise UpdateError(f"a message without a header, expected {kind.__name__.lower()}")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise UpdateError(f"a header that is no {kind.__name__.lower()}: {place}: {first['msg']}") from None


def tensors_of(found: RecordDict, device: torch.device) -> Message:
    """The tensors of a message, in the parts by which the project names them.

    Raises:
        UpdateError: there are none, or their bytes are no safetensors of such parts.
    """
    beside = found.config_records.get(HEADER, {}).get(BLOB)
    if isinstance(beside, bytes):
        return decode(beside, device)
    array = found.array_records.get(TENSORS, {}).get(BLOB)
    if array is None:
        raise UpdateError("a message without tensors")
    if array.stype != KIND:
        raise UpdateError(f"tensors of the kind {array.stype[:40]!r}, expected {KIND}")
    return decode(array.data, device)


def encode(message: Message) -> bytes:
    """Tensors as safetensors.

    Example:
        >>> message = Message(factors={"A": {"layer": torch.ones(2, 3)}}, head={"bias": torch.zeros(2)})
        >>> again = decode(encode(message), torch.device("cpu"))
        >>> torch.equal(again.factors["A"]["layer"], torch.ones(2, 3)), list(again.head)
        (True, ['bias'])
    """
    return save({f"{part}|{name}": array.detach().cpu().contiguous() for part, name, array in message.arrays()})


def decode(blob: bytes, device: torch.device) -> Message:
    """Read what :func:`encode` wrote.

    Raises:
        UpdateError: it is not that.
    """
    try:
        tensors = load(blob)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RuntimeError) as error:
        raise UpdateError(f"bytes that are no safetensors: {' '.join(str(error).split())[:120]}") from None
    factors: dict[str, dict[str, torch.Tensor]] = {}
    rest: dict[str, dict[str, torch.Tensor]] = {"head": {}, "residual": {}}
    for label, tensor in tensors.items():
        part, bar, name = label.partition("|")
        if not bar or not name or part not in (*FACTORS, *rest):
            raise UpdateError(f"a tensor named {label[:80]!r}, expected A, B, head or residual, a bar, and a name")
        (rest[part] if part in rest else factors.setdefault(part, {}))[name] = tensor.to(device)
    return Message(factors, **rest)


def digest(state: ServerState) -> str:
    """SHA-256 of what a client starts from: names, shapes, types and bits of factors, head and residual.

    Example:
        >>> state = ServerState({}, {"bias": torch.zeros(2)})
        >>> digest(state) == digest(ServerState({}, {"bias": torch.zeros(2)}))
        True
        >>> digest(state) == digest(ServerState({}, {"bias": torch.zeros(3)}))
        False
    """
    whole = hashlib.sha256()
    parts = [one for one in everything(state) if one[0] in (*FACTORS, "head", "residual")]
    for part, name, array in sorted(parts, key=lambda one: one[:2]):
        whole.update(f"{part}|{name}|{array.dtype}|{tuple(array.shape)}|".encode())
        whole.update(array.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()
