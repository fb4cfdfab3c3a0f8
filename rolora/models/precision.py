"""Threads, determinism and reduced precision: set once for a run and written into its record."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from rolora.config import RuntimeConfig
from rolora.errors import InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def apply(runtime: RuntimeConfig) -> dict[str, Any]:
    """Set this process up for a run.

    Deterministic kernels are required, TF32 is off, and the number of threads is fixed: a sum split over another number
    of threads is another sum.

    Returns:
        What was set, for the record.

    Raises:
        InputError: if the device is not there.
    """
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # cuBLAS asks for it; read when the device is first used
    chosen = device(runtime)
    torch.set_num_threads(runtime.threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    return {
        "device": runtime.device,
        "device_name": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu",
        "dtype": runtime.dtype,
        "threads": runtime.threads,
        "tf32": False,
        "deterministic": True,
    }


def device(runtime: RuntimeConfig) -> torch.device:
    """Return the config's device; "cuda" is torch's current one.

    Raises:
        InputError: it is unknown, or not available on this machine.
    """
    try:
        chosen = torch.device(runtime.device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"runtime.device: got {runtime.device!r}, expected a device of this machine; {reason}"
        ) from None
    return chosen


class AttentionInFloat32(TorchFunctionMode):
    """Within it, fused attention on bfloat16 tensors of a CPU is computed in float32 and rounded once.

    For the short texts of fine-tuning the CPU's bfloat16 kernel is several times slower than the float32 one: of a step of 8 x
    32 tokens it took 37 %, against 9 % (``python -m tests.tools.bench.profile``).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Take the place of attention; let everything else pass."""
        kwargs = dict(kwargs or {})
        if func is not functional.scaled_dot_product_attention or args[0].dtype != torch.bfloat16:
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            found = func(*map(_widened, args), **{name: _widened(value) for name, value in kwargs.items()})
        return found.to(torch.bfloat16)


def attention_dtype(dtype: torch.dtype, on: str) -> torch.dtype:
    """Return the dtype of torch's attention: the backbone's dtype, but float32 for bfloat16 on a CPU.

    Args:
        dtype: of the backbone.
        on: the kind of device, "cpu" or "cuda".
    """
    return torch.float32 if dtype == torch.bfloat16 and on == "cpu" else dtype


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 else value


@contextmanager
def arithmetic(model: torch.nn.Module) -> Iterator[None]:
    """The context of a forward pass: autocast if the backbone is in bfloat16, so that float32 adapter and head fit it."""
    weight = next(model.parameters())
    reduced, kind = weight.dtype == torch.bfloat16, weight.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=reduced), attention(weight.dtype, kind):
        yield


def attention(dtype: torch.dtype, on: str) -> AbstractContextManager[object]:
    """The context of attention: :class:`AttentionInFloat32` where :func:`attention_dtype` says another dtype than the backbone's."""
    return AttentionInFloat32() if attention_dtype(dtype, on) != dtype else nullcontext()
