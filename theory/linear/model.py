r"""The linear model: client i holds :math:`Y_i = X_i a^* b_i^{*T}`, rank one and without noise.

Everything that a client computes depends on its data through :math:`S_i = X_i^T X_i / m` alone, so a model is its S_i.
With :math:`S_i = I`, the limit of many samples, the same code gives the population's dynamics.

Two normalisations of the loss are in use, and statements about step sizes differ between them:

.. math::
    \ell_i(a, b) = \frac{f}{2}\,\frac{1}{m}\,\|X_i (a b^T - a^* b_i^{*T})\|_F^2, \qquad f = 2 \text{ or } f = 1,

and f, the gradient factor, is what then stands before every gradient. It is a field of the model: nothing assumes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key
from theory.linear.geometry import random_unit

GradientFactor = Literal[1, 2]
"""2 for the loss (1/m)||.||_F^2, 1 for the loss (1/(2m))||.||_F^2."""


@dataclass(frozen=True)
class LinearModel:
    """The clients of the linear model (arXiv 2502.01755v4, section 4.1; its appendix where the b_i* differ).

    Args:
        moments: S_i, one symmetric positive definite matrix a client.
        a_star: a*, a unit vector.
        b_star: b_i*, one row a client; equal rows are the homogeneous model.
        gradient_factor: f, the convention of the loss.

    Example:
        >>> population(3, np.array([1.0, 0.0]), np.ones(4), 2).b_mean
        array([1., 1., 1., 1.])
    """

    moments: Float[Array, "n d d"]
    a_star: Float[Array, "d"]
    b_star: Float[Array, "n k"]
    gradient_factor: GradientFactor

    @property
    def num_clients(self) -> int:
        """N."""
        return self.moments.shape[0]

    @property
    def b_mean(self) -> Float[Array, "k"]:
        """The mean of the clients' b_i*."""
        return np.mean(self.b_star, axis=0)


def sample_inputs(key: Key, num_clients: int, samples: int, dimension: int) -> Float[Array, "n m d"]:
    """The clients' inputs X_i, entries N(0, 1), client by client from its own stream.

    Args:
        key: the data's stream; a client's data do not depend on how many other clients there are.
        samples: m, the rows of every X_i.

    Example:
        >>> two, three = sample_inputs(Key(0), 2, 5, 4), sample_inputs(Key(0), 3, 5, 4)
        >>> bool(np.array_equal(two, three[:2]))
        True
    """
    streams = [key.fold("client", client, "inputs").generator() for client in range(num_clients)]
    return np.stack([stream.standard_normal((samples, dimension)) for stream in streams])


def random_truth(key: Key, dimension: int, outputs: int) -> tuple[Float[Array, "d"], Float[Array, "k"]]:
    """A pair (a*, b*): a* uniform on the unit sphere, b* with entries N(0, 1).

    Args:
        key: the stream of the pair.

    Example:
        >>> a_star, b_star = random_truth(Key(0), 4, 3)
        >>> a_star.shape, b_star.shape
        ((4,), (3,))
    """
    return random_unit(key.fold("a*"), dimension), key.fold("b*").generator().standard_normal(outputs)


def second_moments(inputs: Float[Array, "*batch m d"]) -> Float[Array, "*batch d d"]:
    r"""The sufficient statistics :math:`S_i = X_i^T X_i / m`.

    Args:
        inputs: X_i; leading axes are clients or instances.

    Example:
        >>> second_moments(np.array([[1.0, 2.0]]))
        array([[1., 2.], [2., 4.]])
    """
    return np.swapaxes(inputs, -1, -2) @ inputs / inputs.shape[-2]


def heads(b_star: Float[Array, "..."], num_clients: int) -> Float[Array, "n k"]:
    """One row b_i* a client: a single b* is repeated, given rows are kept."""
    return np.broadcast_to(b_star, (num_clients, b_star.shape[-1])).copy()


def sample(
    key: Key,
    num_clients: int,
    samples: int,
    a_star: Float[Array, "d"],
    b_star: Float[Array, "..."],
    gradient_factor: GradientFactor,
) -> LinearModel:
    """Draw the clients' data and keep what the algorithms need of it.

    Args:
        b_star: b* (k,) for the homogeneous model, or the b_i* (N, k).

    Example:
        >>> sample(Key(0), 3, 10, np.array([1.0, 0.0]), np.ones(4), 2).moments.shape
        (3, 2, 2)
    """
    inputs = sample_inputs(key, num_clients, samples, a_star.shape[0])
    return LinearModel(second_moments(inputs), a_star, heads(b_star, num_clients), gradient_factor)


def population(
    num_clients: int, a_star: Float[Array, "d"], b_star: Float[Array, "..."], gradient_factor: GradientFactor
) -> LinearModel:
    """The limit of infinitely many samples, S_i = I; losses are then risks.

    Args:
        b_star: b* (k,), or the b_i* (N, k).

    Example:
        >>> population(1, np.array([1.0, 0.0]), np.ones(1), 1).moments[0]
        array([[1., 0.], [0., 1.]])
    """
    moments = np.broadcast_to(np.eye(a_star.shape[0]), (num_clients, a_star.shape[0], a_star.shape[0])).copy()
    return LinearModel(moments, a_star, heads(b_star, num_clients), gradient_factor)


def b_step(model: LinearModel, client: int, a: Float[Array, "d"]) -> Float[Array, "k"]:
    r"""The exact minimiser :math:`b_i = \arg\min_b \ell_i(a, b) = \frac{a^T S_i a^*}{a^T S_i a}\, b_i^*`.

    Args:
        a: the common down-projection, not in the kernel of S_i.

    Returns:
        b_i, the same in both conventions; accurate to rounding times ||S_i|| / (a^T S_i a).

    Example:
        >>> b_step(population(1, np.array([1.0, 0.0]), np.ones(2), 2), 0, np.array([0.6, 0.8]))
        array([0.6, 0.6])

    Source: the first step of Algorithm 2, arXiv 2502.01755v4 (as recalled; unverified), solved here.
    """
    projected = model.moments[client] @ a
    return (projected @ model.a_star) / (projected @ a) * model.b_star[client]


def loss(model: LinearModel, client: int, a: Float[Array, "d"], b: Float[Array, "k"]) -> float:
    r"""The loss :math:`\ell_i = \frac{f}{2}\,\mathrm{tr}\, R^T S_i R`, :math:`R = a b^T - a^* b_i^{*T}`.

    Returns:
        A number >= 0, accurate relative to its own size because the residual is formed first.

    Example:
        >>> loss(population(1, np.array([1.0, 0.0]), np.ones(1), 2), 0, np.array([0.0, 1.0]), np.ones(1))
        2.0
    """
    residual = np.outer(a, b) - np.outer(model.a_star, model.b_star[client])
    return float(model.gradient_factor / 2 * np.sum(residual * (model.moments[client] @ residual)))


def mean_loss(model: LinearModel, a: Float[Array, "d"], b: Float[Array, "k"]) -> float:
    """The global loss, the mean of the clients' losses at common factors."""
    return float(np.mean([loss(model, client, a, b) for client in range(model.num_clients)]))


def gradient_a(model: LinearModel, client: int, a: Float[Array, "d"], b: Float[Array, "k"]) -> Float[Array, "d"]:
    r"""The gradient in a, :math:`\nabla_a \ell_i = f\, S_i (a \|b\|^2 - a^* (b_i^{*T} b))`.

    Example:
        >>> gradient_a(population(1, np.array([1.0, 0.0]), np.ones(1), 2), 0, np.array([0.0, 1.0]), np.ones(1))
        array([-2.,  2.])
    """
    return model.gradient_factor * (model.moments[client] @ (a * (b @ b) - model.a_star * (model.b_star[client] @ b)))


def gradient_b(model: LinearModel, client: int, a: Float[Array, "d"], b: Float[Array, "k"]) -> Float[Array, "k"]:
    r"""The gradient in b, :math:`\nabla_b \ell_i = f\, (b\, a^T S_i a - b_i^*\, a^T S_i a^*)`.

    Returns:
        A vector like ``b``; zero at ``b_step``.

    Example:
        >>> gradient_b(population(1, np.array([1.0, 0.0]), np.ones(1), 1), 0, np.array([1.0, 0.0]), np.zeros(1))
        array([-1.])
    """
    projected = model.moments[client] @ a
    return model.gradient_factor * (b * (projected @ a) - model.b_star[client] * (projected @ model.a_star))
