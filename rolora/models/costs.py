"""Cost of a model: activation memory from its shapes, counted floating-point operations, measured throughput."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from peft import PeftModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import PretrainedConfig

from rolora.config import RuntimeConfig
from rolora.errors import InputError
from rolora.federation import ServerState
from rolora.keys import Key
from rolora.models import precision

ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
HIDDEN_DROPOUT = ("hidden_dropout_prob", "hidden_dropout", "resid_pdrop", "dropout")
INNER_WIDTH = ("intermediate_size", "n_inner", "ffn_dim", "hidden_dim")
ACTIVATION = ("hidden_act", "activation_function", "hidden_activation", "activation")
ACTIVATION_TENSORS = {"gelu_new": 4, "gelu_pytorch_tanh": 1, "gelu_fast": 4, "relu": 1, "silu": 1, "gelu": 1}
"""Tensors that an activation keeps: its input, or four where it is put together from elementary functions."""


@dataclass(frozen=True)
class Shapes:
    """The sizes that the memory of activations follows from.

    Args:
        hidden: width of the residual stream, h.
        intermediate: width of the MLP's inner layer, m.
        heads: attention heads of a layer.
        attention_width: heads times their width, w.
        depth: number of layers.
        positions: P, relative positions that every token is compared with (DeBERTa); 0 where there are none.
        inner_tensors: tensors of width m that an MLP keeps for its backward pass.
        attention_tensors: tensors of width w that attention keeps.
        score_tensors: tensors of (heads, length, length) that attention keeps; 0 for a fused kernel.
        torch_attention: whether attention is torch's own function (SDPA), not written out in the model.
        hidden_masks: dropout masks of width h in a layer.
    """

    hidden: int
    intermediate: int
    heads: int
    attention_width: int
    depth: int
    positions: int
    inner_tensors: int
    attention_tensors: int
    score_tensors: int
    torch_attention: bool
    hidden_masks: int


def shapes_of(model: torch.nn.Module) -> Shapes:
    """Read a classification model's shapes off its modules and its config; an adapter of PEFT is looked through.

    Raises:
        InputError: if it is not a plain stack of numbered layers (shared layers, encoder and decoder together).
    """
    plain = model.get_base_model() if isinstance(model, PeftModel) else model
    settings: Any = plain.config
    layers, names = set(), set()
    for name, module in plain.base_model.named_modules():
        name = name.removesuffix(".base_layer")
        names.add(name.rpartition(".")[2])
        if isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D":
            layers.add(layer_of(name))
    layers.discard(None)
    depth = settings.num_hidden_layers
    if layers != set(range(depth)) or getattr(settings, "is_encoder_decoder", False):
        raise InputError(
            f"model.name: got a {settings.model_type} model with {len(layers)} numbered layers, expected {depth} as its "
            f"config says, in an encoder or a decoder alone; its activations cannot be counted"
        )
    heads = settings.num_attention_heads
    width = heads * (getattr(settings, "head_dim", None) or settings.hidden_size // heads)
    positions = _relative_positions(settings)
    drops_scores = any(getattr(settings, field, None) for field in ATTENTION_DROPOUT)
    implementation = getattr(settings, "_attn_implementation", "eager")
    fused = implementation != "eager" and not drops_scores
    gated = bool(names & {"gate_proj", "gate_up_proj"})
    one_projection = bool(names & {"c_attn", "query_key_value", "qkv_proj"})
    return Shapes(
        hidden=settings.hidden_size,
        intermediate=_first(settings, INNER_WIDTH) or 4 * settings.hidden_size,
        heads=heads,
        attention_width=width,
        depth=depth,
        positions=positions,
        inner_tensors=ACTIVATION_TENSORS.get(str(_first(settings, ACTIVATION)), 1) + 2 * gated,
        attention_tensors=6 if one_projection else 4,
        score_tensors=0 if fused else 3 if drops_scores else 1,
        torch_attention=implementation == "sdpa",
        hidden_masks=2 if any(getattr(settings, field, None) for field in HIDDEN_DROPOUT) else 0,
    )


def _first(settings: PretrainedConfig, fields: tuple[str, ...]) -> Any:
    return next((value for field in fields if (value := getattr(settings, field, None)) is not None), None)


def _relative_positions(settings: PretrainedConfig) -> int:
    if not getattr(settings, "relative_attention", False):
        return 0
    span = settings.position_buckets if settings.position_buckets > 0 else settings.max_relative_positions
    return 2 * (span if span > 0 else settings.max_position_embeddings)


def layer_of(name: str) -> int | None:
    """The number of the layer that a module is in, or None.

    Example:
        >>> layer_of("roberta.encoder.layer.3.attention.self.query"), layer_of("classifier.dense")
        (3, None)
    """
    found = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
    return int(found.group(1)) if found else None


@dataclass(frozen=True)
class Adapted:
    """One adapted module: its layer (0 if it is in none), the module that it is part of, and A (d, r), B (r, k)."""

    layer: int
    place: str
    d: int
    r: int
    k: int


def adapted_modules(state: ServerState) -> tuple[Adapted, ...]:
    """The adapted modules of a state, by the names of its layers.

    Example:
        >>> import numpy as np
        >>> from rolora.adapter import Layer
        >>> adapted_modules(ServerState({"encoder.layer.3.attention.query": Layer(np.zeros((8, 2)), np.zeros((2, 8)))}))
        (Adapted(layer=3, place='encoder.layer.3.attention', d=8, r=2, k=8),)
    """
    return tuple(
        Adapted(layer_of(name) or 0, name.rpartition(".")[0], *layer.A.shape, layer.B.shape[1])
        for name, layer in state.layers.items()
    )


def activation_bytes(
    shapes: Shapes,
    rows: int,
    length: int,
    dtype: torch.dtype,
    adapters: Sequence[Adapted],
    *,
    on: str,
    trains_a: bool = True,
    adapter_dropout: bool = False,
    recomputed: bool = False,
) -> int:
    r"""Bytes that a forward pass keeps for the backward pass, with a frozen backbone.

    Derived, not counted by torch's saved-tensor hooks on the meta device: there attention takes another kernel than on the
    run's device, and autocast is not supported. The tests hold it to those hooks' counts on real tensors.

    A frozen matrix needs no input to pass a gradient on, so below the lowest adapted layer nothing is kept, and in each
    layer from there on, in elements for each token (s bytes each, s_4 at least 4 as norms compute in float32),

    .. math::
        s\,(c_m m + c_d h) + s_a (c_a w + c_s H L + L) + s_4 (2 h + H) \qquad \text{and, once, } s_4\, 2 h

    with w attention's width (query, key, value and its result: c_a = 4, or 6 where one matrix makes all three), m the
    inner width of the MLP (c_m = 1 for the activation's input, 3 if gated), c_d = 2 dropout masks if there is dropout,
    c_s score matrices of H heads and length L (none with a fused kernel, which keeps H logarithms of sums; 3 with dropout:
    softmax, mask, product), the attention mask in the kernel's dtype (L) and the inputs of two norms (2 h). s_a is s, but 4 where
    torch's attention is computed in float32 (``rolora.models.precision.attention_dtype``). DeBERTa adds 2 H P for its comparisons
    with P relative positions, and those positions' own projections, twice P w a row.

    With gradient checkpointing each of these layers keeps its input alone (s_4 h for each token) and is computed again in the
    backward pass, one at a time: the sum over layers is then that of inputs, and once what the largest layer keeps, with its
    adapters.

    An adapter adds r numbers x A; where A is trained its input, once for modules of one place and width, which read the
    same tensor, or for each of them where a cast or dropout copies it; and with dropout a mask of that width.

    Args:
        shapes: of the backbone.
        rows: texts in the batch, those of all clients that are trained together.
        length: tokens of each.
        dtype: of the backbone's arithmetic.
        on: the kind of device, "cpu" or "cuda".
        adapters: the adapted modules, at least one.
        trains_a: whether A is trained.
        adapter_dropout: whether there is dropout before A.
        recomputed: whether layers are checkpointed.

    Returns:
        An estimate on the high side of bytes; the largest passing tensors and the library's workspace come on top.
    """
    tokens, width, wide = rows * length, dtype.itemsize, max(4, dtype.itemsize)
    within = precision.attention_dtype(dtype, on).itemsize if shapes.torch_attention else width
    copied = adapter_dropout or width < 4
    inputs = [(a.layer, a.d) for a in adapters]
    if not copied:
        inputs = [(layer, d) for layer, _, d in {(a.layer, a.place, a.d) for a in adapters}]
    lowest = min(a.layer for a in adapters)
    reached = range(lowest, shapes.depth)
    of_adapters = [
        trains_a * sum(d for at, d in inputs if at == layer)
        + sum(a.r + adapter_dropout * a.d for a in adapters if a.layer == layer)
        for layer in reached
    ]
    of_attention = (
        shapes.attention_tensors * shapes.attention_width
        + shapes.score_tensors * shapes.heads * length
        + length
        + 2 * shapes.heads * shapes.positions
    )
    beside = shapes.inner_tensors * shapes.intermediate + shapes.hidden_masks * shapes.hidden
    of_positions = 2 * rows * shapes.positions * shapes.attention_width
    layer = (
        within * (tokens * of_attention + of_positions)
        + width * tokens * beside
        + wide * tokens * (2 * shapes.hidden + shapes.heads)
    )
    last = tokens * wide * 2 * shapes.hidden
    if recomputed:
        return tokens * wide * shapes.hidden * len(reached) + layer + tokens * width * max(of_adapters) + last
    return len(reached) * layer + tokens * width * sum(of_adapters) + last


def counted_flops(model: PeftModel, rows: int, length: int, *, backward: bool) -> int:
    """Floating-point operations of one pass, counted by torch's own counter; a multiplication and an addition are two.

    Counted are matrix products and convolutions. Norms, activations and softmax, a few operations an element, are left out.
    The model runs on fake tensors, which have a shape and no numbers.

    Args:
        model: on the meta device, in float32, with attention written out (a fused kernel on a CPU is not counted).
        rows: texts in the batch.
        length: tokens of each.
        backward: count the backward pass too, for the parameters that require gradients.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as counter:
        tokens = torch.zeros(rows, length, dtype=torch.long, device="meta")
        with torch.set_grad_enabled(backward):
            logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        if backward:
            logits.sum().backward()
    model.zero_grad()
    return counter.get_total_flops()


@lru_cache(maxsize=32)
def throughput(runtime: RuntimeConfig, hidden: int, intermediate: int, rows: int) -> float:
    """Operations a second of the MLP's product, (rows, hidden) by (hidden, intermediate), in well under two seconds.

    Sides above 4096 are cut to that, and rows to what takes a tenth of a second: the rate does not change beyond.

    Raises:
        InputError: if the device is not there.
    """
    device, dtype = precision.device(runtime), precision.DTYPES[runtime.dtype]
    threads = torch.get_num_threads()
    torch.set_num_threads(runtime.threads)
    generator = torch.Generator(device).manual_seed(Key(0).fold("throughput").integer())
    d, k = min(hidden, 4096), min(intermediate, 4096)

    def timed(number: int) -> float:
        x = torch.rand(number, d, generator=generator, device=device, dtype=dtype)
        x @ weight  # the first product of a shape pays for its plan
        _wait(device)
        started = time.perf_counter()
        for _ in range(3):
            x @ weight
        _wait(device)
        return (time.perf_counter() - started) / 3

    try:
        weight = torch.rand(d, k, generator=generator, device=device, dtype=dtype)
        number = min(rows, 16)
        while (seconds := timed(number)) < 0.05 and number < min(rows, 16384):
            number = min(2 * number, rows)
    finally:
        torch.set_num_threads(threads)
    return 2 * number * d * k / seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
