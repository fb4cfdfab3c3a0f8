"""Adapter targets: module names by architecture, layer numbers by budget."""

from __future__ import annotations

from typing import Any

import torch
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFT_MODULES

from rolora.config import LoraConfig, layer_budgets
from rolora.errors import InputError

LETTERS = {
    "q": ("query", "query_proj", "q_proj", "q"),
    "k": ("key", "key_proj", "k_proj", "k"),
    "v": ("value", "value_proj", "v_proj", "v"),
    "o": ("o_proj", "o"),
}
"""The papers' letter of an attention matrix -> what transformers' models call it."""


def resolve(lora: LoraConfig, model: torch.nn.Module, model_name: str, data_name: str) -> LoraConfig:
    """The same adapter with its modules as names and its layers as numbers.

    Modules that are left out are those that PEFT adapts in models of this type, restricted to query and value, what the
    papers adapt, where the model has the two apart; or what a budget of ``lora.layers`` names.

    Args:
        lora: as configured.
        model: of transformers.
        model_name: for messages.
        data_name: as in ``data.name``; the papers' budgets depend on the task.

    Raises:
        InputError: a type of model that PEFT does not list, a layer or a budget that the model or the data do not have.
    """
    settings: Any = model.config
    depth = getattr(settings, "num_hidden_layers", None)
    matrices = None
    if isinstance(lora.layers, str):
        if depth is None:
            raise InputError(
                f'lora.layers: got "{lora.layers}", expected numbers: {model_name} does not say how many layers it has'
            )
        chosen = layer_budgets.select_layers(lora.layers, depth, data_name, model_name)
        matrices = chosen.matrices
        lora = lora.model_copy(update={"layers": chosen.layers})
    elif lora.layers is not None and depth is not None and max(lora.layers, default=0) >= depth:
        raise InputError(f"lora.layers: got {max(lora.layers)}, expected 0 to {depth - 1}, the layers of {model_name}")
    if lora.target_modules is None:
        modules = usual_modules(model, model_name, matrices or frozenset("qv"))
        return lora.model_copy(update={"target_modules": modules})
    if matrices == frozenset("v") and any(name not in LETTERS["v"] for name in lora.target_modules):
        raise InputError(
            f"lora.target_modules: got {', '.join(lora.target_modules)}, expected W_v alone with this budget of {data_name}; "
            "leave it out"
        )
    return lora


def usual_modules(model: torch.nn.Module, model_name: str, matrices: frozenset[str]) -> tuple[str, ...]:
    """The modules of a type of model that are adapted where the config does not say.

    Args:
        model: of transformers.
        model_name: for messages.
        matrices: of attention, by the papers' letters. For query and value, all that PEFT lists where the model has them
            in one matrix with others.

    Raises:
        InputError: if PEFT does not list the type, or the matrices are not apart.
    """
    kind = model.config.model_type
    listed = PEFT_MODULES.get(kind)
    if not isinstance(listed, list):
        raise InputError(
            f"lora.target_modules: got nothing for {model_name}, a {kind} model, expected names, as PEFT lists none for it: "
            f"{', '.join(linear_modules(model))}"
        )
    apart = set(listed) & {*LETTERS["q"]} and set(listed) & {*LETTERS["v"]}
    if not apart and matrices == frozenset("qv"):
        return tuple(listed)
    if not apart:
        raise InputError(
            f"lora.layers: got a budget of {' and '.join(f'W_{letter}' for letter in sorted(matrices))} for {model_name}, "
            f"expected a model with these apart; it has {', '.join(listed)}"
        )
    wanted = {name for letter in matrices for name in LETTERS[letter]}
    there = [*listed, *(name for name in linear_modules(model) if name not in listed)]
    return tuple(name for name in there if name in wanted)


def linear_modules(model: torch.nn.Module) -> list[str]:
    """The last parts of the names of modules that can be adapted, in order of the alphabet."""
    return sorted({name.rpartition(".")[2] for name, module in model.named_modules() if is_matrix(module)})


def is_matrix(module: torch.nn.Module) -> bool:
    """Return whether a module is linear; GPT-2 calls its own Conv1D."""
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
