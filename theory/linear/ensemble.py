r"""Many linear models at once, as stacked sufficient statistics, at any rank and with or without label noise.

Client i fits :math:`Y_i \approx X_i A B` by least squares. Of its data only

.. math::
    S_i = \tfrac1m X_i^T X_i, \qquad C_i = \tfrac1m X_i^T Y_i, \qquad e_i = \tfrac1m \|Y_i\|_F^2

enter the loss and its gradients, so an ensemble keeps these and not the m rows: every step then costs d^2 instead of
2 m d operations a client. Leading axes are independent instances (draws of truth and data), the next axis is the
clients, and every function works on all of them in one array operation of whatever backend the arrays belong to.

``theory.linear.model`` is the same mathematics for one instance, client by client; the tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import array_api_compat
import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key
from theory.linear.model import GradientFactor, LinearModel, second_moments


@dataclass(frozen=True)
class Ensemble:
    r"""The sufficient statistics of N clients in each of several instances.

    Args:
        moments: S_i.
        cross: C_i.
        energy: e_i.
        gradient_factor: f, which stands before every gradient; the loss is (f/2)(1/m)||.||_F^2.
    """

    moments: Float[Array, "*instances n d d"]
    cross: Float[Array, "*instances n d k"]
    energy: Float[Array, "*instances n"]
    gradient_factor: GradientFactor

    @property
    def num_clients(self) -> int:
        """N."""
        return self.moments.shape[-3]

    def __getitem__(self, index: Any) -> Ensemble:
        """Some of the instances, by an index of their axes."""
        return replace(self, moments=self.moments[index], cross=self.cross[index], energy=self.energy[index])

    def of_clients(self, clients: Sequence[int]) -> Ensemble:
        """Some of the clients of every instance, in the order given."""
        xp = array_api_compat.array_namespace(self.moments)
        chosen = xp.asarray(list(clients), device=array_api_compat.device(self.moments))
        return replace(
            self,
            moments=xp.take(self.moments, chosen, axis=-3),
            cross=xp.take(self.cross, chosen, axis=-3),
            energy=xp.take(self.energy, chosen, axis=-1),
        )

    def on(self, backend: Any) -> Ensemble:
        """The same statistics as arrays of another backend.

        Args:
            backend: turns a NumPy array into one of its own, for instance ``torch.asarray``.
        """
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "gradient_factor"}
        return replace(self, **{name: backend(array) for name, array in arrays.items()})


def planted(
    moments: Float[Array, "*#instances n d d"],
    a_star: Float[Array, "*#instances d r"],
    b_star: Float[Array, "*#instances n r k"],
    gradient_factor: GradientFactor,
) -> Ensemble:
    r"""The ensemble of noiseless labels :math:`Y_i = X_i A^* B_i^*`, so :math:`C_i = S_i A^* B_i^*`.

    Args:
        a_star: A*, with orthonormal columns (not checked).
        b_star: B_i*; equal along the client axis for the homogeneous model.

    Example:
        >>> eye, one = np.eye(2)[None], np.ones((2, 1)) / np.sqrt(2)
        >>> float(planted(eye, one, np.ones((1, 1, 3)), 2).energy[0].round(12))
        3.0
    """
    xp = array_api_compat.array_namespace(moments)
    truth = a_star[..., None, :, :] @ b_star
    cross = moments @ truth
    return Ensemble(moments, cross, xp.sum(truth * cross, axis=(-2, -1)), gradient_factor)


def stack(models: list[LinearModel]) -> Ensemble:
    """The ensemble of several linear models of one size and one convention, one instance each.

    Args:
        models: at least one.

    Raises:
        ValueError: the models use both gradient factors.
    """
    factors = {model.gradient_factor for model in models}
    if len(factors) != 1:
        raise ValueError(f"got models of gradient factors {sorted(factors)}, expected one convention")
    a_star = np.stack([model.a_star[:, None] for model in models])
    b_star = np.stack([model.b_star[:, None, :] for model in models])
    return planted(np.stack([model.moments for model in models]), a_star, b_star, factors.pop())


def isotropic(instances: int, num_clients: int, dimension: int) -> Float[Array, "i n d d"]:
    """S_i = I, the limit of many samples."""
    return np.broadcast_to(np.eye(dimension), (instances, num_clients, dimension, dimension)).copy()


def draw_moments(
    key: Key, instances: int, num_clients: int, samples: int, dimension: int
) -> tuple[Float[Array, "i n d d"], Float[Array, "i n d q"]]:
    r"""S_i of inputs with N(0, 1) entries, and a root R_i with :math:`S_i = R_i R_i^T`, by whichever way is cheaper.

    With more rows than coordinates :math:`m S_i` is drawn from its own distribution, Wishart with m degrees of freedom,
    as :math:`L L^T` (Bartlett): L is lower triangular, :math:`L_{jj}^2 \sim \chi^2_{m-j}` for j = 0 ... d - 1, and N(0, 1)
    below. That takes d(d+1)/2 numbers a client instead of m d. With fewer rows the inputs themselves are drawn.

    Returns:
        S_i, and R_i with q = min(d, m) columns; exact in distribution either way.

    Example:
        >>> moments, root = draw_moments(Key(0), 2, 3, 40, 5)
        >>> moments.shape, bool(np.allclose(moments, root @ np.swapaxes(root, -1, -2)))
        ((2, 3, 5, 5), True)

    Source: Bartlett, Proc. R. Soc. Edinburgh 53 (1933) 260-283.
    """
    stream = key.generator()
    if samples < dimension:
        inputs = stream.standard_normal((instances, num_clients, samples, dimension))
        return second_moments(inputs), np.swapaxes(inputs, -1, -2) / np.sqrt(samples)
    root = np.zeros((instances, num_clients, dimension, dimension))
    rows, columns = np.tril_indices(dimension, -1)
    root[..., rows, columns] = stream.standard_normal((instances, num_clients, rows.shape[0]))
    degrees = samples - np.arange(dimension)
    diagonal = np.arange(dimension)
    root[..., diagonal, diagonal] = np.sqrt(stream.chisquare(degrees, (instances, num_clients, dimension)))
    root /= np.sqrt(samples)
    return root @ np.swapaxes(root, -1, -2), root


def draw_noisy(
    key: Key,
    samples: int,
    a_star: Float[Array, "i d r"],
    b_star: Float[Array, "i n r k"],
    noise: float,
    gradient_factor: GradientFactor,
) -> Ensemble:
    r"""The ensemble of labels :math:`Y_i = X_i A^* B_i^* + \sigma Z_i`, all entries of X_i and Z_i N(0, 1).

    Given X_i with :math:`S_i = R_i R_i^T`, :math:`\tfrac1m X_i^T Z_i = R_i G_i / \sqrt m` with G_i standard normal, and
    :math:`\|Z_i\|^2 = \|G_i\|^2 + \chi^2_{(m - q) k}`: the noise too is drawn by its sufficient statistics.

    Args:
        a_star: A*, orthonormal columns.
        b_star: B_i*, one a client.
        noise: sigma >= 0.

    Returns:
        The statistics; those of ``planted`` where sigma is zero.

    Example:
        >>> truth = np.eye(4)[None, :, :1], np.ones((1, 3, 1, 2))
        >>> draw_noisy(Key(0), 50, *truth, 0.1, 2).cross.shape
        (1, 3, 4, 2)
    """
    instances, num_clients, _, outputs = b_star.shape
    moments, root = draw_moments(key.fold("inputs"), instances, num_clients, samples, a_star.shape[-2])
    clean = planted(moments, a_star, b_star, gradient_factor)
    if noise == 0:
        return clean
    stream = key.fold("noise").generator()
    within = stream.standard_normal((instances, num_clients, root.shape[-1], outputs))
    error = noise / np.sqrt(samples) * (root @ within)
    beyond = (samples - root.shape[-1]) * outputs
    rest = stream.chisquare(beyond, (instances, num_clients)) if beyond else 0.0
    square = noise**2 / samples * (np.sum(within**2, axis=(-2, -1)) + rest)
    signal = a_star[:, None] @ b_star
    energy = clean.energy + 2 * np.sum(signal * error, axis=(-2, -1)) + square
    return Ensemble(moments, clean.cross + error, energy, gradient_factor)
