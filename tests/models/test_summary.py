"""Counts of parameters and operations."""

import pytest

from ogreid.models import MODELS, build_model
from ogreid.models.summary import PUBLISHED_PARAMETERS, count_flops, count_parameters, model_rows


def test_flops_are_two_for_each_multiply_add():
    network = build_model(
        "ognet", channels=(8,), num_kept=(10,), k=1, radii=(0.5,), num_samples=(4,), gate=False, embedding=6
    )
    points, groups = 50, 10
    point_conv, inner = points * 3 * 8, points * (3 + 8) * 4 + groups * 3 * 4
    outer, embedding = groups * 4 * 4 * 8, 16 * 6
    assert count_flops(network, points) == 2 * (point_conv + inner + outer + embedding)
    assert network.training and network.backend == "auto" and not any(network.norm.running_mean)


def test_every_network_that_learns_has_a_row(monkeypatch):
    names = ("ognet_small", "shufflenetv2", "histogram")
    monkeypatch.setattr("ogreid.models.summary.MODELS", {name: MODELS[name] for name in names})
    small, shuffle = model_rows(points=1024)
    assert (small.name, small.parameters, small.published) == ("ognet_small", 1_200_833, "1.20 M")
    assert small.flops > 1e8 and shuffle.flops > 1e8


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_the_papers_count_is_ours_but_for_the_unused_layers(name):
    printed = float(PUBLISHED_PARAMETERS[name].split()[0])
    unused = {"densenet121": 1_025_000, "mobilenetv2": 1_281_000}.get(name, 0)
    assert count_parameters(build_model(name)) + unused == pytest.approx(printed * 1e6, abs=6e3)
