import numpy as np
import pytest

import benchmark_trees as trees
from ogreid import pack
from ogreid.data import Store
from ogreid.data.datasets.bodies import estimates_in
from ogreid.errors import InputError
from ogreid.lifting import lift, upright_template

BODY = upright_template()
SOURCE = "query/0003_c1s1_001051_00.jpg"


@pytest.fixture
def crops(tmp_path):
    return trees.market(tmp_path / "crops")


def hmr(path, scale, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, vertices=BODY.vertices, camera=np.array([scale, 0, 0]), **more)


@pytest.mark.parametrize("name", ["query/0003_c1s1_001051_00.npz", "0003_c1s1_001051_00.npz", f"{SOURCE}.npz"])
def test_a_body_is_found_by_the_name_of_its_crop(tmp_path, crops, name):
    hmr(tmp_path / "bodies" / name, 0.8)
    hmr(tmp_path / "bodies/other.npz", 0.5)
    assert estimates_in(tmp_path / "bodies", crops)(SOURCE).camera.scale == 0.8


def test_a_missing_body_is_named_with_where_it_was_looked_for(tmp_path, crops):
    hmr(tmp_path / "bodies/other.npz", 0.5)
    with pytest.raises(InputError, match=r"no body in .*bodies; expected query/0003_c1s1_001051_00.npz"):
        estimates_in(tmp_path / "bodies", crops)(SOURCE)
    with pytest.raises(InputError, match="no such file or folder"):
        estimates_in(tmp_path / "nowhere", crops)


def test_one_file_for_all_crops_tells_whose_each_row_is(tmp_path, crops):
    told = {
        "verts": np.stack([BODY.vertices * 0.9, BODY.vertices]),
        "pred_cams": np.array([[1.0, 0, 0], [0.7, 0, 0]]),
        "bboxes_xyxy": np.array([[0.0, 0, 64, 128], [0, 0, 64, 128]]),
    }
    names = np.array(["x/other.jpg", f"/elsewhere/{SOURCE}"])
    np.savez(tmp_path / "inference_result.npz", image_path=names, **told)
    mesh = estimates_in(tmp_path / "inference_result.npz", crops)(SOURCE)
    np.testing.assert_array_equal(mesh.vertices, BODY.vertices)
    assert mesh.camera.camera.scale == pytest.approx(0.7)
    with pytest.raises(InputError, match=r"no body of 0004_c1s1_001051_00.jpg in .*; it holds 2 others"):
        estimates_in(tmp_path / "inference_result.npz", crops)("query/0004_c1s1_001051_00.jpg")
    np.savez(tmp_path / "nameless.npz", **told)
    with pytest.raises(InputError, match="no image_path"):
        estimates_in(tmp_path / "nameless.npz", crops)(SOURCE)


def test_the_door_packs_with_estimated_bodies_and_their_model_s_faces(tmp_path, crops):
    for path in crops.rglob("*.jpg"):
        if not path.name.startswith("."):
            hmr(tmp_path / "bodies" / path.relative_to(crops).with_suffix(".npz"), 0.8)
    np.save(tmp_path / "faces.npy", BODY.faces)
    order = ["market", "--root", str(crops), "--meshes", str(tmp_path / "bodies"), "--allow-count-mismatch"]
    order += ["--workers", "1", "--data", str(tmp_path / "data")]
    with pytest.raises(InputError, match=r"0001_c1s1_000151_01.jpg: lifting: raster mode needs faces.*--faces FILE"):
        pack.main(order)
    assert not (tmp_path / "data/market").exists() and not list((tmp_path / "data").glob("*.part"))
    pack.main([*order, "--faces", str(tmp_path / "faces.npy"), "--dtype", "float32"])
    store = Store.open(tmp_path / "data/market")
    small = type(BODY)(BODY.vertices, BODY.faces, type(BODY.camera)(0.8, (0.0, 0.0)))
    expected = lift(store.picture(0), small)
    np.testing.assert_array_equal(np.sort(store.clouds([0])[0][0], axis=0), np.sort(expected[:, :3], axis=0))
