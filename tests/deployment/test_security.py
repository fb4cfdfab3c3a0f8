"""Who is let in, and what a node that is let in may do."""

from __future__ import annotations

import datetime
import stat
import time

import httpx
import pytest
import torch
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest, RegisterNodeFleetRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node as ProtoNode
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supernode import node_auth_http_interceptor as signing

from rolora.deployment import certificates, protocol
from rolora.deployment.byte_meter import LIMIT
from rolora.deployment.protocol import TrainReply
from rolora.errors import InputError
from rolora.federation.communication import Message as Tensors
from tests.tools.deployment.wire import activate, fleet, linked, status_of


def asked(link, node, text="round 0"):
    """Lay a question for a node; its number."""
    answer = TrainReply(protocol=1, round=0, client=0)
    (number,) = link.grid.push_messages([Message(protocol.content(answer), node, protocol.TRAIN, group_id=text)])
    return number


def reply_to(link, number, **tensors):
    """A reply to a question that lies there."""
    question = link.state.message_ins_store[number]
    content = protocol.content(
        TrainReply(protocol=1, round=0, client=0, weight=1.0),
        Tensors({"A": {"one": torch.ones(3, 2)}}) if tensors else None,
    )
    return Message(content, reply_to=question)


def push(connection, node, reply, corrupt=False, altered=None):
    """Send a reply as a node does; ``corrupt`` flips a bit of every object on its way. Returns what was stored."""
    reply.metadata.__dict__["_message_id"] = reply.object_id
    proto = message_to_proto(remove_content_from_message(reply))
    for name, value in (altered or {}).items():
        setattr(proto.metadata, name, value)
    answer = connection.PushMessages(
        PushMessagesRequest(
            node=ProtoNode(node_id=node), messages_list=[proto], message_object_trees=[get_object_tree(reply)],
            clientapp_runtime_list=[0.0],
        )
    )  # fmt: skip
    stored = []
    for name, one in get_all_nested_objects(reply).items():
        if name in answer.objects_to_push:
            content = one.deflate()
            if corrupt:
                content = content[:-1] + bytes([content[-1] ^ 1])
            request = PushObjectRequest(
                node=ProtoNode(node_id=node), run_id=reply.metadata.run_id, session_id=answer.session_id,
                object_id=name, object_content=content,
            )  # fmt: skip
            stored.append(connection.PushObject(request).stored)
    return stored


def test_no_key_no_entry(keys):
    """A key that the server was not given, somebody's public key without its private one, no signature at all."""
    with linked(keys) as (link, identities):
        stranger = certificates.ClientIdentity(0, certificates.throwaway(0).key, identities[0].authority)
        assert status_of(lambda: activate(fleet(link.port, stranger), stranger)) == 412
        register = RegisterNodeFleetRequest(public_key=certificates.public_pem(stranger.key.public_key()))
        assert status_of(lambda: fleet(link.port, stranger).RegisterNode(register)) == 412
        assert status_of(lambda: activate(fleet(link.port, stranger), identities[0])) == 401  # signed by another key
        assert status_of(lambda: activate(fleet(link.port, identities[0], signs=False), identities[0])) == 401
        own = fleet(link.port, identities[0])
        number = activate(own, identities[0])
        asked(link, number)
        pull = PullMessagesRequest(node=ProtoNode(node_id=number))
        for connection in (fleet(link.port, identities[1]), fleet(link.port, stranger)):  # another's messages
            assert status_of(lambda connection=connection: connection.PullMessages(pull)) == 401
        assert len(own.PullMessages(pull).messages_list) == 1
        assert link.meter.refused() == {"401": 4, "412": 2}


def test_an_old_signature_is_worth_nothing(keys, monkeypatch):
    with linked(keys) as (link, identities):
        real = signing.now
        monkeypatch.setattr(signing, "now", lambda: real() - datetime.timedelta(hours=1))
        assert status_of(lambda: activate(fleet(link.port, identities[0]), identities[0])) == 401


def test_no_certificate_no_word(keys, tmp_path):
    """A server that another authority vouches for is not spoken to, and one with TLS does not speak without it."""
    (_, client) = certificates.make(tmp_path / "others", 1)
    other = certificates.client_identity(client)
    with linked(keys) as (link, identities):
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            activate(fleet(link.port, identities[0], trusts=other.authority), identities[0])
        with pytest.raises(httpx.TransportError):
            activate(fleet(link.port, identities[0], trusts=None), identities[0])
        assert not any(link.state.connections.values())


def test_nothing_else_is_served(keys):
    """No API that starts programs or hands them out, no pages; and no body that is larger than any message's."""
    with linked(keys) as (link, identities):
        own = fleet(link.port, identities[0])
        for path in (
            "/v1/control/start-run", "/v1/runtime/acquire-task", "/v1/runtime/pull-task-input", "/v1/fleet/get-fab",
            "/v1/fleet/get-run", "/docs", "/openapi.json", "/health",
        ):  # fmt: skip
            answer = own._client.post(
                f"https://127.0.0.1:{link.port}{path}", content=b"", headers={"content-type": "application/x-protobuf"}
            )
            assert answer.status_code in (401, 404, 405, 415), (path, answer.status_code)
        large = own._client.post(f"https://127.0.0.1:{link.port}/v1/fleet/push-object", content=b"0" * (LIMIT + 1))
        assert large.status_code == 413


def test_a_node_speaks_for_itself_alone(keys):
    """It cannot answer for another, nor ask another anything in the server's name."""
    with linked(keys) as (link, identities):
        first, second = (fleet(link.port, identities[client]) for client in (0, 1))
        one, two = activate(first, identities[0]), activate(second, identities[1])
        number = asked(link, two)
        assert status_of(lambda: push(first, one, reply_to(link, number))) == 403
        forged = {"src_node_id": SUPERLINK_NODE_ID, "dst_node_id": two, "reply_to_message_id": ""}
        assert status_of(lambda: push(first, one, reply_to(link, number), altered=forged)) == 403
        assert list(link.grid.pull_messages([number])) == []
        push(second, two, reply_to(link, number))
        assert len(list(link.grid.pull_messages([number]))) == 1


def test_a_second_answer_and_a_late_one_count_for_nothing(keys):
    with linked(keys) as (link, identities):
        own = fleet(link.port, identities[0])
        node = activate(own, identities[0])
        number = asked(link, node)
        late = reply_to(link, number)
        first, second = reply_to(link, number), reply_to(link, number, other=True)
        assert push(own, node, first)
        assert push(own, node, second) == []  # nothing of it is wanted
        (found,) = link.grid.pull_messages([number])
        assert found.metadata.message_id == first.metadata.message_id
        assert push(own, node, late) == []
        closed = asked(link, node, "round 1")
        stale = reply_to(link, closed)
        link.grid.forget([closed])
        assert push(own, node, stale) == []
        assert list(link.grid.pull_messages([number, closed])) == []


def test_corrupted_bytes_are_not_stored(keys):
    """Every object is named by the hash of its bytes; a reply of which a part does not come is no reply."""
    with linked(keys) as (link, identities):
        own = fleet(link.port, identities[0])
        node = activate(own, identities[0])
        number = asked(link, node)
        assert not any(push(own, node, reply_to(link, number), corrupt=True))
        assert list(link.grid.pull_messages([number])) == []


def test_a_node_that_is_silent_is_gone_and_one_that_comes_again_is_let_in_at_once(keys):
    with linked(keys) as (link, identities):
        own = fleet(link.port, identities[0])
        node = activate(own, identities[0])
        own.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=ProtoNode(node_id=node), heartbeat_interval=10))
        assert node in link.online()
        assert activate(own, identities[0]) == node
        assert link.state.connections[node] == 2
        link.state.nodes[node].online_until = time.time() - 1
        assert node not in link.online()


def test_keys_are_private_and_never_overwritten(tmp_path):
    folders = certificates.make(tmp_path / "new", 2, hosts=["server.example", "192.0.2.7"])
    for folder in folders:
        assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    held = {path.name for path in folders[1].iterdir()}
    assert held == {"key.pem", "authority.pem", "client.json"}
    assert b"PRIVATE" not in (folders[0] / "clients.json").read_bytes()
    with pytest.raises(InputError, match="exists, expected a folder without keys"):
        certificates.make(tmp_path / "new", 2)
    with pytest.raises(InputError, match=r"key.pem is missing, expected a client's folder"):
        (folders[2] / "key.pem").unlink()
        certificates.client_identity(folders[2])
    (folders[1] / "key.pem").write_text("not a key")
    with pytest.raises(InputError, match="expected a client's folder as `rolora keys` writes it"):
        certificates.client_identity(folders[1])
