"""One frozen backbone, the adapters and heads of many clients: PEFT's modules with a client axis in front.

A batch holds the rows of G clients one after another. The backbone sees one large batch; an adapted layer and the head see
(G, rows, width) and multiply every client's rows with that client's own factors.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from peft import PeftModel
from torch.nn import functional

from rolora.adapter import Layer
from rolora.errors import InputError
from rolora.federation import ServerState
from rolora.models import peft_boundary


class StackedLora(torch.nn.Module):
    """x W0 + scale x A_i B_i for the rows x of client i; W0 is the backbone's own module, shared and frozen."""

    def __init__(self, base: torch.nn.Module, scale: float, dropout: float) -> None:
        super().__init__()
        self.base, self.scale, self.dropout = base, scale, dropout
        self.A: torch.nn.Parameter
        self.B: torch.nn.Parameter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(G rows, ..., d) to (G rows, ..., k)."""
        result = self.base(x)
        rows = functional.dropout(x, self.dropout, self.training) if self.dropout else x
        rows = rows.reshape(self.A.shape[0], -1, self.A.shape[1])
        added = rows @ self.A @ self.B * self.scale
        return result + added.reshape(result.shape).to(result.dtype)


class StackedLinear(torch.nn.Module):
    """x W_i + b_i for the rows x of client i, in torch's orientation of W."""

    def __init__(self, like: torch.nn.Linear) -> None:
        super().__init__()
        self.has_bias = like.bias is not None
        self.weight: torch.nn.Parameter
        self.bias: torch.nn.Parameter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(G rows, ..., d) to (G rows, ..., k)."""
        rows = x.reshape(self.weight.shape[0], -1, x.shape[-1])
        result = rows @ self.weight.transpose(1, 2)
        if self.has_bias:
            result = result + self.bias[:, None]
        return result.reshape(*x.shape[:-1], -1)


class Stack:
    """The stacked modules of a PEFT model, put in the place of PEFT's own for as long as they are needed."""

    def __init__(self, model: PeftModel, *, head: bool, compiled: bool = False) -> None:
        """
        Args:
            model: with PEFT's adapter; it keeps its modules except within :meth:`installed`.
            head: whether every client has a head of its own.
            compiled: whether the backbone's layers run compiled within :meth:`installed`. One layer's code serves all of
                its kind.

        Raises:
            InputError: if the head holds parameters that are not those of a linear module.
        """
        self.model = model
        scales = peft_boundary.scales(model)
        self.adapted: dict[str, StackedLora] = {}
        self.head: dict[str, StackedLinear] = {}
        self._places: list[tuple[torch.nn.Module, str, torch.nn.Module, torch.nn.Module]] = []
        for name, module in peft_boundary.lora_layers(model).items():
            self.adapted[name] = StackedLora(module.get_base_layer(), scales[name], peft_boundary.dropout_of(module))
            self._replace(name, module, self.adapted[name])
        if head:
            for name, wrapper in peft_boundary.head_wrappers(model).items():
                self._replace(name, wrapper, self._stacked_head(name, peft_boundary.trained_copy(wrapper)))
        layers = repeated_layers(model) if compiled else []
        self._compiled = [(layer, torch.compile(layer.forward, dynamic=True)) for layer in layers]

    def _replace(self, name: str, old: torch.nn.Module, new: torch.nn.Module) -> None:
        parent, _, child = name.rpartition(".")
        self._places.append((self.model.base_model.model.get_submodule(parent), child, old, new))

    def _stacked_head(self, name: str, module: torch.nn.Module) -> torch.nn.Module:
        if isinstance(module, torch.nn.Linear):
            self.head[name] = StackedLinear(module)
            return self.head[name]
        if next(module.parameters(recurse=False), None) is not None:
            raise InputError(
                f"runtime.engine: got batched, expected a head of linear modules; {name} is a {type(module).__name__}"
            )
        stacked = copy.copy(module)
        stacked._modules = {
            child: self._stacked_head(f"{name}.{child}", part) for child, part in module._modules.items() if part
        }
        return stacked

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within it the model's forward pass goes through the stacked modules."""
        try:
            for parent, child, _, new in self._places:
                setattr(parent, child, new)
            for layer, compiled in self._compiled:
                layer.forward = compiled
            yield
        finally:
            for layer, _ in self._compiled:
                del layer.forward
            for parent, child, old, _ in self._places:
                setattr(parent, child, old)

    @torch.no_grad()
    def load(self, states: Sequence[ServerState], like: torch.device) -> None:
        """Give client i the factors and the head of ``states[i]``; smaller ranks are padded with zeros."""
        full = peft_boundary.factor_parameters(self.model)
        for name, module in self.adapted.items():
            rank = full[name]["A"].shape[0]
            factors = [_padded(state.layers[name], rank) for state in states]
            module.A = torch.nn.Parameter(torch.stack([A for A, _ in factors]).to(like), requires_grad=False)
            module.B = torch.nn.Parameter(torch.stack([B for _, B in factors]).to(like), requires_grad=False)
        for name, linear in self.head.items():
            for part in ("weight", "bias") if linear.has_bias else ("weight",):
                stacked = torch.stack([state.head[f"{name}.{part}"] for state in states]).to(like)
                setattr(linear, part, torch.nn.Parameter(stacked, requires_grad=False))

    def trainable(self, factors: frozenset[str]) -> dict[str, list[torch.nn.Parameter]]:
        """Make these factors, and the head, require gradients: part -> stacked parameters, (G, ...) each."""
        parts = {factor: [getattr(module, factor) for module in self.adapted.values()] for factor in sorted(factors)}
        head = [parameter for module in self.head.values() for parameter in module.parameters()]
        if head:
            parts["head"] = head
        for parameters in parts.values():
            for parameter in parameters:
                parameter.requires_grad_(True)
        return parts

    def read(self, index: int, start: ServerState) -> ServerState:
        """A copy of what client ``index`` holds now, at the ranks of the state it started from."""
        layers = {}
        for name, module in self.adapted.items():
            rank = start.layers[name].rank
            layers[name] = Layer(
                A=module.A.detach()[index, :, :rank].clone(), B=module.B.detach()[index, :rank].clone()
            )
        head = {
            f"{name}.{part}": parameter.detach()[index].clone()
            for name, module in self.head.items()
            for part, parameter in module.named_parameters()
        }
        return ServerState(layers=layers, head={name: head[name] for name in start.head})


def _padded(layer: Layer, rank: int) -> tuple[Float[torch.Tensor, "d r"], Float[torch.Tensor, "r k"]]:
    missing = rank - layer.rank
    if not missing:
        return layer.A, layer.B
    return functional.pad(layer.A, (0, missing)), functional.pad(layer.B, (0, 0, 0, missing))


def repeated_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The backbone's layers: the largest list of modules in it."""
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    sizes = [sum(parameter.numel() for parameter in each.parameters()) for each in lists]
    return list(lists[sizes.index(max(sizes))]) if lists else []
