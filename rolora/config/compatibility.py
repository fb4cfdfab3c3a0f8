"""What of a config does not go together, said before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rolora.config.reading import Config


def check_quantised(config: Config) -> None:
    """Raise ValueError if a quantised backbone cannot be had, or not with this method."""
    if config.model.quantization == "none":
        return
    given = f'model.quantization is "{config.model.quantization}", expected "none"'
    if not config.runtime.device.startswith("cuda"):
        raise ValueError(f'{given} with runtime.device = "{config.runtime.device}": it needs a CUDA device')
    if config.runtime.dtype == "float64":
        raise ValueError(f'{given} with runtime.dtype = "float64": quantised products are in 32 or 16 bits')
    algorithm = config.build_algorithm()
    if any("residual" in algorithm.changed(t) for t in range(config.federation.rounds)):
        raise ValueError(
            f"{given} with {config.algorithm}: it adds a residual to the backbone's weights, which 4 or 8 bits would round"
        )


def check_recomputed(config: Config) -> None:
    """Raise ValueError if layers are to be computed again in the backward pass and would not be the same."""
    if not config.runtime.gradient_checkpointing:
        return
    if config.runtime.compile:
        raise ValueError(
            "runtime.gradient_checkpointing is true, expected false with runtime.compile: a compiled layer decides itself "
            "what it keeps"
        )
    for field, rate in (("lora.dropout", config.lora.dropout), ("model.dropout", config.model.dropout)):
        if rate:
            raise ValueError(
                f"{field} is {rate}, expected 0.0 with runtime.gradient_checkpointing: a layer that is computed again would "
                "draw other masks"
            )


def check_aggregation(config: Config) -> None:
    """Raise ValueError if a robust aggregation would not be what it says. Methods refuse it in ``build_algorithm``."""
    federation = config.federation
    if federation.aggregation == "mean":
        return
    given = f'federation.aggregation is "{federation.aggregation}"'
    if config.privacy.mode == "client":
        raise ValueError(f'{given}, expected "mean" with privacy.mode = "client": the private mean is all that is seen')
    if federation.client_weights != "uniform":
        raise ValueError(
            f'{given} with federation.client_weights = "{federation.client_weights}", expected "uniform": every client '
            "counts once, as its weight is what it says of itself"
        )
    fewest = federation.minimum_clients or federation.clients_per_round or federation.num_clients
    if fewest < 3:
        raise ValueError(f"{given} of {fewest} clients, expected at least 3: of two, neither is in the middle")


def check_data(config: Config) -> None:
    """Raise ValueError if the data's kind, the partition and the engine do not go together."""
    data, partition = config.data, config.federation.partition
    if data.task == "regression" and partition in ("dirichlet", "by-label"):
        raise ValueError(
            f'federation.partition is "{partition}", expected "iid" or "by-column" with data.task = "regression": it divides '
            "classes"
        )
    if (partition == "by-column") != (data.client_column is not None):
        wanted = "the column's name" if data.client_column is None else "nothing"
        raise ValueError(
            f'data.client_column is {data.client_column}, expected {wanted} with federation.partition = "{partition}"'
        )
    for field, default in (("packing", False), ("template", "plain"), ("response_column", "response")):
        if data.task != "generation" and getattr(data, field) != default:
            raise ValueError(
                f'data.{field} is {getattr(data, field)!r} with data.task = "{data.task}", expected data.task = "generation"'
            )
    if config.training.micro_batch_size is not None and config.runtime.engine == "batched":
        raise ValueError(
            f'training.micro_batch_size is {config.training.micro_batch_size} with runtime.engine = "batched", expected '
            '"sequential", or runtime.group_size for fewer clients at the same time'
        )
