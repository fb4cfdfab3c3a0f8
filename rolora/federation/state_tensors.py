"""Names of the tensors of a state and of a message: "PART|NAME", in checkpoints, saved extras and deployed messages.

========================  ====================================================================================
label                     tensor
========================  ====================================================================================
``A|LAYER``, ``B|LAYER``  a factor
``head|PARAMETER``        a trained parameter of the head
``residual|LAYER``        a residual (in a message also ``residual|LAYER.whole`` and ``residual|LAYER.added.0``, ``.1``)
``increment|I|LAYER``     factor I of what the last round added to a residual
``memory|KEY|LAYER``      the server's memory of a method or a server optimiser
``personal|C|F|LAYER``    factor F of client C, which the client keeps
========================  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rolora.adapter import FACTORS, Array, Layer
from rolora.federation.communication import PARTS, Message
from rolora.federation.state import ServerState, UpdateError, pack
from rolora.federation.validation import shown


def message_tensors(message: Message) -> dict[str, Array]:
    """Return the tensors of a message by label."""
    return {f"{part}|{name}": array for part, name, array in message.arrays()}


def message_from(tensors: Mapping[str, Array]) -> Message:
    """Return the message with these tensors.

    Raises:
        UpdateError: a label names no part of a message.

    Example:
        >>> import numpy as np
        >>> message_from(message_tensors(Message({"A": {"q|0": np.zeros(1)}}))).factors["A"]
        {'q|0': array([0.])}
    """
    factors: dict[str, dict[str, Array]] = {}
    others: dict[str, dict[str, Array]] = {"head": {}, "residual": {}}
    for label, array in tensors.items():
        part, _, name = label.partition("|")
        if not name or part not in (*FACTORS, *others):
            raise UpdateError(f"a tensor named {shown(label)}, expected A, B, head or residual, a bar, and a name")
        (others[part] if part in others else factors.setdefault(part, {}))[name] = array
    return Message(factors, **others)


def state_tensors(state: ServerState) -> dict[str, Array]:
    """Return every tensor of a state by label."""
    tensors = message_tensors(pack(state, frozenset(PARTS)))
    for name, layer in state.layers.items():
        if layer.residual is not None:
            tensors[f"residual|{name}"] = layer.residual
        tensors |= {f"increment|{index}|{name}": array for index, array in enumerate(layer.increment or ())}
        tensors |= {f"memory|{key}|{name}": array for key, array in layer.memory.items()}
    for client, layers in state.personal.items():
        for name, factors in layers.items():
            tensors |= {f"personal|{client}|{factor}|{name}": array for factor, array in factors.items()}
    return tensors


def state_from(tensors: Mapping[str, Array]) -> ServerState:
    """Return the state with the tensors of :func:`state_tensors`."""
    layers: dict[str, dict[str, Any]] = {}
    head: dict[str, Array] = {}
    personal: dict[int, dict[str, dict[str, Array]]] = {}
    increments: dict[str, dict[int, Array]] = {}
    for label, array in tensors.items():
        part, _, name = label.partition("|")
        if part == "head":
            head[name] = array
        elif part == "personal":
            client, factor, name = name.split("|", 2)
            personal.setdefault(int(client), {}).setdefault(name, {})[factor] = array
        elif part == "increment":
            index, _, name = name.partition("|")
            increments.setdefault(name, {})[int(index)] = array
        elif part == "memory":
            key, _, name = name.partition("|")
            layers.setdefault(name, {}).setdefault("memory", {})[key] = array
        else:
            layers.setdefault(name, {})[part] = array
    for name, parts in increments.items():
        layers[name]["increment"] = tuple(parts[index] for index in sorted(parts))
    return ServerState({name: Layer(**parts) for name, parts in layers.items()}, head, personal)
