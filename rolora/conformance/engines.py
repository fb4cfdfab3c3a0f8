"""The laws of an engine: who starts from what, what depends on order and seed, and whether the first round moves anything.

7. Bytes sent are those of the tensors that move.
8. The same seed gives the same bits; another seed gives every client other draws.
9. No leak: when a client starts, all it holds is the server's broadcast (and what it has kept itself), bit for bit, whatever
   client ran before; the order of the clients changes nothing.
10. The first round moves the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from rolora.config import Config, LoraConfig
from rolora.conformance.laws import Finding
from rolora.federation import ServerState, close_round, open_round, start_of
from rolora.federation.communication import Ledger, nbytes
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.models.seeding import named_stream
from rolora.training.engines import ENGINES
from rolora.training.examples import Examples

Tensors = Mapping[str, torch.Tensor]

ENGINE_LAWS = {
    7: "bytes are those of the tensors that move",
    8: "same seed, same bits; another seed, other draws",
    9: "every client starts from the broadcast; order changes nothing",
    10: "the first round moves the model",
}
"""Law -> what it asks for."""


@dataclass(frozen=True)
class Trace:
    """Trace of some rounds.

    Args:
        starts: (round, client) -> everything that the client's model held when it started, by name.
        broadcasts: (round, client) -> what it should have held.
        updates: (round, client) -> what it sent.
        bytes_up: of each round, as the engine counts them.
        final: the server's model after the last round.
        before: and before the first.
        moved: round -> whether the server's product A B (or the backbone) changed.
    """

    starts: Mapping[tuple[int, int], Tensors]
    broadcasts: Mapping[tuple[int, int], Tensors]
    updates: Mapping[tuple[int, int], Tensors]
    bytes_up: Sequence[int]
    final: Tensors
    before: Tensors
    moved: Sequence[bool]


@runtime_checkable
class Engine(Protocol):
    """Something that can be asked to play a few rounds."""

    name: str

    def play(self, seed: int, order: Sequence[int], rounds: int) -> Trace:
        """Rounds with three clients, numbered 0 to 2, which run in this order."""
        ...


def examine_engine(engine: Engine, rounds: int = 3) -> list[Finding]:
    """Try laws 7 to 10 on an engine."""
    forwards = engine.play(0, (0, 1, 2), rounds)
    return [
        _finding(7, _bytes(forwards)),
        _finding(8, _seeds(forwards, engine.play(0, (0, 1, 2), rounds), engine.play(1, (0, 1, 2), rounds))),
        _finding(9, _leaks(forwards) or _order(forwards, engine.play(0, (2, 0, 1), rounds))),
        _finding(10, "" if forwards.moved[0] else "the server's update is the same after round 0 as before it"),
    ]


def _finding(law: int, fault: str) -> Finding:
    return Finding(law, "fail" if fault else "pass", fault)


def _bytes(trace: Trace) -> str:
    for t, counted in enumerate(trace.bytes_up):
        moved = sum(nbytes(x) for (at, _), sent in trace.updates.items() if at == t for x in sent.values())
        if counted != moved:
            return f"round {t}: {counted} bytes counted, {moved} bytes sent"
    return ""


def _differences(one: Tensors, other: Tensors) -> list[str]:
    missing = sorted(one.keys() ^ other.keys())
    return missing or [name for name in one if not torch.equal(one[name], other[name])]


def _seeds(trace: Trace, again: Trace, other: Trace) -> str:
    changed = _differences(trace.final, again.final)
    if changed:
        return f"the same seed twice gives another {changed[0]}"
    for place, update in trace.updates.items():
        same = [name for name, tensor in update.items() if torch.equal(tensor, other.updates[place][name])]
        if same:
            return f"client {place[1]}, round {place[0]}: {same[0]} is the same with another seed"
    return ""


def _leaks(trace: Trace) -> str:
    for (t, client), start in sorted(trace.starts.items()):
        changed = _differences(start, trace.broadcasts[t, client])
        if changed:
            return f"client {client}, round {t}: starts with another {changed[0]} than the server sent"
    return ""


def _order(trace: Trace, turned: Trace) -> str:
    changed = _differences(trace.final, turned.final)
    return f"the order of the clients changes {changed[0]}" if changed else ""


class OurEngine:
    """A method of this project on one of its engines: a tiny BERT with random weights, random tokens, three clients."""

    def __init__(
        self,
        algorithm: str,
        method: Mapping[str, str | float] | None = None,
        engine: str = "sequential",
        **federation: object,
    ) -> None:
        """
        Args:
            algorithm: a name in ``ALGORITHMS``.
            method: its options.
            engine: a name in ``ENGINES``.
            federation: settings beyond the usual ones, for instance ``client_state = "shared"``.
        """
        self.name, self.engine = algorithm, engine
        self.table = {
            "algorithm": algorithm,
            "method": dict(method or {}),
            "model": {"name": "tiny", "max_length": 8, "head": "trained"},
            "lora": {"rank": 2, "alpha": 8, "dropout": 0.1, "target_modules": ["query", "value"]},
            "data": {"name": "random", "validation_examples": 1, "test_examples": 1},
            "federation": {"num_clients": 3, "rounds": 3, "partition": "iid", "client_weights": "examples"}
            | federation,
            "training": {"optimizer": "adamw", "learning_rate": 0.01, "local_steps": 2, "batch_size": 3},
            "evaluation": {"every": 1},
            "runtime": {"engine": engine},
        }

    def play(self, seed: int, order: Sequence[int], rounds: int) -> Trace:
        """Through the two halves of a round in ``rolora.federation``, as a fine-tuning run does it."""
        config = Config.model_validate(self.table | {"seed": seed})
        algorithm, key = config.build_algorithm(), Key(seed)
        model = tiny_model(key, config.lora)
        tokens = key.fold("tokens").generator().integers(1, 20, size=(12, 8))
        examples = Examples({"input_ids": tokens.tolist()}, np.arange(12) % 2, {"input_ids": 0})
        clients = [np.arange(12)] if algorithm.pooled else [np.arange(0, 3), np.arange(3, 7), np.arange(7, 12)]
        starts, broadcasts, updates, counted, moved = {}, {}, {}, [], []

        def seen(t: int, client: int, held: ServerState) -> None:
            starts[t, client] = _named(held)

        engine = ENGINES[self.engine](model, examples, clients, config, key, observe_start=seen)
        server, ledger = peft_boundary.read(model, head=True), Ledger()
        before = _named(server)
        for t in range(rounds):
            chosen = [client for client in order if client < len(clients)]
            dense = _dense(server)
            opened = open_round(t, server, algorithm, chosen, ledger)
            returned = engine.local_updates(t, opened.broadcasts, opened.trainable)
            for update in returned:
                broadcasts[t, update.client] = _named(start_of(t, server, algorithm, update.client))
                own = {f"{f} of {name}": x for name, factors in update.kept.items() for f, x in factors.items()}
                sent = {f"{part} of {name}": tensor for part, name, tensor in update.message.arrays()}
                updates[t, update.client] = sent or own
            server, ledger, report = close_round(opened, server, algorithm, returned, ledger, key)
            counted.append(sum(report.bytes_up.values()))
            changed = any(not torch.equal(dense[name], x) for name, x in _dense(server).items())
            moved.append(changed or bool(server.personal))
        if not algorithm.sent(0):  # what does not travel is not counted
            updates_sent = {place: {} for place in updates}
            return Trace(starts, broadcasts, updates_sent, [0] * rounds, _named(server), before, moved)
        return Trace(starts, broadcasts, updates, counted, _named(server), before, moved)


def tiny_model(key: Key, lora: LoraConfig) -> torch.nn.Module:
    """A BERT of two layers and width 16 with random weights, wrapped by PEFT."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=8,
    )  # fmt: skip
    with named_stream(key.fold("backbone"), torch.device("cpu")):
        backbone = BertForSequenceClassification(config)
    return peft_boundary.attach(backbone, lora, key, "tiny")


def _named(state: ServerState) -> dict[str, torch.Tensor]:
    layers = {f"{f} of {name}": getattr(layer, f) for name, layer in state.layers.items() for f in ("A", "B")}
    own = {
        f"{factor} of {name} of client {client}": tensor
        for client, found in state.personal.items()
        for name, factors in found.items()
        for factor, tensor in factors.items()
    }
    return layers | own | {f"head {name}": tensor for name, tensor in state.head.items()}


def _dense(state: ServerState) -> dict[str, torch.Tensor]:
    return {name: layer.update for name, layer in state.layers.items()}
