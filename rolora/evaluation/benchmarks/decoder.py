"""Load the model to measure: a decoder, with the adapter of a run where one is given."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rolora import records
from rolora.adapter import Layer
from rolora.errors import InputError
from rolora.federation import ServerState
from rolora.keys import Key
from rolora.models import backbone, peft_boundary
from rolora.models.seeding import named_stream


@dataclass(frozen=True)
class Decoder:
    """A causal model with its tokenizer."""

    model: torch.nn.Module
    tokenizer: Any
    device: torch.device
    max_length: int
    described: dict[str, Any]

    @property
    def pad_token(self) -> int:
        """Return the padding token; any token will do where the mask excludes it."""
        return self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, with a beginning-of-text token where the tokenizer sets one, and no end token."""
        begins = self.tokenizer.bos_token is not None and text.startswith(self.tokenizer.bos_token)
        tokens = self.tokenizer(text, add_special_tokens=not begins, verbose=False)["input_ids"]
        ends = tokens and tokens[-1] == self.tokenizer.eos_token_id and not text.endswith(self.tokenizer.eos_token)
        return tokens[:-1] if ends else tokens


def load(name: str, dtype: torch.dtype, device: torch.device) -> Decoder:
    """Load a decoder by a packaged name, a local folder, a hub name, a run's folder or a folder with PEFT's adapter.

    Raises:
        InputError: no such model or run, an adapter that is not a decoder's, or a run whose result is not one model.
    """
    adapter = _adapter(Path(name).expanduser())
    base = _base_of(adapter) if adapter else name
    model, tokenizer, described = _base(base, dtype)
    if adapter is not None:
        model = _adapted(model, adapter)
        described = {"name": name, "base": described, "adapter_sha256": backbone.digest(adapter)}
    model.requires_grad_(False).eval().to(device)
    decoder = Decoder(model, tokenizer, device, _max_length(model, tokenizer), described)
    _check_causal(decoder, base)
    return decoder


def _adapter(path: Path) -> Path | None:
    """Return the folder with PEFT's adapter, or None for a model."""
    for folder in (path / "adapter", path):
        if (folder / "adapter_config.json").is_file():
            return folder
    if path.is_dir() and not (path / "config.json").exists():
        unfinished = "; the run is unfinished" if list(path.glob("checkpoint.safetensors")) else ""
        raise InputError(
            f"MODEL: got the folder {path}, expected a model (config.json) or a finished run (adapter/){unfinished}"
        )
    return None


def _base_of(adapter: Path) -> str:
    """Return the name of the model that an adapter belongs to."""
    settings = records.read_json(adapter / "adapter_config.json")
    if settings.get("task_type") not in (None, "CAUSAL_LM"):
        raise InputError(
            where=adapter, got=settings["task_type"], expected="an adapter for CAUSAL_LM, as benchmarks need a decoder"
        )
    run = adapter.parent
    if (run / "personal.safetensors").exists():
        raise InputError(where=run, expected="a run whose result is one model; its clients keep factors of their own")
    record = records.read_json(run / "record.json") if (run / "record.json").exists() else {}
    name = record.get("model", {}).get("name") or settings.get("base_model_name_or_path")
    if not name:
        raise InputError(where=adapter, expected="base_model_name_or_path in adapter_config.json; there is none")
    return str(name)


def _base(name: str, dtype: torch.dtype) -> tuple[torch.nn.Module, Any, dict[str, Any]]:
    location, source = backbone.locate(name)
    backbone.quiet()
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
        # What is drawn here is of no use and refused below; the stream keeps it from torch's global generator.
        with warnings.catch_warnings(), named_stream(Key(0).fold("unused"), torch.device("cpu")):
            warnings.simplefilter("ignore")
            model, loading = AutoModelForCausalLM.from_pretrained(
                location, dtype=dtype, output_loading_info=True, use_safetensors=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"MODEL: got {name!r}, expected a packaged name ({', '.join(backbone.PACKAGED_MODELS)}), a folder with a causal "
            f"language model and its tokenizer, a run's folder, or a hub name that can be reached here; {reason}"
        ) from None
    if loading["missing_keys"]:
        missing = ", ".join(sorted(loading["missing_keys"])[:3])
        raise InputError(key="MODEL", got=name, expected=f"a decoder; as one, it lacks the weights {missing}")
    described = {
        "name": name,
        "source": source,
        "sha256": backbone.digest(Path(location)),
        "architecture": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    return model, tokenizer, described


def _adapted(model: torch.nn.Module, adapter: Path) -> PeftModel:
    """Return the model with PEFT's adapter, and a run's residual folded into its weights."""
    # Without this file PEFT would read adapter_model.bin, a pickle.
    if not (adapter / "adapter_model.safetensors").is_file():
        raise InputError(where=adapter, expected="an adapter in adapter_model.safetensors; there is none")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Found missing adapter keys")
            # peft asks transformers for a property by its old name.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            adapted = PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError, UserWarning, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(where=adapter, expected=f"an adapter of {model.config._name_or_path}; {reason}") from None
    file = adapter.parent / "residual.safetensors"
    if file.exists():
        state = peft_boundary.read(adapted, head=False)
        residuals = {name.partition("|")[2] or name: array for name, array in load_file(file).items()}
        if set(residuals) != set(state.layers):
            raise InputError(where=file, expected=f"the residual of the layers of {adapter}; it has other layers")
        layers = {
            name: Layer(A=layer.A, B=layer.B, residual=residuals[name].to(layer.A))
            for name, layer in state.layers.items()
        }
        peft_boundary.write(adapted, ServerState(layers=layers))
    return adapted


def _max_length(model: torch.nn.Module, tokenizer: Any) -> int:
    lengths = [getattr(model.config, name, None) for name in ("max_position_embeddings", "n_positions", "n_ctx")]
    known = [length for length in (*lengths, tokenizer.model_max_length) if length is not None and length < 10**9]
    return min(known, default=2048)


@torch.no_grad()
def _check_causal(decoder: Decoder, name: str) -> None:
    """Refuse a model whose outputs depend on later tokens, such as an encoder that predicts masked words."""
    pairs = torch.tensor([[5, 6], [5, 7]], device=decoder.device)
    first, second = (decoder.model(input_ids=pair[None]).logits[0].float() for pair in pairs)
    # Relative to the change that the second token makes at its own place.
    before, own = ((first - second)[place].abs().max() for place in (0, 1))
    if before > 1e-3 * own:
        raise InputError(key="MODEL", got=name, expected="a decoder; the outputs of this model depend on later tokens")
