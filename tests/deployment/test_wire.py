"""What travels: measured from outside, at the size of RoBERTa-large's adapter, in Flower's own messages over HTTPS."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from flwr.app import Message
from flwr.clientapp import ClientApp

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.deployment import protocol
from rolora.deployment.protocol import TrainReply, TrainRequest
from rolora.deployment.supernode import SuperNode
from rolora.federation import ServerState, open_round, pack, sent_down
from rolora.federation.communication import Ledger
from tests.tools.deployment.wire import Relay, linked

LAYERS, WIDTH, RANK = 24, 1024, 8
"""RoBERTa-large with adapters of rank 8 at query and value of all layers; the numbers are drawn, as they do not matter here."""


def roberta_large():
    """The server's state: 48 adapted matrices of 1024 x 1024, no head."""
    generator = torch.Generator().manual_seed(0)
    names = [f"encoder.layer.{layer}.attention.self.{part}" for layer in range(LAYERS) for part in ("query", "value")]
    return ServerState(
        {
            name: Layer(torch.randn(WIDTH, RANK, generator=generator), torch.randn(RANK, WIDTH, generator=generator))
            for name in names
        }
    )


class Replying:
    """A client that returns what a method sends, without training."""

    finished, rejected = False, None

    def __init__(self, algorithm, state):
        self.algorithm, self.state = algorithm, state

    def delivered(self):
        pass

    def app(self):
        app = ClientApp()

        @app.train()
        def train(message, context):
            question = protocol.header_of(message.content, TrainRequest)
            update = pack(self.state, self.algorithm.sent(question.round))
            answer = TrainReply(protocol=1, round=question.round, client=question.client, weight=1.0, loss=0.5)
            return Message(protocol.content(answer, update), reply_to=message)

        return app


def two_rounds(name, keys):
    """The bytes of two rounds of one client: as counted from tensors, as the meter has them, as TCP has carried them."""
    algorithm, state = ALGORITHMS[name](), roberta_large()
    with linked(keys) as (link, identities):
        relay = Relay(link.port)
        node = SuperNode(f"127.0.0.1:{relay.port}", identities[0], Replying(algorithm, state))
        over = threading.Event()
        serving = threading.Thread(target=lambda: [node.step() or time.sleep(0.01) for _ in iter(over.is_set, True)])
        serving.start()
        counted, ledger = 0, Ledger()
        try:
            while link.clients[0] not in link.online():
                time.sleep(0.01)
            for t in (0, 1):
                opened = open_round(t, state, algorithm, [0], ledger)
                question = TrainRequest(protocol=1, round=t, client=0, trainable=sorted(opened.trainable), state="")
                content = protocol.content(question, sent_down(opened.broadcasts[0], ledger, 0, algorithm))
                sent = Message(content, link.clients[0], protocol.TRAIN, group_id=str(t))
                (reply,) = link.grid.send_and_receive([sent], timeout=60.0)
                found = protocol.tensors_of(reply.content, torch.device("cpu"))
                counted += sum(found.bytes_by_part().values())
                ledger = ledger.after_round(t, [0], algorithm.changed(t))
        finally:
            over.set()
            serving.join()
            node.leave()
            time.sleep(0.1)
            relay.close()
        metered = link.meter.total()
        return {"counted": counted, "metered": metered["up"] + metered["idle_up"], "carried": relay.up} | metered


@pytest.fixture(scope="module")
def measured(keys):
    return {name: two_rounds(name, keys) for name in ("fedavg-lora", "ffa-lora", "rolora")}


def test_rolora_sends_half_of_fedavg(measured):
    """Over two rounds, on the wire, with TLS, HTTP and protobuf around the tensors; within 3 % (arXiv 2502.01755v4)."""
    assert measured["fedavg-lora"]["counted"] == 2 * 2 * 2 * LAYERS * WIDTH * RANK * 4
    for name in ("rolora", "ffa-lora"):
        assert measured[name]["carried"] / measured["fedavg-lora"]["carried"] == pytest.approx(0.5, rel=0.03)
        assert measured[name]["up"] / measured["fedavg-lora"]["up"] == pytest.approx(0.5, rel=0.03)


def test_the_meter_has_every_byte_of_http(measured):
    """What it counts is what TCP carried, less TLS: 22 bytes for each record of at most 16 KiB, and the handshake."""
    for found in measured.values():
        tls = found["carried"] - found["metered"]
        assert 0 < tls < 22 * (found["metered"] / 2**14 + 700) + 6000
        assert 0 < found["up"] - found["counted"] < 0.02 * found["counted"]  # framing: less than two percent
