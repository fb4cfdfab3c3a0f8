"""Gradient checkpointing: a layer keeps its input alone, and is computed again when its gradient is."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from peft import PeftModel
from transformers.modeling_layers import GradientCheckpointingLayer

from rolora.errors import InputError
from rolora.models import precision
from rolora.training.dropout import has_dropout

HOOKS_RUN_AGAIN = "__call__" in vars(GradientCheckpointingLayer)
"""True if this version of transformers runs a layer's hooks again with the layer (5.0 does; later ones do not)."""


def check(model: PeftModel) -> None:
    """Raise :class:`InputError` if the model draws dropout: a layer that is computed again would draw other masks."""
    if has_dropout(model):
        raise InputError(
            "model.dropout: got a model or an adapter with dropout, expected model.dropout = 0.0 and lora.dropout = 0.0 with "
            "runtime.gradient_checkpointing: a layer that is computed again would draw other masks"
        )


def enable(model: PeftModel) -> None:
    """Checkpoint every layer of the backbone in training; evaluation keeps nothing anyway.

    Layers below the lowest adapted one keep nothing and are not computed again: no gradient goes there, and the library's
    switch that would send one (it makes embeddings require gradients) is put back.

    Args:
        model: with PEFT's adapter, which it had before.

    Raises:
        InputError: if there is dropout, or transformers cannot checkpoint this model.
    """
    check(model)
    base = model.get_base_model()
    weight = next(model.parameters())

    def contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        # Of the forward pass, which has its own, and of computing again, which comes after that one was left.
        return nullcontext(), precision.attention(weight.dtype, weight.device.type)

    # No layer draws random numbers, so the generators' state need not be kept and put back.
    how = {"use_reentrant": False, "preserve_rng_state": False, "context_fn": contexts}
    switch = getattr(base, "activation_checkpointing_enable", None) or base.gradient_checkpointing_enable
    try:
        switch(how)
    except ValueError:
        raise InputError(
            f"runtime.gradient_checkpointing: got true, expected false for {type(base).__name__}, which has no such layers"
        ) from None
    base.disable_input_require_grads()
