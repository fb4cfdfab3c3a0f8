"""Algorithm 1: broadcast, local update, check, aggregate; updates, validation, communication and sampling. No torch."""

from rolora.federation.round import (
    LocalUpdate,
    Protect,
    RoundReport,
    aggregate,
    close_round,
    cost,
    mean_loss,
    open_round,
    run_round,
    sent_down,
    shares,
    start_of,
    trained_layer,
)
from rolora.federation.state import (
    Accepted,
    ClientUpdate,
    OpenRound,
    Refusal,
    ServerState,
    UpdateError,
    pack,
)
from rolora.federation.validation import check_update

__all__ = [
    "Accepted",
    "ClientUpdate",
    "LocalUpdate",
    "OpenRound",
    "Protect",
    "Refusal",
    "RoundReport",
    "ServerState",
    "UpdateError",
    "aggregate",
    "check_update",
    "close_round",
    "cost",
    "mean_loss",
    "open_round",
    "pack",
    "run_round",
    "sent_down",
    "shares",
    "start_of",
    "trained_layer",
]
