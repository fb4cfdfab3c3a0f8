"""Frozen matrices in 8 or 4 bits (QLoRA), by bitsandbytes: what is asked of it, where it can be had, and its bytes.

What is quantised: the linear matrices of the backbone. Embeddings, norms, biases, convolutions, the head and the output
embeddings stay as they are without quantisation, in the run's dtype; adapter and head are trained in float32, as ever.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from rolora.errors import InputError
from rolora.models.adapter_targets import is_matrix

BLOCK, NESTED_BLOCK = 64, 256
"""NF4: weights that share a constant, and constants that share one of their own (double quantisation)."""

TABLES = 4 * (16 + 256 + 1)
"""NF4: of each matrix, the 16 values of NF4, the 256 of a constant's code, and the constants' mean, in float32."""


def check(kind: str, device: torch.device) -> None:
    """Raise :class:`InputError` unless a model can be quantised on this device."""
    if kind == "none":
        return
    if device.type != "cuda":
        raise InputError(f'model.quantization: got "{kind}" on {device}, expected "none": it needs a CUDA device')
    for package in ("bitsandbytes", "accelerate"):
        if find_spec(package) is None:
            raise InputError(
                f'model.quantization: got "{kind}", expected "none" or the package {package}, which is not installed: '
                "pip install 'rolora[quantization]'"
            )


def arguments(kind: str, kept: list[str], dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Return the extra arguments of ``from_pretrained``.

    8 bits are LLM.int8() with its default threshold for outliers; 4 bits are QLoRA's NF4 with double quantisation.

    Args:
        kind: "8bit" or "4bit".
        kept: names of modules that are not quantised.
        dtype: of a quantised matrix's products; of int8's, the library's own choice.
        device: where the matrices are quantised, and stay.
    """
    if kind == "8bit":
        quantised = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    else:
        quantised = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=kept,
        )
    return {"quantization_config": quantised, "device_map": {"": device}}


def narrow_inputs(model: torch.nn.Module) -> None:
    """Make quantised matrices take part in autocast: they are given their input in its dtype, as torch's own matrices are.

    On CUDA, norms are computed in float32 under autocast, and bitsandbytes gives its result in the dtype of its input: without
    this, all that follows a norm is float32, twice the bytes, and meets bfloat16 where a model expects one dtype (DeBERTa).

    Args:
        model: as it was read; the modules whose weights are integers get a hook.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and not module.weight.dtype.is_floating_point:
            module.register_forward_pre_hook(_as_autocast)


def _as_autocast(module: torch.nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    x, *others = arguments
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    return (x, *others)


def saved_bytes(kind: str, model: torch.nn.Module) -> int:
    """By how many bytes a model is smaller when the matrices of its backbone are quantised.

    Args:
        kind: "none", "8bit" or "4bit".
        model: as it is without; without weights will do ("meta").
    """
    if kind == "none":
        return 0
    matrices = [module for module in model.base_model.modules() if is_matrix(module)]
    return sum(module.weight.nbytes - matrix_bytes(kind, *_shape(module)) for module in matrices)


def _shape(module: torch.nn.Module) -> tuple[int, int]:
    """(outputs, inputs) of a linear module; Conv1D has them the other way round."""
    rows, columns = module.weight.shape
    return (rows, columns) if isinstance(module, torch.nn.Linear) else (columns, rows)


def matrix_bytes(kind: str, outputs: int, inputs: int) -> int:
    r"""Bytes of a quantised matrix of n = outputs x inputs weights.

    .. math::
        \text{8bit: } n + 4 \cdot \text{outputs} \qquad
        \text{4bit: } \lceil n/2 \rceil + \lceil n/64 \rceil + 4 \lceil \lceil n/64 \rceil / 256 \rceil + 1092

    One byte a weight and a float32 scale a row; half a byte a weight, a byte for each block of 64 and a float32 for each
    256 of those (0.127 bits a weight), and tables.

    Example:
        >>> matrix_bytes("8bit", 4096, 4096), matrix_bytes("4bit", 4096, 4096)
        (16793600, 8655940)
    """
    n = outputs * inputs
    if kind == "8bit":
        return n + 4 * outputs
    blocks = -(-n // BLOCK)
    return -(-n // 2) + blocks + 4 * -(-blocks // NESTED_BLOCK) + TABLES
