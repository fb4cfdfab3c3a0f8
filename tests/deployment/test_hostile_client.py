"""A client with a valid key that sends whatever it likes, in a run with two honest ones."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import torch
from flwr.app import Context, Error, Message, RecordDict

from rolora.deployment import protocol, supernode
from rolora.deployment.client import Client, training_context
from rolora.deployment.protocol import TrainReply
from rolora.deployment.server import RoundTimeout, server_app
from rolora.deployment.supernode import SuperNode
from rolora.experiment.loop import Experiment
from rolora.federation import communication
from tests.deployment.test_faults import is_result, updated
from tests.tools.deployment.wire import linked


def altered(update=None, **fields):
    """Replace the tensors of a reply, or fields of its header."""

    def alter(request, reply):
        header = protocol.header_of(reply.content, TrainReply).model_copy(update=fields)
        sent = protocol.tensors_of(reply.content, torch.device("cpu"))
        content = protocol.content(header, update(sent) if update else sent)
        return Message(content, reply_to=request)

    return alter


def empty(request, reply):
    return Message(RecordDict(), reply_to=request)


def failed(request, reply):
    return Message(Error(2, "\x1b[2J" * 999), reply_to=request)


def junk(request, reply):
    """Bytes with the right hash and the right head, and a body that is no message."""
    kind, _, body = reply.deflate().partition(b"\x00")
    reply.deflate = lambda: kind + b"\x00" + b"\xff" * len(body)
    return reply


def disguised(request, reply):
    """A message to the server's eye, whose bytes say that it is a reply to another request."""
    other = Message(reply.content, reply_to=request)
    other.metadata.__dict__["_reply_to_message_id"] = "another"
    reply.deflate = other.deflate
    return reply


def head(change):
    return lambda sent: replace(sent, head={name: change(array) for name, array in sent.head.items()})


ATTACKS = {
    empty: "(no valid header, expected a TrainReply",
    altered(client=0): "(a reply with protocol, client and round (1, 0, 1), expected (1, 2, 1))",
    altered(lambda sent: replace(sent, residual={"q": torch.ones(2**19)})): "bytes, expected at most ",
    altered(lambda sent: communication.Message({"C": dict(sent.head)})): "expected A, B, head or residual",
    altered(weight=1e300): "client 2, round 4: weight 1e+300 is not a positive number",
    altered(head(lambda array: array * torch.nan)): "has a value that is not finite",
    failed: r"(failed: \x1b[2J",
    junk: "(failed: a reply whose bytes are no message)",
    disguised: "(failed: a reply whose bytes are no message)",
}


class HostileNode(SuperNode):
    """Trains as the others do, and in each round alters its reply in another way."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        honest, attacks = self.app, list(ATTACKS)

        def app(request, context):
            reply = honest(request, context)
            train = request.metadata.message_type == protocol.TRAIN
            return attacks[int(request.metadata.group_id)](request, reply) if train else reply

        self.app = app


def test_every_attack_is_one_line_and_the_run_is_that_of_the_honest(tiny, keys, tmp_path):
    """Reached the same way as by a process: over the port, with TLS and signatures, through the server's own loop."""
    rounds = len(ATTACKS)
    config = tiny(federation__rounds=rounds, evaluation__every=rounds, federation__minimum_clients=2)
    folder = tmp_path / "runs" / "run"
    with linked(keys) as (link, identities):
        training = training_context(config)
        nodes = [
            kind(f"127.0.0.1:{link.port}", identities[client], Client(client, training, print))
            for client, kind in enumerate((SuperNode, SuperNode, HostileNode))
        ]
        clients = threading.Thread(target=supernode.serve, args=(nodes, 60.0, print), daemon=True)
        clients.start()
        experiment = Experiment(config, folder)
        context = Context(link.run.run_id, 0, {}, RecordDict(), {})
        server_app(experiment, link, RoundTimeout(deadline=60.0), print)(link.grid, context)
        record = experiment.finish()
        clients.join(60.0)
    for words, entry in zip(ATTACKS.values(), record["rounds"], strict=True):
        (refusal,) = entry["refused"]
        assert refusal["client"] == 2
        assert words in refusal["reason"]
        assert refusal["reason"].isprintable()
        assert len(refusal["reason"]) < 300
        assert updated(entry) == [0, 1]
    assert json.loads((folder / "record.json").read_text()) == record
    is_result(folder, config)
