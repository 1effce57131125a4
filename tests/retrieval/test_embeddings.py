"""Embeddings as files: every column comes back, and an index ranks as search does."""

import numpy as np
import pytest
import torch

from ogreid.errors import InputError, MissingFileError
from ogreid.retrieval import Embeddings, embeddings


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    index = rng.permutation(24)[::2]
    source = np.array([f"gallery/{row:04d}_c1.jpg" for row in index])
    columns = rng.normal(size=(12, 8)).astype(np.float32), rng.integers(-1, 5, 12), rng.integers(1, 4, 12), index
    return Embeddings(*columns, source, np.array(["query", "gallery"] * 6), "network and store")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("split", [True, False])
def test_a_file_gives_back_every_column(example, tmp_path, suffix, split):
    pytest.importorskip("pyarrow")
    example = example if split else example.replace(split=None)
    example.save(tmp_path / f"people{suffix}")
    loaded = Embeddings.load(tmp_path / f"people{suffix}")
    for name, column in vars(example).items():
        np.testing.assert_array_equal(getattr(loaded, name), column)
        assert getattr(getattr(loaded, name), "dtype", None) == getattr(column, "dtype", None)
    assert [path.name for path in tmp_path.iterdir()] == [f"people{suffix}"]


def test_tensors_become_arrays_of_the_documented_types():
    two = torch.arange(2, dtype=torch.int32)
    example = Embeddings(torch.ones(2, 3, dtype=torch.bfloat16), two, two, two, ["a", "b"])
    assert (example.embedding.dtype, example.identity.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(np.linalg.norm(example.normalized().embedding, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("embedding", np.ones(12)), ("camera", np.ones(12)), ("index", np.arange(5)), ("source", ["a"]), ("split", ["b"])],
)
def test_columns_that_do_not_fit_are_refused(example, name, value):
    with pytest.raises(InputError, match=name):
        example.replace(**{name: value})


@pytest.mark.parametrize("name", ["people.npz", "people.parquet", "people.faiss", "missing.npz"])
def test_a_file_that_holds_no_embeddings_is_refused(tmp_path, name):
    pytest.importorskip("pyarrow")
    if name == "people.npz":
        np.savez(tmp_path / name, embedding=np.ones((2, 3)))
    elif name != "missing.npz":
        (tmp_path / name).write_bytes(b"PAR1 and nothing else")
    with pytest.raises(MissingFileError if name == "missing.npz" else InputError, match=name):
        Embeddings.load(tmp_path / name)


@pytest.mark.parametrize(("suffix", "package"), [(".parquet", "pyarrow"), (".faiss", "faiss")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch, suffix, package):
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf'{package}; pip install "ogreid\[export\]"'):
        embeddings.check_target(tmp_path / f"people{suffix}")
