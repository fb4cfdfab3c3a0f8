"""Layers below the lowest adapted one: located, run alone, and skipped.

The hidden states that enter the lowest adapted layer are a function of the example alone as long as all that makes them is
frozen and draws no random numbers. They are caught, and later put in, at that one place: the input of that layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch.nn.modules.batchnorm import _BatchNorm

from rolora.models import peft_boundary, precision
from rolora.models.backbone import DROPOUT_FIELDS

Inputs = Mapping[str, Int[torch.Tensor, "rows tokens"]]

ABOVE = frozenset({"classifier_dropout", "pooler_dropout", "summary_first_dropout"})
"""Dropout rates of the head."""


class Refused(Exception):
    """Why hidden states cannot be kept, in one line."""


class LowerLayers:
    """The embedding stage and the layers below the lowest adapted one."""

    def __init__(self, model: PeftModel, example: Inputs) -> None:
        """
        Args:
            model: with PEFT's adapter.
            example: any batch; it is run to see what the stages give.

        Raises:
            Refused: the structure is not known, or hidden states would not be a function of the example alone.
        """
        self.model = model
        base = model.get_base_model()
        backbone = getattr(base, base.base_model_prefix, base)
        name, layers = _layers(backbone)
        self.lowest = _lowest(base, layers, peft_boundary.lora_layers(model))
        self.skipped_layers, self.first_adapted = list(layers[: self.lowest]), layers[self.lowest]
        self.embedding = _embedding(backbone, name)
        _check_fixed(backbone, [part for layer in layers[self.lowest :] for part in layer.modules()])
        self.waiting: Float[torch.Tensor, "rows tokens width"] | None = None
        self._embedded, self._layer_output = self._probe(example)

    def _probe(self, example: Inputs) -> tuple[torch.Tensor, Any]:
        """Return the outputs of the embedding stage and of a layer for one batch."""
        seen: dict[torch.nn.Module, Any] = {}
        watch = lambda module, _, output: seen.update({module: output})  # noqa: E731
        handles = [part.register_forward_hook(watch) for part in (self.embedding, self.skipped_layers[-1])]
        try:
            self.hidden_states(example)
        finally:
            for handle in handles:
                handle.remove()
        embedded = seen.get(self.embedding)
        if not isinstance(embedded, torch.Tensor) or embedded.shape[:2] != example["input_ids"].shape:
            raise Refused(
                f"{type(self.embedding).__name__} gives no (rows, tokens, width): the embedding stage is not known"
            )
        return embedded, seen.get(self.skipped_layers[-1])

    @torch.no_grad()
    def hidden_states(self, inputs: Inputs) -> Float[torch.Tensor, "rows tokens width"]:
        """Return the input of the lowest adapted layer, in the arithmetic of training; no layer above is run.

        Raises:
            Refused: if the model does not call that layer with hidden states.
        """
        with self._catching(stop=True) as caught, precision.arithmetic(self.model):
            self.model(**inputs)
        return _only(caught)

    @torch.no_grad()
    def check_above(self, inputs: Inputs) -> None:
        """Raise :class:`Refused` unless the model gives the same bits when it is given what it computes below."""
        with self._catching(stop=False) as caught, precision.arithmetic(self.model):
            expected = self.model(**inputs).logits
        with self.skipped(), precision.arithmetic(self.model):
            self.waiting = _only(caught)
            found = self.model(**inputs).logits
        if not torch.equal(found, expected):
            raise Refused(
                f"what is above layer {self.lowest} of {type(self.model.get_base_model()).__name__} depends on more "
                "than the hidden states that enter it"
            )

    @contextmanager
    def _catching(self, *, stop: bool) -> Iterator[list[torch.Tensor]]:
        """Within it, what enters the lowest adapted layer is collected; with ``stop`` the pass ends there."""
        caught: list[torch.Tensor] = []

        def catch(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append(args[0] if args else kwargs["hidden_states"])
            if stop:
                raise _Stop

        handle = self.first_adapted.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            yield caught
        except _Stop:
            pass
        finally:
            handle.remove()

    @contextmanager
    def skipped(self) -> Iterator[None]:
        """Within it a forward pass computes nothing below, and takes :attr:`waiting` into the lowest adapted layer.

        The modules stay where they are, with their attributes and parameters, because models look at them; only what a
        call of theirs does is replaced.
        """
        replaced = {self.embedding: self._blank} | dict.fromkeys(self.skipped_layers, self._pass_on)
        before = {module: vars(module).get("forward") for module in replaced}  # a compiled layer has one of its own
        for module, forward in replaced.items():
            module.forward = forward
        handle = self.first_adapted.register_forward_pre_hook(self._put_in, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
            for module, forward in before.items():
                del module.forward
                if forward is not None:
                    module.forward = forward
            self.waiting = None

    def _blank(self, *_: Any, **__: Any) -> torch.Tensor:
        """In the place of embeddings: their shape and kind, one number for all entries. Masks are made from these."""
        if self.waiting is None:
            raise RuntimeError("a forward pass without its hidden states: each pass needs its own batch announced")
        return self._embedded.new_zeros(()).expand(*self.waiting.shape[:2], self._embedded.shape[-1])

    def _pass_on(self, *args: Any, **kwargs: Any) -> Any:
        """In the place of a layer."""
        hidden = args[0] if args else kwargs["hidden_states"]
        if isinstance(self._layer_output, tuple):
            return (hidden, *(None for _ in self._layer_output[1:]))
        return hidden

    def _put_in(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Taken once: a pass that nobody announced must fail, not see the batch before.
        hidden, self.waiting = self.waiting, None
        return ((hidden, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": hidden})


class _Stop(Exception):
    """Ends a forward pass where it has given what was wanted."""


def _only(caught: list[Any]) -> torch.Tensor:
    if len(caught) != 1 or not isinstance(caught[0], torch.Tensor):
        raise Refused(
            f"the lowest adapted layer was called {len(caught)} times in a pass, expected once, with a tensor"
        )
    return caught[0]


def _layers(backbone: torch.nn.Module) -> tuple[str, torch.nn.ModuleList]:
    """The backbone's list of layers, and its name."""
    depth = getattr(backbone.config, "num_hidden_layers", None)
    found = {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth
    }
    if len(found) != 1:
        raise Refused(
            f"{type(backbone).__name__} has {len(found)} lists of {depth} layers, expected one: its structure is not known"
        )
    return next(iter(found.items()))


def _lowest(base: torch.nn.Module, layers: torch.nn.ModuleList, adapted: Mapping[str, torch.nn.Module]) -> int:
    """The number of the lowest adapted layer."""
    holder = {part: number for number, layer in enumerate(layers) for part in layer.modules()}
    outside = [name for name, module in adapted.items() if module not in holder]
    if outside:
        raise Refused(f"{outside[0]} is adapted and is in no layer: what is below it is not known")
    lowest = min((holder[module] for module in adapted.values()), default=None)
    if lowest is None:
        raise Refused("no matrix of a layer is adapted")
    if lowest == 0:
        raise Refused("layer 0 is adapted: there is no layer below")
    return lowest


def _embedding(backbone: torch.nn.Module, layers: str) -> torch.nn.Module:
    """The part of the backbone that turns tokens into what enters layer 0."""
    found = {
        name: module
        for name, module in backbone.named_children()
        if name != layers.partition(".")[0] and any(isinstance(part, torch.nn.Embedding) for part in module.modules())
    }
    if len(found) != 1:
        raise Refused(
            f"{type(backbone).__name__} embeds tokens in {', '.join(found) or 'no part'}, expected one part of it: its "
            "structure is not known"
        )
    return next(iter(found.values()))


def _check_fixed(backbone: torch.nn.Module, above: list[torch.nn.Module]) -> None:
    """Raise :class:`Refused` if hidden states below would differ from one pass to the next."""
    for field in DROPOUT_FIELDS:
        rate = getattr(backbone.config, field, None)
        if rate and field not in ABOVE:
            raise Refused(f"{field} is {rate}: hidden states are drawn anew in every pass; set model.dropout = 0.0")
    kept = set(above)
    for name, module in backbone.named_modules():
        if module in kept:
            continue
        if getattr(module, "p", 0) and isinstance(module, torch.nn.modules.dropout._DropoutNd):
            raise Refused(f"{name} drops at rate {module.p}: hidden states are drawn anew in every pass")
        if isinstance(module, _BatchNorm):
            raise Refused(f"{name} normalises over the batch: hidden states depend on the texts beside them")
        for parameter, value in module.named_parameters(recurse=False):
            if value.requires_grad:
                raise Refused(f"{name}.{parameter} is trained: hidden states change from step to step")
