"""The same run, out of one machine: a server and its clients as processes that talk over Flower.

Rounds, algorithms, local training, data and evaluation are those of a simulation; what is here carries their messages. The
server speaks Flower's Fleet API (its nodes' part of a SuperLink, protobuf over HTTPS, nodes authenticated by signatures), and
nothing else: no API that starts programs, none that hands out programs. A client runs the code that is installed on its own
machine; a stock Flower node would run whatever the server sends. Nothing is installed while it runs, and nothing is told to
anybody: Flower's telemetry and its look for updates are off.

What is promised, whatever happens (tests/deployment holds each line to it with processes that are really killed):

=====================================  ==================================================================================
what happens                           what the run does
=====================================  ==================================================================================
a client is killed in mid-round        it is waited for until the deadline; started again, it is asked again, and the run
                                       ends with the bits of an undisturbed one; else the round goes on without it if at
                                       least ``--minimum-clients`` answered, and the record says who was missing
a client is slower than the deadline   the round goes on without it if enough answered; its late reply is refused by
                                       Flower, as its question is gone, and it takes part in the next round
fewer than the minimum answered        the round goes on for another deadline: those who have answered are kept, the
                                       others are asked again
the server is killed                   ``--resume`` goes on from the last closed round; clients connect again by
                                       themselves, and the result has the bits of an undisturbed run
a reply comes twice, or too late       only the first reply to a question that is still open counts
bytes are corrupted                    every object is named by the SHA-256 of its bytes, which both sides check; what
                                       still is no update of this round is refused, and the client is named
another version, backbone or config    the client is refused by name before it is sent anything of the model
no valid key or certificate            nothing is sent: the connection or the request is refused
=====================================  ==================================================================================

Which methods can be deployed, and which could be summed by a secure aggregation: ``rolora.deployment.support``.
"""

import os

# Read by Flower when it is imported; no setting of the user's turns them on again.
os.environ |= {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_TELEMETRY_LOGGING": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
