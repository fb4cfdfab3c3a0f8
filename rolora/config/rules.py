"""Which configs cannot be private, and why: a guarantee that does not hold is refused before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rolora.config.reading import Config, PrivacyConfig


def incomplete(privacy: PrivacyConfig) -> Iterator[str]:
    """What is missing of a ``[privacy]`` section, or is there without a mode."""
    if privacy.mode == "none":
        for field in sorted(privacy.model_fields_set - {"mode"}):
            if getattr(privacy, field) != type(privacy).model_fields[field].default:
                yield f'{field} is given with mode = "none", expected mode = "client" or "example", or nothing'
        return
    for field, meaning in (
        ("clip", "the norm that bounds what one client or example changes"),
        (
            "delta",
            "the probability with which epsilon may be exceeded, well below one over the number of those to be hidden",
        ),
    ):
        if getattr(privacy, field) is None:
            yield f'{field} is missing with mode = "{privacy.mode}", expected {meaning}'
    given = [field for field in ("noise_multiplier", "target_epsilon") if getattr(privacy, field) is not None]
    if len(given) != 1:
        yield f"got {' and '.join(given) or 'neither of both'}, expected either noise_multiplier or target_epsilon"


def refusals(config: Config) -> Iterator[str]:
    """Why the guarantee that a config asks for would not hold, or is not provided here; nothing if it would."""
    mode = config.privacy.mode
    if mode != "none" and config.evaluation.interference:
        yield (
            f'evaluation.interference is true, expected false with privacy.mode = "{mode}": it measures what clients return, '
            "and the record would tell it without noise"
        )
    if mode != "none" and config.federation.round_attempts > 1:
        yield (
            f'federation.round_attempts is {config.federation.round_attempts}, expected 1 with privacy.mode = "{mode}": '
            "what clients send decides whether a round is repeated, and a repeated one spends more than is counted"
        )
    if mode == "client":
        yield from _client(config)
    if mode == "example":
        yield from _example(config)


def _client(config: Config) -> Iterator[str]:
    algorithm, with_mode = config.build_algorithm(), 'with privacy.mode = "client"'
    if algorithm.pooled:
        yield f"algorithm is {config.algorithm}, expected a federation {with_mode}: it has one client, which nothing hides"
    if algorithm.personal:
        yield (
            f"algorithm is {config.algorithm}, expected a method with one common model {with_mode}: "
            "factors that clients keep never pass the server's noise"
        )
    if not algorithm.averages:
        yield (
            f"algorithm is {config.algorithm}, expected a method whose server takes the mean of what is sent {with_mode}: "
            "the private mean is all that leaves the clients, and this one's server needs more of them"
        )
    if config.federation.client_weights != "uniform":
        yield (
            f'federation.client_weights is "{config.federation.client_weights}", expected "uniform" {with_mode}: '
            "the noise is made for a mean that each client moves by at most clip / n (its sensitivity)"
        )
    if config.federation.client_state != "isolated":
        yield (
            f'federation.client_state is "{config.federation.client_state}", expected "isolated" {with_mode}: '
            "along a chain, one client's data change every later client's update"
        )


def _example(config: Config) -> Iterator[str]:
    training, runtime, with_mode = config.training, config.runtime, 'with privacy.mode = "example"'
    for field, given, expected, reason in (
        ("runtime.engine", runtime.engine, "sequential", "gradients are clipped example by example there alone"),
        ("runtime.dtype", runtime.dtype, None, "norms are measured in float32 at least"),
        ("training.max_grad_norm", training.max_grad_norm, None, "privacy.clip clips every example's gradient"),
        ("training.micro_batch_size", training.micro_batch_size, None, "a drawn batch is computed at once"),
        ("training.proximal", training.proximal, 0.0, "its pull is no example's gradient"),
        ("data.packing", config.data.packing, False, "a row of several texts is no example"),
        ("model.quantization", config.model.quantization, "none", "no gradient through it was checked by example"),
        (
            "runtime.gradient_checkpointing",
            runtime.gradient_checkpointing,
            False,
            "a layer computed twice is counted twice",
        ),
    ):
        allowed = ("float32", "float64") if field == "runtime.dtype" else (expected,)
        if given not in allowed:
            wanted = " or ".join(_spelt(value) for value in allowed)
            yield f"{field} is {_spelt(given)}, expected {wanted} {with_mode}: {reason}"


def _spelt(value: object) -> str:
    """As in TOML.

    Example:
        >>> _spelt("none"), _spelt(False), _spelt(0.0), _spelt(None)
        ('"none"', 'false', '0.0', 'nothing')
    """
    if value is None:
        return "nothing"
    return json.dumps(value)
