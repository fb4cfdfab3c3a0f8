"""PEFT's conventions on one side, the paper's on the other. Nothing else in the project knows both.

Orientation: the paper writes x (W0 + A B) with A (d, r) and B (r, k); PEFT keeps ``lora_A.weight`` (r, d) and
``lora_B.weight`` (k, r), so a factor crosses by transposition. Scale: PEFT multiplies the product by
``lora_alpha / r`` (or ``lora_alpha / sqrt(r)``, rank-stabilised). Algorithms never see it: it is common to all clients and
factors out of every mean, so factors cross without it, bit for bit. :func:`scales` gives it to those who need the weights
themselves. A residual crosses with that same scale, into the backbone's own weight.

Mixed ranks: a client of rank r_i < r trains the model's rank-r adapter with the last r - r_i columns of A and rows of B at
zero. Their gradients are zero too, so this is the adapter of rank r_i, with the scale of rank r: one scale for everybody,
as if each client had set its lora_alpha in proportion to its rank.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from jaxtyping import Float
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper

from rolora.adapter import FACTORS, Layer, first_down_projection
from rolora.config import LoraConfig
from rolora.errors import InputError
from rolora.federation import ServerState
from rolora.keys import Key
from rolora.models.adapter_targets import linear_modules, resolve
from rolora.models.backbone import generates, head_modules
from rolora.models.seeding import named_stream

ADAPTER = "default"
"""PEFT's name of the one adapter that is trained."""


def attach(model: torch.nn.Module, lora: LoraConfig, key: Key, base_name: str, data_name: str = "") -> PeftModel:
    """Wrap a model with PEFT and give it the first adapter of the experiment.

    A is drawn from ``key``, entry by entry uniform in +-1/sqrt(d) (the range of PEFT's own initialiser), one stream a
    layer, so it depends neither on the algorithm nor on the other layers; B is zero.

    Args:
        model: of transformers, for classification or for generation.
        lora: as configured; modules and layers that it does not spell out are found (``rolora.models.adapter_targets``).
        key: the stream of A.
        base_name: what a saved adapter calls the model.
        data_name: as in ``data.name``; the papers' budgets of layers depend on the task.

    Raises:
        InputError: if no module has one of the target names, or a layer or a budget does not exist.
    """
    lora = resolve(lora, model, base_name, data_name)
    config = PeftLoraConfig(
        task_type=TaskType.CAUSAL_LM if generates(model) else TaskType.SEQ_CLS,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        layers_to_transform=list(lora.layers) if lora.layers is not None else None,
        use_rslora=lora.rank_stabilized,
        modules_to_save=head_modules(model) or None,
        fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in model.modules()),
    )
    try:
        # What PEFT draws here is replaced below; the stream keeps it from torch's global generator.
        with _without_pefts_warning(), named_stream(key.fold("peft"), torch.device("cpu")):
            wrapped = get_peft_model(model, config)
    except ValueError:
        raise InputError(
            f"lora.target_modules: got {', '.join(lora.target_modules)}, expected linear modules of {base_name}: "
            f"{', '.join(linear_modules(model))}"
        ) from None
    wrapped.peft_config[ADAPTER].base_model_name_or_path = base_name
    write(wrapped, first_state(wrapped, key, head=False), frozenset(FACTORS))
    for parameter in head_parameters(wrapped).values():
        if parameter.dtype != torch.float64:  # like the adapter: what is trained is in float32 at least
            parameter.data = parameter.data.float()
    return wrapped


def first_state(model: PeftModel, key: Key, *, head: bool) -> ServerState:
    """Draw the state before round 0 from ``key``, for a model of any state, which is not changed.

    Args:
        model: with PEFT's adapter.
        key: the stream of A and of the head.
        head: whether a head is drawn, by transformers' own initialiser, as ``rolora.models.backbone.load`` has it drawn where
            the checkpoint lacks the head and nothing else.
    """
    layers = {}
    for name, factors in factor_parameters(model).items():
        rank, dimension = factors["A"].shape
        A = torch.from_numpy(first_down_projection(key.fold("adapter", name), dimension, rank))
        layers[name] = Layer(A=A.to(factors["A"]), B=_across(torch.zeros_like(factors["B"])))
    return ServerState(layers=layers, head=_drawn_head(model, key) if head else {})


@torch.no_grad()
def _drawn_head(model: PeftModel, key: Key) -> dict[str, torch.Tensor]:
    trained, drawn = head_parameters(model), {}
    with named_stream(key.fold("head"), torch.device("cpu")):
        for module, wrapper in head_wrappers(model).items():
            fresh = deepcopy(wrapper.original_module).cpu().apply(model.get_base_model()._init_weights)
            for name, parameter in fresh.named_parameters(prefix=module):
                drawn[name] = parameter.detach().to(trained[name])
    return drawn


def found(lora: LoraConfig, model: PeftModel) -> dict[str, list]:
    """Return the adapted layers and modules that the config leaves open or gives by name."""
    config, spelt_out = model.peft_config[ADAPTER], {}
    if isinstance(lora.layers, str):
        spelt_out["layers"] = list(config.layers_to_transform)
    if lora.target_modules is None:
        spelt_out["target_modules"] = sorted(config.target_modules)
    return spelt_out


def lora_layers(model: PeftModel) -> dict[str, LoraLayer]:
    """PEFT's adapted modules by their name in the model below PEFT's wrapper."""
    return {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and ADAPTER in module.lora_A
    }


def factor_parameters(model: PeftModel) -> dict[str, dict[str, torch.nn.Parameter]]:
    """Layer name -> factor -> PEFT's own parameter, in PEFT's orientation."""
    return {
        name: {"A": module.lora_A[ADAPTER].weight, "B": module.lora_B[ADAPTER].weight}
        for name, module in lora_layers(model).items()
    }


def head_parameters(model: PeftModel) -> dict[str, torch.nn.Parameter]:
    """The classification head's parameters by their name in the model below PEFT's wrapper."""
    mark = f".modules_to_save.{ADAPTER}."
    return {
        name.removeprefix("base_model.model.").replace(mark, "."): parameter
        for name, parameter in model.named_parameters()
        if mark in name
    }


def head_wrappers(model: PeftModel) -> dict[str, ModulesToSaveWrapper]:
    """The modules of the head as PEFT wraps them, by their name in the model below PEFT's wrapper."""
    return {
        name.removeprefix("base_model.model."): module
        for name, module in model.named_modules()
        if isinstance(module, ModulesToSaveWrapper)
    }


def trained_copy(wrapper: ModulesToSaveWrapper) -> torch.nn.Module:
    """The module that is trained and used in the place of the one that PEFT wrapped."""
    return wrapper.modules_to_save[ADAPTER]


def dropout_of(module: LoraLayer) -> float:
    """The dropout rate before A."""
    return getattr(module.lora_dropout[ADAPTER], "p", 0.0)


def scales(model: PeftModel) -> dict[str, float]:
    """Layer name -> the factor by which PEFT multiplies A B: alpha / r, or alpha / sqrt(r)."""
    return {name: module.scaling[ADAPTER] for name, module in lora_layers(model).items()}


def read(model: PeftModel, *, head: bool, ranks: Mapping[str, int] | None = None) -> ServerState:
    """A copy of the model's adapter, and of its head if ``head``, in the paper's orientation.

    Args:
        model: with PEFT's adapter.
        head: whether the head is read too.
        ranks: layer -> how many columns of A and rows of B to read; all of them if left out.

    Returns:
        Factors and head; the residual is the backbone's and is not read back.
    """
    layers = {}
    for name, factors in factor_parameters(model).items():
        rank = (ranks or {}).get(name, factors["A"].shape[0])
        layers[name] = Layer(A=_across(factors["A"][:rank]), B=_across(factors["B"][:, :rank]))
    kept = {name: parameter.detach().clone() for name, parameter in head_parameters(model).items()} if head else {}
    return ServerState(layers=layers, head=kept)


def _across(weight: Float[torch.Tensor, "rows columns"]) -> Float[torch.Tensor, "columns rows"]:
    return weight.detach().T.contiguous().clone()


@torch.no_grad()
def write(model: PeftModel, state: ServerState, parts: frozenset[str] = frozenset({*FACTORS, "head"})) -> None:
    """Put a state into the model, bit for bit; ``parts`` limits it to some of the factors and the head.

    Factors of a smaller rank are padded with zeros. A residual is folded into the backbone: its weight becomes what it was
    at the start plus scale * residual, whatever was folded into it before.
    """
    parameters, scale = factor_parameters(model), scales(model)
    modules = lora_layers(model)
    for name, layer in state.layers.items():
        if "A" in parts:
            _fill(parameters[name]["A"], layer.A.T)
        if "B" in parts:
            _fill(parameters[name]["B"], layer.B.T)
        _fold(modules[name].get_base_layer(), layer.residual, scale[name])
    if "head" in parts:
        _copy(head_parameters(model), state.head)


def _fill(parameter: torch.nn.Parameter, value: Float[torch.Tensor, "rows columns"]) -> None:
    if value.shape != parameter.shape:
        parameter.zero_()
    parameter[: value.shape[0], : value.shape[1]].copy_(value)


def _fold(module: torch.nn.Module, residual: Float[torch.Tensor, "d k"] | None, scale: float) -> None:
    if getattr(module, "folded", None) is residual:
        return
    if not hasattr(module, "weight_at_start"):
        module.register_buffer("weight_at_start", module.weight.detach().clone(), persistent=False)
    module.weight.copy_(module.weight_at_start)
    if residual is not None:
        update = residual if type(module).__name__ == "Conv1D" else residual.T
        module.weight.copy_(module.weight_at_start.to(update.dtype) + scale * update)
    # Kept so that the next write of the same residual is recognised; a state is never changed in place.
    module.folded = residual


def load(model: torch.nn.Module, folder: Path) -> PeftModel:
    """A base model with the adapter that :func:`save` wrote, frozen."""
    with _without_pefts_warning():
        return PeftModel.from_pretrained(model, folder)


@contextmanager
def _without_pefts_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        # peft asks transformers for a property by its old name; neither side's user can mend that.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def save(model: PeftModel, folder: Path) -> None:
    """Write the adapter in PEFT's own layout, the same bytes in every process. Its model card is PEFT's own, and bare."""
    peft = model.peft_config[ADAPTER]
    peft.target_modules = sorted(peft.target_modules)  # PEFT has a set: its order differs from process to process
    # PEFT adds to a model card that it finds; one of an earlier try may be half a card.
    (folder / "README.md").unlink(missing_ok=True)
    # The vocabulary is not trained; without this, PEFT asks the hub whether it was.
    model.save_pretrained(folder, save_embedding_layers=False)


def _copy(parameters: Mapping[str, torch.nn.Parameter], values: Mapping[str, torch.Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)


def set_trainable(model: PeftModel, factors: frozenset[str], *, head: bool) -> dict[str, list[torch.nn.Parameter]]:
    """Make exactly these factors, and the head if ``head``, require gradients.

    Returns:
        Part ("A", "B", "head") -> its parameters in a fixed order; parts without any are left out.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    chosen = {f: [layer[f] for layer in factor_parameters(model).values()] for f in FACTORS if f in factors}
    if head:
        chosen["head"] = list(head_parameters(model).values())
    for parameters in chosen.values():
        for parameter in parameters:
            parameter.requires_grad_(True)
    return {part: parameters for part, parameters in chosen.items() if parameters}
