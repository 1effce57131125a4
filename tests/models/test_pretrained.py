"""Networks in safetensors files: they rebuild themselves, and refuse what does not fit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ogreid import config
from ogreid.errors import InputError, MissingFileError
from ogreid.models import build_model
from ogreid.models.pretrained import SHIPPED, load_pretrained, save_pretrained
from ogreid.training.weights import read_weights

TINY = {"channels": [8, 12], "blocks": [1, 2], "embedding": 10, "crop": [16, 8]}
ABOUT = {"data": {"inputs": "crop"}, "options": {"scales": [1.0], "mirror": True}, "card": {"trained on": "nobody"}}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = build_model("lifted_resnet", **TINY).eval()
    save_pretrained(network, tmp_path / "tiny.safetensors", **ABOUT)
    return network, tmp_path / "tiny.safetensors"


def test_a_network_comes_back_with_what_its_input_needs(saved):
    network, path = saved
    loaded = load_pretrained(path)
    assert (loaded.data, loaded.options, loaded.card) == tuple(ABOUT.values())
    xyz, rgb = torch.zeros(2, 128, 3), torch.rand(2, 128, 3) - 0.5
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(xyz, rgb), network(xyz, rgb), rtol=1e-2, atol=1e-2)
    assert path.stat().st_size < 2.5 * sum(value.numel() for value in network.state_dict().values()) + 10_000


def test_a_file_is_the_start_of_a_training(saved):
    network, path = saved
    weights = read_weights(path)
    assert weights.network.keys() == network.state_dict().keys()
    assert weights.record["experiment"] == "safetensors"


def test_files_that_are_no_networks_are_refused(saved, tmp_path):
    network, path = saved
    with pytest.raises(MissingFileError, match=r"none\.safetensors"):
        load_pretrained(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=r"cut\.safetensors: not a readable"):
        load_pretrained(cut)
    contiguous = {key: value.contiguous() for key, value in network.state_dict().items()}
    plain = tmp_path / "plain.safetensors"
    save_file(contiguous, plain)
    with pytest.raises(InputError, match="names no network"):
        load_pretrained(plain)
    other = tmp_path / "other.safetensors"
    about = ABOUT | {"network": ["lifted_resnet", TINY | {"embedding": 1 << 14}]}
    save_file(contiguous, other, {"ogreid": json.dumps(about)})
    with pytest.raises(InputError, match="not those of lifted_resnet"):
        load_pretrained(other)
    save_file(contiguous, other, {"ogreid": json.dumps(ABOUT | {"network": ["lifted_resnet", {"channels": 3}]})})
    with pytest.raises(InputError, match="cannot be built"):
        load_pretrained(other)
    with pytest.raises(InputError, match="in no registry"):
        save_pretrained(nn.Linear(2, 3), tmp_path / "linear.safetensors", **ABOUT)


def test_the_network_that_ships_is_small_and_says_what_it_was_trained_on():
    assert SHIPPED.stat().st_size < 2_000_000
    shipped = load_pretrained()
    assert "synthetic" in shipped.card["trained on"]
    assert shipped.card["command"].rpartition(" ")[2] in config.experiment_names(Path(__file__))
    embedding = shipped.network(torch.zeros(2, 8192, 3), torch.rand(2, 8192, 3) - 0.5)
    assert embedding.shape == (2, 256) and embedding.isfinite().all()
