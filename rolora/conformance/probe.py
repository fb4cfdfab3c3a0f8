"""Probe of the laws: adapters as PEFT keeps them, and the effective weights of PEFT's own forward pass.

A probe is a small PEFT model with an ``nn.Linear`` that is not square and a ``Conv1D`` that is not square, and a head. An
aggregator gets the clients' adapters as PEFT state dicts and returns one. Whether it is right is decided on the *effective
weights*: what the wrapped modules do to the unit vectors, less what the backbone alone does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers.pytorch_utils import Conv1D

from rolora.keys import Key
from rolora.models.seeding import named_stream

State = dict[str, torch.Tensor]
"""Tensors by PEFT's own keys."""


@dataclass(frozen=True)
class Adapter:
    """One PEFT adapter.

    Args:
        state: what ``peft.get_peft_model_state_dict`` gives: ``base_model.model.NAME.lora_A.weight`` (r, in), ``...lora_B``
            (out, r), and ``base_model.model.head.weight``.
        rank: r.
        alpha: lora_alpha; the scale is alpha / r, or alpha / sqrt(r).
        rank_stabilised: which of the two.
    """

    state: State
    rank: int
    alpha: float
    rank_stabilised: bool = False

    @property
    def scale(self) -> float:
        """By what PEFT multiplies the product."""
        return self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)


@dataclass(frozen=True)
class Aggregated:
    """Result of an aggregator.

    Args:
        adapter: the server's new adapter.
        backbone: module name -> what is added to its weight, in the module's own orientation: (out, in) for ``nn.Linear``,
            (in, out) for ``Conv1D``. For methods that fold a residual; empty otherwise.
    """

    adapter: Adapter
    backbone: State = field(default_factory=dict)


Aggregator = Callable[[Sequence[Adapter], Sequence[float], Adapter, int], Aggregated]
"""(the clients' adapters, their weights as example counts, the server's adapter before, the round) -> the new one."""

MODULES = ("linear", "conv")
SIZES = {"linear": (5, 3), "conv": (4, 6)}  # in, out: neither is square


class Backbone(torch.nn.Module):
    """One linear layer, one Conv1D and a head, side by side."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(*SIZES["linear"])
        self.conv = Conv1D(SIZES["conv"][1], SIZES["conv"][0])
        self.head = torch.nn.Linear(3, 2)
        self.to(dtype)

    def forward(self, linear: torch.Tensor, conv: torch.Tensor, head: torch.Tensor) -> dict[str, torch.Tensor]:
        """Each part on its own input."""
        return {"linear": self.linear(linear), "conv": self.conv(conv), "head": self.head(head)}


@dataclass(frozen=True)
class Case:
    """One situation in which a law is tried.

    Args:
        ranks: of the clients; as many as there are.
        weights: of the clients, as numbers of examples.
        alpha: lora_alpha of the server's rank; every client has the same scale.
        rank_stabilised: PEFT's ``use_rslora``.
        dtype: of the adapters and the backbone.
        seed: of all tensors.
        t: the round.
        working: the widest dtype in which the subject computes.
    """

    ranks: tuple[int, ...] = (2, 2, 2)
    weights: tuple[float, ...] = (10.0, 20.0, 70.0)
    alpha: float = 8.0
    rank_stabilised: bool = False
    dtype: str = "float64"
    seed: int = 0
    t: int = 0
    working: str = "float64"

    @property
    def rank(self) -> int:
        """The server's: the largest of the clients'."""
        return max(self.ranks)

    @property
    def shares(self) -> list[float]:
        """The weights, summing to one."""
        return [weight / sum(self.weights) for weight in self.weights]

    def words(self) -> str:
        """The case for a report."""
        stabilised = ", rank-stabilised" if self.rank_stabilised else ""
        ranks = f"rank {self.rank}" if len(set(self.ranks)) == 1 else f"ranks {list(self.ranks)}"
        return (
            f"{len(self.ranks)} clients, {ranks}, weights {[f'{w:g}' for w in self.weights]}, "
            f"lora_alpha {self.alpha:g}{stabilised}, {self.dtype}, round {self.t}, seed {self.seed}"
        ).replace("'", "")


class Probe:
    """The PEFT model of one case, and the adapters that a round begins with."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.dtype = getattr(torch, case.dtype)
        self.key = Key(case.seed).fold("conformance")
        self.server = self._adapter("server", case.rank)
        self._models: dict[int, torch.nn.Module] = {}

    def _draw(self, *name: object, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self.key.fold(*name).generator().standard_normal(shape)).to(self.dtype)

    def _adapter(self, owner: str, rank: int) -> Adapter:
        state = {}
        for name, (d, k) in SIZES.items():
            state[f"base_model.model.{name}.lora_A.weight"] = self._draw(owner, name, "A", shape=(rank, d))
            state[f"base_model.model.{name}.lora_B.weight"] = self._draw(owner, name, "B", shape=(k, rank))
        state["base_model.model.head.weight"] = self._draw(owner, "head", shape=(2, 3))
        state["base_model.model.head.bias"] = self._draw(owner, "head bias", shape=(2,))
        # One scale for everybody: a client of rank r_i has lora_alpha in proportion.
        share = rank / self.case.rank
        alpha = self.case.alpha * (share**0.5 if self.case.rank_stabilised else share)
        return Adapter(state, rank, alpha, self.case.rank_stabilised)

    def client(self, index: int, trained: frozenset[str], start: Adapter | None = None) -> Adapter:
        """Client ``index`` after a round that trained these factors, and the head, from ``start`` (the server's)."""
        drawn = self._adapter(f"client {index}", self.case.ranks[index])
        received = start or self.truncated(self.server, self.case.ranks[index])
        state = {
            name: drawn.state[name]
            if "head" in name or ("lora_A" in name and "A" in trained) or ("lora_B" in name and "B" in trained)
            else received.state[name]
            for name in drawn.state
        }
        return replace(drawn, state=state)

    def truncated(self, adapter: Adapter, rank: int) -> Adapter:
        """The first columns of A and rows of B."""
        if rank == adapter.rank:
            return adapter
        state = {
            name: value[:rank] if "lora_A" in name else value[:, :rank] if "lora_B" in name else value
            for name, value in adapter.state.items()
        }
        share = rank / adapter.rank
        return replace(
            adapter, state=state, rank=rank, alpha=adapter.alpha * (share**0.5 if adapter.rank_stabilised else share)
        )

    @torch.no_grad()
    def effective(self, adapter: Adapter, backbone: State | None = None) -> dict[str, torch.Tensor]:
        """Return the effective weights of an adapter by PEFT's forward pass: module -> (in, out) in float64, and the head's output.

        Args:
            adapter: any rank and scale.
            backbone: what has been added to the modules' own weights.

        Returns:
            The change against the bare backbone; of the head its output for the unit vectors.
        """
        model = self._model(adapter)
        bare = Backbone(self.dtype)
        bare.load_state_dict(self._weights())
        for name, update in (backbone or {}).items():
            weight = model.get_submodule(f"base_model.model.{name}").get_base_layer().weight
            if update.shape != weight.shape:
                raise ValueError(
                    f"{name}: the backbone's update is {tuple(update.shape)}, expected {tuple(weight.shape)}"
                )
            weight.add_(update)
        inputs = {name: torch.eye(d, dtype=self.dtype) for name, (d, _) in (SIZES | {"head": (3, 2)}).items()}
        with_adapter, without = model(**inputs), bare(**inputs)
        found = {name: (with_adapter[name].double() - without[name].double()) for name in MODULES}
        return found | {"head": with_adapter["head"].double()}

    def _weights(self) -> State:
        shapes = {name: tensor.shape for name, tensor in Backbone(self.dtype).state_dict().items()}
        return {name: self._draw("backbone", name, shape=tuple(shape)) for name, shape in shapes.items()}

    def _model(self, adapter: Adapter) -> torch.nn.Module:
        bare = Backbone(self.dtype)
        bare.load_state_dict(self._weights())
        config = LoraConfig(
            r=adapter.rank,
            lora_alpha=adapter.alpha,
            use_rslora=adapter.rank_stabilised,
            target_modules=list(MODULES),
            modules_to_save=["head"],
            lora_dropout=0.0,
        )
        with warnings.catch_warnings(), named_stream(self.key.fold("peft"), torch.device("cpu")):
            warnings.simplefilter("ignore")  # PEFT notes that Conv1D is stored transposed, and turns it itself
            model = get_peft_model(bare, config).to(self.dtype)
        expected = get_peft_model_state_dict(model)
        for name, tensor in expected.items():
            if name not in adapter.state:
                raise ValueError(f"{name} is missing from the adapter")
            if adapter.state[name].shape != tensor.shape:
                raise ValueError(f"{name} is {tuple(adapter.state[name].shape)}, expected {tuple(tensor.shape)}")
        set_peft_model_state_dict(model, adapter.state)
        return model.eval()
