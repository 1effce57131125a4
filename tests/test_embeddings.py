"""Embeddings as files: other programs read what they are of and find what the judge finds."""

import numpy as np
import pytest
from ogreid.retrieval import embeddings
from ogreid.retrieval.embeddings import Embedded
from ogreid.errors import InputError
from ogreid.retrieval.galleries import rank_gallery


@pytest.fixture
def held(stores):
    """Every other row of a tiny store, in an order that is not the store's, with made-up embeddings."""
    store = stores(identities=6)
    rows = np.random.default_rng(0).permutation(len(store))[::2]
    return store, Embedded(rows, np.random.default_rng(1).normal(size=(len(rows), 24)).astype(np.float32), "network")


def test_parquet_says_of_every_embedding_whose_it_is(held, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    store, embedded = held
    table = parquet.read_table(embeddings.write(tmp_path / "people.parquet", store, embedded))
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), embedded.embedding)
    for name in ("identity", "camera", "split", "source"):
        assert table[name].to_pylist() == store.rows[name][embedded.rows].tolist()
    assert table["row"].to_pylist() == embedded.rows.tolist()
    assert table.schema.metadata == {b"ogreid.store": store.name.encode(), b"ogreid.made_of": b"network"}


def test_npz_is_read_without_pickle_and_says_what_it_was_made_of(held, tmp_path):
    store, embedded = held
    path = embeddings.write(tmp_path / "people.npz", store, embedded)
    embedding, made_of = embeddings.read_kept(path)
    np.testing.assert_array_equal(embedding, embedded.embedding)
    assert made_of == "network"
    with np.load(path, allow_pickle=False) as read:
        np.testing.assert_array_equal(read["source"], store.rows["source"][embedded.rows])
        np.testing.assert_array_equal(read["split"], store.rows["split"][embedded.rows])


def test_the_index_ranks_as_the_judge_does_and_answers_with_store_rows(held, tmp_path):
    faiss = pytest.importorskip("faiss")
    store, embedded = held
    index = faiss.read_index(str(embeddings.write(tmp_path / "people.faiss", store, embedded)))
    query = np.random.default_rng(2).normal(size=(3, 24)).astype(np.float32)
    scores, rows = index.search(query / np.linalg.norm(query, axis=1, keepdims=True), 5)
    nobody, elsewhere = np.full(3, 99), np.zeros(3, dtype=np.int64)
    told = store.rows[embedded.rows]
    lists = rank_gallery(
        [0, 1, 2], query, nobody, elsewhere, embedded.embedding, told["identity"], told["camera"], top=5
    )
    for one, found, score in zip(lists, rows, scores, strict=True):
        np.testing.assert_array_equal(found, embedded.rows[one.rows])
        np.testing.assert_allclose(score, one.scores, atol=1e-6)


def test_an_index_of_an_embedding_without_direction_is_refused_and_leaves_no_file(held, tmp_path):
    pytest.importorskip("faiss")
    store, embedded = held
    embedded.embedding[2] = 0
    with pytest.raises(InputError, match="embedding 2 is all zeros"):
        embeddings.write(tmp_path / "people.faiss", store, embedded)
    assert list(tmp_path.glob("people*")) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("people.csv", r"people\.csv: embeddings are written as \.npz, \.parquet, \.faiss"),
        ("nowhere/people.npz", "its folder does not exist"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        embeddings.check_target(tmp_path / name)


@pytest.mark.parametrize(("suffix", "package"), [(".parquet", "pyarrow"), (".faiss", "faiss")])
def test_a_missing_package_is_named_with_the_command_that_brings_it(tmp_path, monkeypatch, suffix, package):
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf'needs {package}; pip install "ogreid\[export\]"'):
        embeddings.check_target(tmp_path / f"people{suffix}")
