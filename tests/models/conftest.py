"""Random clouds."""

import pytest
import torch


@pytest.fixture
def clouds():
    """Makes xyz and rgb (batch, points, 3), shaped like a standing person."""

    def make(batch=4, points=60, seed=0, dtype=torch.float32):
        generator = torch.Generator().manual_seed(seed)
        xyz, rgb = (draw(batch, points, 3, generator=generator, dtype=dtype) for draw in (torch.randn, torch.rand))
        return xyz * torch.tensor([0.3, 0.8, 0.2], dtype=dtype), rgb - 0.5

    return make
