"""Networks in ONNX and as torch programs: the embedding of any number of clouds, as the module computes it."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from crop_folders import NETWORKS
from ogreid import ReIDModule, export
from ogreid.data.batch import CloudBatch
from ogreid.data.transforms import select_evenly, to_network
from ogreid.deployment.programs import write_onnx, write_program
from ogreid.deployment.runtime import Runtime, evenly_spaced
from ogreid.errors import InputError, MissingFileError
from ogreid.training.inference import Network

# Inside torch.export and torch.onnx (pytorch/pytorch#150994).
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
POINTS = NETWORKS | {
    "dgcnn": {"channels": [6, 8], "k": 4, "embedding": 16},
    "pointnet2_msg": {"num_kept": [24, 6], "width_mult": 0.1, "embedding": 16},
    "lifted_resnet": {"channels": [4, 6], "blocks": [1, 1], "embedding": 16},
}
CROPS = {"shufflenetv2", "lifted_resnet"}


def a_network(name, **options):
    torch.manual_seed(0)
    module = ReIDModule(name, model_options=POINTS[name], loss="ce", **options).eval()
    return Network(name, module, {"inputs": "crop"} if name in CROPS else {"num_points": 64})


def clouds(count, points, seed=0):
    rng = np.random.default_rng(seed)
    xyz = rng.normal(0, 0.4, (count, points, 3)).astype(np.float32)
    return xyz, rng.integers(0, 256, (count, points, 3), dtype=np.uint8)


def embedded(network, xyz, rgb):
    """By the module, of points in the order of its inputs."""
    unknown = torch.full((len(xyz),), -1)
    batch = CloudBatch(torch.from_numpy(xyz), torch.from_numpy(rgb), unknown, unknown, unknown)
    batch = batch._replace(rgb=batch.rgb.float() / 255 - 0.5) if network.name in CROPS else to_network(batch, 64)
    with torch.no_grad():
        return network.module.validation_step(batch, 0).numpy()


THOROUGH = [pytest.param(name, marks=pytest.mark.thorough) for name in ("ognet", "dgcnn", "pointnet2_msg")]


@pytest.mark.parametrize("name", ["lifted_resnet", "shufflenetv2", *THOROUGH])
def test_onnx_gives_the_embeddings_of_any_number_of_clouds(name, tmp_path):
    network = a_network(name, mirror=name == "lifted_resnet", scales=(1.0,) if name in CROPS else (1.0, 1.1))
    write_onnx(network, tmp_path / "network.onnx")
    runtime = Runtime(tmp_path / "network.onnx", num_threads=1)
    assert runtime.about["name"] == name and runtime.about["version"]
    for count in (1, 3):
        xyz, rgb = clouds(count, 8192 if name in CROPS else 100)
        computed = runtime.crops(rgb.reshape(count, 128, 64, 3)) if name in CROPS else runtime.clouds(xyz, rgb)
        np.testing.assert_allclose(computed, embedded(network, xyz, rgb), atol=1e-4)


@pytest.mark.parametrize("name", ["lifted_resnet", *THOROUGH])
def test_a_torch_program_takes_any_number_of_clouds(name, tmp_path):
    network = a_network(name)
    write_program(network, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    for count in (1, 3):
        xyz, rgb = torch.randn(2, count, 8192 if name in CROPS else 64, 3)
        with torch.no_grad():
            torch.testing.assert_close(program(xyz, rgb), network.module.network(xyz, rgb))


def test_a_network_of_pixels_takes_what_it_needs_as_further_inputs(tmp_path):
    torch.manual_seed(0)
    options = POINTS["lifted_resnet"] | {"pixels": ["foreground", "depth"]}
    network = Network(
        "pixels", ReIDModule("lifted_resnet", model_options=options, loss="ce").eval(), {"inputs": "crop"}
    )
    write_program(network, tmp_path / "network.pt2")
    write_onnx(network, tmp_path / "network.onnx")
    xyz, rgb = torch.randn(2, 3, 8192, 3)
    foreground = (xyz[..., :1] > 0).float()
    with torch.no_grad():
        expected = network.module.network(xyz, rgb, foreground=foreground)
        torch.testing.assert_close(torch.export.load(tmp_path / "network.pt2").module()(xyz, rgb, foreground), expected)
    session = Runtime(tmp_path / "network.onnx").session
    feed = {"xyz": xyz.numpy(), "rgb": rgb.numpy(), "foreground": foreground.numpy()}
    np.testing.assert_allclose(session.run(["embedding"], feed)[0], expected, atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_the_runtime_chooses_points_as_evaluation_does(share):
    blank = np.random.default_rng(1).random((5, 100)) < share
    expected = select_evenly(torch.from_numpy(blank), 40)
    assert np.array_equal(np.stack([evenly_spaced(one, 40) for one in blank]), expected)


def test_the_runtime_needs_no_torch():
    code = "import sys, ogreid.deployment.runtime; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_what_cannot_run_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="export --onnx"):
        Runtime(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match="not a file of ogreid export"):
        Runtime(tmp_path / "text.onnx")
    write_onnx(a_network("lifted_resnet"), tmp_path / "network.onnx")
    runtime = Runtime(tmp_path / "network.onnx")
    with pytest.raises(InputError, match="reads crops"):
        runtime.clouds(*clouds(1, 100))
    with pytest.raises(InputError, match=r"expected \(B, 128, 64, 3\)"):
        runtime.crops(np.zeros((1, 64, 128, 3), np.uint8))
    with pytest.raises(InputError, match=r"\.onnx"):
        export.main(["--onnx", str(tmp_path / "network.bin")])
