"""Deployment over several machines: a server and its clients as processes that communicate over Flower.

Rounds, algorithms, local training, data and evaluation are those of a simulation; this package carries their messages. The server
serves Flower's Fleet API (its nodes' part of a SuperLink, protobuf over HTTPS, nodes authenticated by signatures), and nothing
else: no API that starts programs, none that hands out programs. A client runs the code that is installed on its own machine; a
stock Flower node would run whatever the server sends. Nothing is installed at run time, and Flower's telemetry and its search for
updates are off.

Faults and promises (``tests/deployment`` holds each line to it with processes that are really killed):

=====================================  ==================================================================================
fault                                  what the run does
=====================================  ==================================================================================
a client is killed in mid-round        it is waited for until the deadline; started again, it gets the request again, and the
                                       run ends with the bits of an undisturbed one; else the round is closed without it if
                                       at least ``--minimum-clients`` updates were accepted, and the record names it
a client is slower than the deadline   the round is closed without it if enough updates were accepted; Flower refuses its
                                       late reply, as the request is closed, and it takes part in the next round
too few updates at the deadline        the round is repeated as in a simulation, ``federation.round_attempts`` times in all;
                                       who has trained already sends the same update again; then the run stops, and
                                       ``--resume`` goes on from the last closed round
the server is killed                   ``--resume`` goes on from the last closed round; clients connect again by
                                       themselves, and the result has the bits of an undisturbed run
a reply comes twice, or too late       only the first reply to an open request counts
bytes are corrupted                    every object is named by the SHA-256 of its bytes, which both sides check; a reply
                                       that is no valid update is refused, and the client is named
another version, backbone or config    the client is rejected before it is sent anything of the model
no valid key or certificate            nothing is sent: the connection or the request is refused
=====================================  ==================================================================================

Methods that can be deployed, and those that secure aggregation could serve: ``rolora.deployment.support``.
"""

import os

# Read by Flower when it is imported; no setting of the user's turns them on again.
os.environ |= {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_TELEMETRY_LOGGING": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
