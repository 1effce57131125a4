"""Every registered network: its size, what it reads, and its description."""

import copy
import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from ogreid.errors import InputError
from ogreid.models import MODELS, build_model, describe
from ogreid.models.image_cnn import ShuffleNetV2
from ogreid.models.ognet import OGNet, ognet_small
from ogreid.models.pointnet2 import MSG, PointNet2
from ogreid.models.summary import count_parameters

PARAMETERS = {
    "ognet": 1_951_738,
    "ognet_small": 1_200_833,
    "ognet_deep": 2_470_498,
    "dgcnn": 1_366_144,
    "pointnet2_ssg": 1_594_880,
    "pointnet2_msg": 1_865_664,
    "histogram": 0,
}
OURS = {"lifted_resnet": 471_332}
# Backbones at 751 classes and without the bottleneck, as their authors count, and their channels.
IMAGES = {
    "resnet50": (25_046_831, 2048),
    "densenet121": (7_723_631, 1024),
    "mobilenetv2": (3_185_903, 1280),
    "shufflenetv2": (2_023_379, 1024),
}
SMALL = {
    "ognet": {"channels": (8, 16), "num_kept": (24, 12), "k": 5, "blend": "max", "gate": False},
    "ognet_small": {"k": 4},
    "ognet_deep": {"num_kept": [24, 12, 10, 9]},
    "dgcnn": {"channels": (6, 8), "k": 4},
    "pointnet2_ssg": {"num_kept": (24, 6), "width_mult": 0.25},
    "pointnet2_msg": {"levels": [(20, [(0.3, 6, (8, 8)), (0.6, 9, (6, 7, 8))])], "final": (12, 16)},
    "lifted_resnet": {"channels": (8, 12), "blocks": (1, 2), "parts": 1, "embedding": 10, "crop": (10, 6)},
    "histogram": {"bins": 4},
} | {name: {"crop": (10, 6), "size": (32, 32)} for name in IMAGES}


def test_every_network_is_tested_here():
    assert MODELS.keys() == PARAMETERS.keys() | IMAGES.keys() | OURS.keys() == SMALL.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_on_points_have_exactly_the_published_parameters(name):
    network = build_model(name)
    assert (count_parameters(network), network.width) == (PARAMETERS[name], 512)
    assert network.inputs == (None if name == "histogram" else "points")


@pytest.mark.parametrize("name", IMAGES)
def test_networks_on_crops_have_exactly_their_authors_parameters(name):
    count, channels = IMAGES[name]
    network = build_model(name)
    assert count_parameters(network.backbone) + (channels + 1) * 751 == count
    assert count_parameters(network) == count_parameters(network.backbone) + 512 * (channels + 1) + 2 * 512
    assert (network.inputs, network.width) == ("crop", 512)


@pytest.mark.parametrize("name", OURS)
def test_networks_of_our_own_have_the_parameters_that_the_documents_say(name):
    assert count_parameters(build_model(name)) == OURS[name]


@pytest.mark.parametrize("name", MODELS)
def test_a_network_is_rebuilt_from_its_description(name, clouds):
    network = copy.deepcopy(build_model(name, **SMALL[name])).eval()
    described = describe(network)
    assert described == (name, json.loads(json.dumps(described[1])))
    rebuilt = build_model(described[0], **described[1]).eval()
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.width == network.width
    with torch.no_grad():
        assert torch.equal(rebuilt(*clouds(2)), network(*clouds(2)))


@pytest.mark.parametrize(
    ("network", "name", "options"),
    [
        (lambda: OGNet((8, 16), num_kept=(5, 4)), "ognet", {"channels": [8, 16], "num_kept": [5, 4]}),
        (ognet_small, "ognet", {"channels": [48, 96, 192, 384]}),
        (lambda: PointNet2(MSG[:1]), "pointnet2_ssg", {"levels": json.loads(json.dumps(MSG[:1]))}),
        (lambda: ShuffleNetV2(size=OmegaConf.create([32, 16])), "shufflenetv2", {"size": [32, 16]}),
        (lambda: PointNet2(width_mult=np.float64(0.5)), "pointnet2_ssg", {"width_mult": 0.5}),
    ],
)
def test_a_network_made_by_its_class_describes_itself(network, name, options):
    assert repr(describe(network())) == repr((name, options))


class Derived(OGNet):
    """Another network with another argument."""

    def __init__(self, half=2):
        super().__init__(k=2 * half)


class Renamed(OGNet):
    """The same arguments."""


def test_other_modules_are_described_only_where_they_are_registered(monkeypatch):
    unrelated = nn.Identity()
    unrelated.options = ("market", {})
    assert [describe(one) for one in (nn.Identity(), unrelated, Derived(), Renamed(k=4))] == [None] * 4
    for name, network in (("derived", Derived), ("renamed", Renamed)):
        monkeypatch.setitem(MODELS, name, network)
    assert describe(Derived(3)) is None, "its arguments are not known"
    assert describe(build_model("derived", half=3)) == ("derived", {"half": 3})
    assert describe(Renamed(k=4)) == ("renamed", {"k": 4})
    monkeypatch.setitem(MODELS, "plain", nn.Identity)
    assert describe(build_model("plain")) == ("plain", {})


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ognet_smal", {}, "ognet_small"),
        ("ognet_small", {"channel": (4, 8)}, "channels"),
        ("dgcnn", {"radii": [0.1]}, "radii"),
        ("ognet", {"blend": "mox"}, "blend.*mox.*max"),
        ("ognet", {"residual": "afterr"}, "after"),
        ("ognet", {"last_graph": "color"}, "appearance, position"),
        ("ognet", {"grouping": "balls"}, "ball"),
        ("ognet", {"convolution": []}, "edge"),
        ("ognet", {"convolutions": 0}, "convolutions"),
        ("ognet", {"radii": (0.1, 0.2)}, "radius"),
        ("ognet", {"num_kept": (24, 12, 6)}, "num_kept"),
        ("ognet", {"channels": (8, 16), "num_kept": (12, 24)}, "2 num_kept"),
        ("ognet", {"channels": (16, 8)}, "shrink"),
        ("ognet", {"channels": ()}, "shrink"),
        ("pointnet2_ssg", {"num_kept": [96]}, "2 num_kept"),
        ("pointnet2_ssg", {"width_mult": 0.0}, "width_mult > 0"),
    ],
)
def test_a_value_that_does_not_fit_is_named(name, options, words):
    with pytest.raises(InputError, match=words):
        build_model(name, **options)
