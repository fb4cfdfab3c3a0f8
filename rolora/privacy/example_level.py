r"""Example-level differential privacy: a client's local update by DP-SGD (Abadi et al., arXiv 1607.00133), through Opacus.

Each local step draws every example of the client with probability q = batch_size / size, independently (Poisson sampling; the
batch may be empty), and moves along

.. math::
    \tilde g = \frac1{\text{batch\_size}} \Big( \sum_{i \in \text{batch}} g_i \min(1, C / \|g_i\|_2)
    + \mathcal N(0, (z C)^2) \Big)

with :math:`g_i` the gradient of one example's own loss with respect to all that is trained. Opacus computes the
:math:`g_i` and makes the step. An example's loss must be its own: of a generated text it is the mean over that text's
response tokens, where without privacy a batch's loss is the mean over all tokens of all its texts.

Dropout's masks are drawn for each row, so they are no way from one example to another's gradient.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from peft import PeftModel

from rolora.config import Config
from rolora.errors import InputError
from rolora.keys import Key
from rolora.privacy import accounting
from rolora.training.dropout import NamedDropout, has_dropout, named_dropout
from rolora.training.engines.batched import shares_positions
from rolora.training.examples import Examples
from rolora.training.local_update import HiddenStates, LocalTraining, Parts, forward, optimizer, skipping, take_turns


def local_training(config: Config, guarantee: accounting.Guarantee | None, model: PeftModel) -> LocalTraining | None:
    """Return the private local update of a run, or None where the config asks for no example-level privacy.

    Args:
        config: the run's.
        guarantee: of this config and the clients' sizes; gives the noise multiplier.
        model: that is trained.

    Raises:
        InputError: the model's rows share relative positions, so that one row's gradient cannot be told from another's.
    """
    if config.privacy.mode != "example" or guarantee is None:
        return None
    if shares_positions(model):
        raise InputError(
            'privacy.mode: got "example", expected "none" or "client" with this model: the rows of a batch share relative '
            "positions, which go through adapted matrices or dropout"
        )
    return ExamplePrivacy(config, guarantee.noise_multiplier).train


@dataclass(frozen=True)
class ExamplePrivacy:
    """The private local update of one client.

    Args:
        config: the run's.
        noise_multiplier: z.
    """

    config: Config
    noise_multiplier: float

    def train(
        self,
        model: torch.nn.Module,
        parts: Parts,
        examples: Examples,
        indices: np.ndarray,
        *,
        key: Key,
        device: torch.device,
        schedule: str = "",
        prefix: HiddenStates | None = None,
    ) -> float:
        """Train ``parts`` in place on the client's examples; arguments as those of ``rolora.training.local_update.train``.

        Returns:
            The sum of the drawn examples' losses over the number expected, batch size times steps: an estimate of the mean
            loss that is defined for empty batches too.
        """
        from opacus.optimizers import DPOptimizer

        training = self.config.training
        model.train()
        total = torch.zeros((), dtype=torch.float64, device=device)
        descent = DPOptimizer(
            optimizer(training, parts),
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.config.privacy.clip,
            expected_batch_size=training.batch_size,
            generator=torch.Generator(device).manual_seed(self._seed(key.fold("privacy", "noise"))),
        )
        draws = accounting.stream(self.config, key.fold("privacy", "batches"))
        with named_dropout(has_dropout(model), [key.fold("dropout")], device) as dropout, skipping(prefix):
            for step in range(training.local_steps):
                if schedule:
                    take_turns(parts, schedule[step % len(schedule)])
                chosen = poisson(draws, indices, training.batch_size / len(indices))
                with per_example_gradients(model):
                    descent.zero_grad(set_to_none=True)
                    total += gradients(model, parts, examples, chosen, device, dropout, prefix)
                    descent.step()
        for parameter in (parameter for part in parts.values() for parameter in part):
            parameter.summed_grad = None
        return float(total) / (training.batch_size * training.local_steps)

    def _seed(self, key: Key) -> int:
        return key.integer() if self.config.privacy.noise == "reproducible" else secrets.randbits(63)


def poisson(draws: np.random.Generator, indices: np.ndarray, rate: float) -> np.ndarray:
    """Each index with probability ``rate``, independently of the others.

    Example:
        >>> poisson(np.random.Generator(np.random.Philox(0)), np.arange(5), 1.0)
        array([0, 1, 2, 3, 4])
    """
    return indices[draws.random(len(indices)) < rate]


@contextmanager
def per_example_gradients(model: torch.nn.Module) -> Iterator[None]:
    """Within it, a backward pass leaves ``grad_sample``, (rows, *shape), at every parameter that requires a gradient.

    The loss must be the sum over rows. Which parameters require one must not change within it; afterwards the model has no
    more hooks than before.
    """
    from opacus.grad_sample import GradSampleModule

    wrapped = GradSampleModule(model, loss_reduction="sum")
    try:
        with warnings.catch_warnings():
            # The lowest adapted layer's input has no gradient; what its hook reads is that of the output.
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            yield
    finally:
        wrapped.to_standard_module()


def gradients(
    model: torch.nn.Module,
    parts: Parts,
    examples: Examples,
    chosen: np.ndarray,
    device: torch.device,
    dropout: NamedDropout | None = None,
    prefix: HiddenStates | None = None,
) -> torch.Tensor:
    """Leave the gradient of every chosen example's own loss at the parameters (``grad_sample``).

    Returns:
        The sum of the losses, detached; zero for an empty batch, whose gradients are of no row.
    """
    if len(chosen) == 0:
        for parameter in (parameter for part in parts.values() for parameter in part if parameter.requires_grad):
            parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
        return torch.zeros((), dtype=torch.float64, device=device)
    sums, terms = examples.objective.rows(*forward(model, examples, chosen, device, dropout, prefix))
    loss = (sums / terms.clamp(min=1)).sum()
    loss.backward()
    return loss.detach().double()
