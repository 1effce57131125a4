import numpy as np
import pytest

import benchmark_trees as trees
from lifting import estimator_files
from lifting.estimator_files import VERTICES, Place
from ogreid import pack
from ogreid.data import Store
from ogreid.data.datasets.bodies import estimates_in
from ogreid.errors import InputError
from ogreid.lifting import lift, upright_template
from ogreid.lifting.readers.forms import NoBodyError

BODY = upright_template()
SOURCE = "query/0003_c1s1_001051_00.jpg"
NAME = "0003_c1_2.jpg"


@pytest.fixture
def crops(tmp_path):
    return trees.market(tmp_path / "crops")


@pytest.fixture
def bodies(tmp_path):
    (tmp_path / "bodies").mkdir()
    return tmp_path / "bodies"


def hmr(path, scale, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, vertices=BODY.vertices, camera=np.array([scale, 0, 0]), **more)


@pytest.mark.parametrize("name", ["query/0003_c1s1_001051_00.npz", "0003_c1s1_001051_00.npz", f"{SOURCE}.npz"])
def test_a_body_is_recognized_by_the_name_of_its_crop(bodies, crops, name):
    hmr(bodies / name, 0.8)
    hmr(bodies / "other.npz", 0.5)
    assert estimates_in(bodies, crops)(SOURCE).camera.scale == 0.8


@pytest.mark.parametrize("size", [(128, 64), (173, 70), (90, 91)])
@pytest.mark.parametrize("form", estimator_files.FORMS)
def test_every_estimator_s_file_puts_the_body_where_the_estimator_draws_it(tmp_path, bodies, form, size):
    trees.image(tmp_path / NAME, size=size[::-1])
    people = [Place(0.5 * size[0], 0.53 * size[1], 0.48 * size[0])]
    if form in estimator_files.SEVERAL:  # a small one and one in the corner, before and after
        people = [Place(0.2 * size[0], *people[0][1:]), *people, Place(0.5 * size[0], 0.05 * size[1], 0.1 * size[0])]
    expected = form(bodies, NAME, people, size)[1 if len(people) > 1 else 0]
    mesh = estimates_in(bodies, tmp_path)(NAME)
    np.testing.assert_allclose(mesh.camera.pixels(mesh.vertices.astype(float), *size), expected, atol=0.01)
    centered = mesh.vertices - mesh.vertices.mean(axis=0)
    np.testing.assert_allclose(centered, VERTICES - VERTICES.mean(axis=0), atol=1e-4)
    assert abs(mesh.vertices[:, 2].mean()) < 0.02  # the depth is the camera's


def test_a_body_of_another_crop_is_not_a_person_of_this_one(tmp_path, bodies):
    for name in (NAME, "0003_c1.jpg"):
        trees.image(tmp_path / name)
    people = [Place(64.0, 32.0, 64.0)]
    estimator_files.four_d_humans_obj(bodies, "0003_c1.jpg", people * 3, (128, 64))
    for number in (0, 1):
        (bodies / f"0003_c1_{number}.obj").unlink()  # 0003_c1_2.obj remains
    source = estimates_in(bodies, tmp_path)
    assert source.lacks_body("0003_c1.jpg") and not source.lacks_body(NAME)


def test_a_missing_body_is_refused_or_replaced_by_the_upright_one(bodies, crops):
    hmr(bodies / "other.npz", 0.5)
    strict, lenient = estimates_in(bodies, crops), estimates_in(bodies, crops, missing="upright")
    assert lenient(SOURCE) is upright_template() and lenient.lacks_body(SOURCE)
    np.savez(bodies / "0003_c1s1_001051_00.npz", outputs=[])
    assert lenient(SOURCE) is upright_template() and lenient.lacks_body(SOURCE)
    with pytest.raises(NoBodyError, match=r"001051_00.npz: the estimator found nobody; --missing upright"):
        strict(SOURCE)
    with pytest.raises(NoBodyError, match=r"no body in .*bodies; expected query/0004_c1s1_001051_00.npz"):
        strict("query/0004_c1s1_001051_00.jpg")
    hmr(bodies / SOURCE.replace(".jpg", ".npz"), 0.8)
    assert not lenient.lacks_body(SOURCE) and lenient(SOURCE).camera.scale == 0.8
    with pytest.raises(InputError, match="no such file or folder"):
        estimates_in(bodies / "nowhere", crops)
    with pytest.raises(InputError, match="did you mean upright"):
        estimates_in(bodies, crops, missing="upwright")


def test_mmhuman3d_counts_the_images_of_a_folder(bodies, crops):
    """The second of four crops has nobody, and the third two people: the larger one is meant, whichever comes first."""
    names = sorted(path.name for path in (crops / "query").iterdir())
    main, small = Place(60.0, 30.0, 66.0), Place(20.0, 30.0, 66.0)
    (bodies / "query").mkdir()
    expected = estimator_files.mmhuman3d(
        bodies / "query/inference_result.npz", {0: [main], 2: [main, small], 3: [Place(50.0, 35.0, 60.0)]}, (128, 64)
    )
    source = estimates_in(bodies, crops)
    for frame in (0, 2, 3):
        mesh = source(f"query/{names[frame]}")
        pixels = mesh.camera.pixels(mesh.vertices.astype(float), 128, 64)
        np.testing.assert_allclose(pixels, expected[frame][0], atol=0.01)
    assert source.lacks_body(f"query/{names[1]}")
    one_file = estimates_in(bodies / "query/inference_result.npz", crops / "query")
    np.testing.assert_allclose(one_file(names[2]).vertices, VERTICES, atol=1e-6)
    with pytest.raises(InputError, match=r"inference_result.npz: counts the images of one folder.*several"):
        estimates_in(bodies / "query/inference_result.npz", crops)(SOURCE)
    np.savez(bodies / "no.npz", verts=VERTICES[None], image_path=["images/000000.png"])
    with pytest.raises(InputError, match=r"no.npz: numbers its images without a frame_id"):
        estimates_in(bodies / "no.npz", crops / "query")(names[0])
    estimator_files.mmhuman3d(bodies / "other.npz", {4: [main]}, (128, 64))
    with pytest.raises(InputError, match=r"other.npz: counts image 4, and .*query has 4"):
        estimates_in(bodies / "other.npz", crops / "query")(names[0])


def test_one_file_for_all_crops_names_each_row(tmp_path, crops):
    arrays = {
        "verts": np.stack([BODY.vertices * 0.9, BODY.vertices]),
        "pred_cams": np.array([[1.0, 0, 0], [0.7, 0, 0]]),
        "bboxes_xyxy": np.array([[0.0, 0, 64, 128], [0, 0, 64, 128]]),
    }
    names = np.array(["x/other.jpg", f"/elsewhere/{SOURCE}"])
    np.savez(tmp_path / "inference_result.npz", image_path=names, faces=BODY.faces, **arrays)
    mesh = estimates_in(tmp_path / "inference_result.npz", crops)(SOURCE)
    np.testing.assert_array_equal(mesh.vertices, BODY.vertices)
    np.testing.assert_array_equal(mesh.faces, BODY.faces)
    assert mesh.camera.camera.scale == pytest.approx(0.7 * 1.25)
    with pytest.raises(NoBodyError, match=r"no body of 0004_c1s1_001051_00.jpg in .*; it holds 2 others"):
        estimates_in(tmp_path / "inference_result.npz", crops)("query/0004_c1s1_001051_00.jpg")
    np.savez(tmp_path / "nameless.npz", **arrays)
    with pytest.raises(InputError, match="no image_path"):
        estimates_in(tmp_path / "nameless.npz", crops)(SOURCE)


def test_the_command_packs_with_estimated_bodies_and_their_model_s_faces(tmp_path, bodies, crops):
    for path in crops.rglob("*.jpg"):
        if not path.name.startswith("."):
            hmr(bodies / path.relative_to(crops).with_suffix(".npz"), 0.8)
    np.save(tmp_path / "faces.npy", BODY.faces)
    order = ["market", "--root", str(crops), "--meshes", str(bodies), "--allow-count-mismatch"]
    order += ["--workers", "1", "--data", str(tmp_path / "data")]
    with pytest.raises(InputError, match=r"0001_c1s1_000151_01.jpg: lifting: raster mode needs faces.*--faces FILE"):
        pack.main(order)
    assert not (tmp_path / "data/market").exists() and not list((tmp_path / "data").glob("*.part"))
    pack.main([*order, "--faces", str(tmp_path / "faces.npy"), "--dtype", "float32"])
    store = Store.open(tmp_path / "data/market")
    small = type(BODY)(BODY.vertices, BODY.faces, type(BODY.camera)(0.8, (0.0, 0.0)))
    expected = lift(store.crop(0), small)
    np.testing.assert_array_equal(np.sort(store.clouds([0])[0][0], axis=0), np.sort(expected[:, :3], axis=0))


def test_the_command_counts_the_crops_that_get_the_upright_body(tmp_path, bodies, caplog):
    names = ["0001_c1_0.jpg", "0001_c2_0.jpg", "0002_c1_0.jpg", "0002_c2_0.jpg"]
    for name in names:
        trees.image(tmp_path / "crops" / name)
    order = ["mine", "--images", str(tmp_path / "crops"), "--meshes", str(bodies), "--missing", "upright"]
    order += ["--workers", "1", "--mode", "vertex", "--data", str(tmp_path / "data")]
    with pytest.raises(InputError, match="no body of any"):
        pack.main(order)
    hmr(bodies / "0001_c1_0.npz", 0.8, faces=BODY.faces)
    caplog.set_level("INFO")
    pack.main([*order, "--shard", "1/1"])
    pack.main([*order, "--merge"])
    store = Store.open(tmp_path / "data/mine")
    lacking = sum(source != names[0] for source in store.rows["source"])
    assert store.manifest.creation == {"bodies": "estimated", "upright": lacking}
    assert f"{lacking} of {len(store)} crops have no body" in caplog.text
    with pytest.raises(InputError, match=r"--missing upright"):
        pack.main([*order, "--missing", "error", "--overwrite"])
