import random
from pathlib import Path

import numpy as np
import pytest

from ogreid.data.datasets import obj
from ogreid.data.datasets.layouts import Row
from ogreid.data.datasets.obj import PublishedClouds, read_obj
from ogreid.data.datasets.readers import rows_array
from ogreid.data.store.writing import pack
from ogreid.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden"


def write(path, points):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["v " + " ".join(f"{value:.6f}" for value in point) for point in points]
    path.write_text("\n".join([*lines, "f 1 2 3", ""]))
    return path


def cloud(count=50):
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(count, 3)), rng.integers(0, 256, (count, 3)) / 255], axis=1)


def test_a_published_cloud_is_read_digit_for_digit_its_white_points_too(tmp_path):
    points = cloud()
    points[2:4, 3:] = 1
    xyz, rgb = read_obj(write(tmp_path / "a.jpg.obj", points))
    np.testing.assert_array_equal(xyz, np.round(points[:, :3], 6).astype(np.float32))
    np.testing.assert_array_equal(rgb, np.rint(points[:, 3:] * 255))
    assert (xyz.dtype, rgb.dtype) == (np.float32, np.uint8)


@pytest.mark.parametrize(
    "text",
    [
        "# made by hand\n\nv 1 -2.5 .5 0 0.5 1\n\nvn 0 0 1\nv 3 4 5 1 1 1\nf 1 2 1\n",
        "v 1 -2.5 0.5 0 0.5 1\r\nv 3 4 5 1 1 1\r\n",
        "\ufeffv 1 -2.5 0.5 0 0.5 1\rv 3 4 5 1 1 1\r",
        "v 1 -2.5 0.5 0 0.5 1 # first\n# a form feed \fv 9 9 9 0 0 0\nv 3 4 5 1 1 1\n",
        "  v\t1  -2.5 5e-1 0 0.5 1\nv 3 4 5 1 1 1",
        "mtllib v.mtl\nv 1.00000000000000000000 -2.5 0.5 0 0.5 1 \nv 3. 4 5 1 1 1\nusemtl v\n",
    ],
)
def test_other_statements_line_ends_and_number_forms_do_not_matter(tmp_path, text):
    (tmp_path / "a.obj").write_bytes(text.encode())
    xyz, rgb = read_obj(tmp_path / "a.obj")
    np.testing.assert_array_equal(xyz, [[1, -2.5, 0.5], [3, 4, 5]])
    np.testing.assert_array_equal(rgb, [[0, 128, 255], [255, 255, 255]])


def test_what_the_fast_path_takes_the_slow_one_reads_alike(tmp_path):
    """Over random lines of words that are numbers, nearly numbers, or none."""
    words = [b"v", b"vn", b"f", b"#", b"1", b"-2.5", b".5", b"3.", b"-0", b"1e-1", b"0.123456789012345", b"+1", b"--1"]
    words += [b"1234567890123456", b"1.5#", b"\x0b", b"\xc2\xa01", b"0x1", b"nan", b"1_0", b"."]
    rng, taken = random.Random(0), 0
    for _ in range(4000):
        plain = rng.random() < 0.8
        lines = [[b"v", *rng.choices(words[4:9] if plain else words, k=6)] for _ in range(rng.randint(1, 3))]
        blank = rng.choice([b" ", b"\t", b"  "])
        text = b"".join(rng.choice([b"", blank]) + blank.join(one) + b"\n" for one in lines)
        values = np.empty((len(text), 6))
        count = obj._parse(np.frombuffer(text, np.uint8), values)
        if count >= 0:
            taken += 1
            np.testing.assert_array_equal(values[:count], obj._parse_by_line(text, tmp_path))
    assert taken > 2000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "a.obj: No such file"),
        ("", "a.obj: empty"),
        (" \n", "a.obj: empty"),
        ("# nothing\nf 1 2 3\n", "a.obj: no points"),
        ("v 1 2 3 0 0 0\nv 1 2 3\n", "a.obj:2: .*without color"),
        ("v 1 2 3 0 0 0 1\n", "a.obj:1: 7 numbers"),
        ("v 1 2 3 0 0\n", "a.obj:1: 5 numbers"),
        ("v 1 2 x 0 0 0\n", "a.obj:1: .*'x'"),
        ("v 1 2 3 0 0 200\n", "a.obj: colors 0.0 to 200.0"),
        ("v 1 2 nan 0 0 1\n", "a.obj: .*finite"),
        ("v 1 2 70000 0 0 1\n", "a.obj: .*meters"),
    ],
)
def test_a_damaged_cloud_is_refused_with_file_and_line(tmp_path, text, words):
    if text is not None:
        (tmp_path / "a.obj").write_text(text)
    with pytest.raises(InputError, match=words) as refusal:
        read_obj(tmp_path / "a.obj")
    assert str(tmp_path) in str(refusal.value)


def packed(tmp_path, clouds, **options):
    rows = []
    for i, points in enumerate(clouds):
        path = write(tmp_path / f"tree/query/0001/0001_c{i + 1}s1_000001_00.jpg.obj", points)
        rows.append(Row("query", 1, i + 1, path.relative_to(tmp_path / "tree").as_posix()))
    source = PublishedClouds(tmp_path / "tree", rows[0].path, **options)
    return pack(rows_array(rows), source, tmp_path / "store", name="store", benchmark="market")


def test_a_published_cloud_survives_the_store(tmp_path):
    golden = np.load(GOLDEN / "lift_vertex.npz")["points"]
    store = packed(tmp_path, [golden, golden[::-1]], dtype="float32")
    xyz, rgb = store.clouds([0, 1])
    np.testing.assert_array_equal(xyz, np.stack([golden, golden[::-1]])[..., :3].astype(np.float32))
    np.testing.assert_allclose(rgb[0], golden[:, 3:], atol=5e-7)  # six written decimals
    assert (store.manifest.mode, store.manifest.order, store.manifest.background) == ("published", "written", True)
    assert store.crop(0) is None
    short = packed(tmp_path / "short", [golden])
    np.testing.assert_allclose(short.clouds([0])[0][0], golden[:, :3], atol=1e-3)


def test_clouds_of_different_sizes_are_not_packed_together(tmp_path):
    with pytest.raises(InputError, match=r"c2s1_000001_00.jpg.obj: 49 points, .* has 50"):
        packed(tmp_path, [cloud(50), cloud(49)])
    assert not (tmp_path / "store").exists()
