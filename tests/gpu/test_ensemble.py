"""The batched theory on a GPU's tensors: the same numbers as NumPy, in float64."""

import numpy as np
import pytest
import torch

from rolora.keys import Key
from theory.linear.ensemble import draw_noisy
from theory.linear.ensemble_rounds import alt_min_gd, subspace_distance

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("rank", [1, 3])
def test_algorithm_2_on_cuda_is_algorithm_2(rank):
    stream = Key(0).fold("gpu").generator()
    a_star, a0 = (np.linalg.qr(stream.standard_normal((50, 20, rank)))[0] for _ in range(2))
    b_star = np.broadcast_to(stream.standard_normal((50, 1, rank, 6)), (50, 4, rank, 6)).copy()
    ensemble = draw_noisy(Key(1), 60, a_star, b_star, 0.1, 2)
    expected = alt_min_gd(ensemble, a0, 0.01, 20)

    def to_gpu(array):
        return torch.from_numpy(np.ascontiguousarray(array)).cuda()

    found = alt_min_gd(ensemble.on(to_gpu), to_gpu(a0), 0.01, 20)
    assert found.a.is_cuda
    np.testing.assert_allclose(found.a.cpu().numpy(), expected.a, rtol=0, atol=1e-11)
    distance = subspace_distance(found.a[:, -1], to_gpu(a_star))
    np.testing.assert_allclose(distance.cpu().numpy(), subspace_distance(expected.a[:, -1], a_star), atol=1e-11)
