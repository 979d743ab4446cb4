"""Indexes and what describe shows of them; loading, releasing, and progress."""

import numpy as np
import pytest
from conftest import simple_rows
from expect import COLLECTION_NOT_LOADED, INDEX_NOT_FOUND, PARAMETER, refused
from pymilvus import DataType, MilvusException
from server import wait_until


@pytest.fixture
def bare(client, name):
    """A collection of every indexable kind of field, with rows, without an index."""
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=8)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=32)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("n", DataType.INT32)
    schema.add_field("s", DataType.VARCHAR, max_length=32)
    schema.add_field("flag", DataType.BOOL)
    schema.add_field("doc", DataType.JSON)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=8)
    client.create_collection(name, schema=schema, consistency_level="Strong")
    rng = np.random.default_rng(3)
    client.insert(
        name,
        [
            {
                "id": i,
                "v": rng.standard_normal(8).tolist(),
                "bits": rng.bytes(4),
                "words": {int(k): 1.0 for k in rng.integers(0, 50, 4)},
                "n": i % 7,
                "s": f"s{i % 11}",
                "flag": i % 2 == 0,
                "doc": {"a": i % 5},
                "tags": [i % 3, i % 4],
            }
            for i in range(300)
        ],
    )
    return name


def create(client, name, field, index_type, *, index_name="", **params):
    index = client.prepare_index_params()
    index.add_index(field, index_type=index_type, index_name=index_name, **params)
    client.create_index(name, index)


VECTOR_INDEXES = [
    ("v", "FLAT", "L2", {}),
    ("v", "HNSW", "COSINE", {"M": 16, "efConstruction": 100}),
    ("v", "AUTOINDEX", "IP", {}),
    ("v", "IVF_FLAT", "L2", {"nlist": 16}),
    ("bits", "BIN_FLAT", "HAMMING", {}),
    ("bits", "BIN_FLAT", "JACCARD", {}),
    ("bits", "AUTOINDEX", "HAMMING", {}),
    ("words", "SPARSE_INVERTED_INDEX", "IP", {"drop_ratio_build": 0.0}),
    ("words", "AUTOINDEX", "IP", {}),
]


@pytest.mark.parametrize(
    ("field", "kind", "metric", "params"), VECTOR_INDEXES, ids=[f"{f}-{k}-{m}" for f, k, m, _ in VECTOR_INDEXES]
)
def test_describe_shows_the_vector_index_that_was_asked_for(client, bare, field, kind, metric, params):
    create(client, bare, field, kind, metric_type=metric, params=params)
    seen = client.describe_index(bare, field)
    assert seen["index_type"] == kind
    assert seen["metric_type"] == metric
    assert seen["field_name"] == field
    assert seen["index_name"] == field
    assert seen["state"] == "Finished"
    for key, value in params.items():
        assert str(seen[key]) == str(value)


SCALAR_INDEXES = [
    ("n", "INVERTED"),
    ("n", "STL_SORT"),
    ("n", "BITMAP"),
    ("n", "AUTOINDEX"),
    ("s", "INVERTED"),
    ("s", "BITMAP"),
    ("flag", "BITMAP"),
    ("flag", "INVERTED"),
    ("tags", "INVERTED"),
    ("tags", "BITMAP"),
]


@pytest.mark.parametrize(("field", "kind"), SCALAR_INDEXES, ids=[f"{f}-{k}" for f, k in SCALAR_INDEXES])
def test_a_scalar_index_changes_no_answer(client, bare, field, kind):
    for vector, metric in (("v", "L2"), ("bits", "HAMMING"), ("words", "IP")):
        create(client, bare, vector, "AUTOINDEX", metric_type=metric)
    client.load_collection(bare)
    asked = {
        "n": "n in [1, 3] or n > 5",
        "s": 's == "s3" or s like "s1%"',
        "flag": "flag == true",
        "tags": "array_contains(tags, 2)",
    }[field]
    before = {r["id"] for r in client.query(bare, filter=asked, output_fields=["id"])}
    assert 0 < len(before) < 300
    create(client, bare, field, kind)
    assert client.describe_index(bare, field)["index_type"] == kind
    client.flush(bare)
    assert {r["id"] for r in client.query(bare, filter=asked, output_fields=["id"])} == before
    client.refresh_load(bare)
    assert {r["id"] for r in client.query(bare, filter=asked, output_fields=["id"])} == before


def test_an_index_of_a_json_path_changes_no_answer(client, name):
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("doc", DataType.JSON)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    rows = [{"id": i, "v": [i, 0], "doc": {"a": i % 7, "s": f"s{i % 5}"}, "dyn": f"d{i % 3}"} for i in range(300)]
    rows += [{"id": 300, "v": [0, 0], "doc": {"a": "text"}}, {"id": 301, "v": [0, 0], "doc": {}}]
    client.insert(name, rows)
    client.flush(name)
    asked = ['doc["a"] == 3', 'doc["a"] > 4 and dyn == "d1"', 'doc["s"] in ["s1", "s2"]', 'not (doc["a"] < 5)']

    def answers():
        return [{r["id"] for r in client.query(name, filter=f, output_fields=["id"])} for f in asked]

    before = answers()
    assert before[0] == {i for i in range(300) if i % 7 == 3}
    index = client.prepare_index_params()
    paths = {"by_a": ("doc", 'doc["a"]', "double"), "by_s": ("doc", 'doc["s"]', "varchar")}
    for index_name, (field, path, cast) in {**paths, "by_dyn": ("dyn", "dyn", "varchar")}.items():
        index.add_index(
            field, index_type="INVERTED", index_name=index_name, params={"json_path": path, "json_cast_type": cast}
        )
    client.create_index(name, index)
    assert client.describe_index(name, "by_a")["json_path"] == 'doc["a"]'
    assert answers() == before
    client.refresh_load(name)
    assert answers() == before


def test_progress_counts_rows_after_a_flush(client, bare):
    create(client, bare, "v", "HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.flush(bare)
    seen = wait_until(
        "every flushed row is indexed",
        lambda: (
            (d := client.describe_index(bare, "v")) and d["pending_index_rows"] == 0 and d["total_rows"] == 300 and d
        ),
    )
    assert seen["indexed_rows"] == 300


def test_indexes_are_listed_named_and_dropped(client, bare):
    create(client, bare, "v", "FLAT", metric_type="L2", index_name="by_v")
    create(client, bare, "n", "INVERTED", index_name="by_n")
    create(client, bare, "s", "INVERTED")
    assert set(client.list_indexes(bare)) == {"by_v", "by_n", "s"}
    assert client.list_indexes(bare, field_name="n") == ["by_n"]
    assert client.describe_index(bare, "by_v")["index_type"] == "FLAT"
    client.drop_index(bare, "by_n")
    client.drop_index(bare, "by_n")  # dropping what is not there is fine
    assert set(client.list_indexes(bare)) == {"by_v", "s"}


def test_an_index_on_an_empty_collection_is_finished_at_once(client, simple):
    seen = client.describe_index(simple, "vector")
    assert seen["state"] == "Finished"
    assert seen["total_rows"] == 0


def test_the_same_index_again_is_fine_and_another_is_refused(client, bare):
    for _ in range(2):
        create(client, bare, "v", "HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    with refused((PARAMETER, 65535, 702), "at most one distinct index is allowed per field"):
        create(client, bare, "v", "FLAT", metric_type="L2")
    with refused((PARAMETER, 65535, 702), "at most one distinct index|already|index name"):
        create(client, bare, "n", "INVERTED", index_name="v")


BAD_INDEXES = [
    ("v", "HNSW", {"metric_type": "HAMMING"}, "metric"),
    ("v", "HNSW", {"metric_type": "NOT_A_METRIC"}, "metric"),
    ("v", "NO_SUCH_INDEX", {"metric_type": "L2"}, "index.type|NO_SUCH_INDEX"),
    ("v", "HNSW", {"metric_type": "L2", "params": {"M": 1, "efConstruction": 10}}, r"\bM\b"),
    ("v", "HNSW", {"metric_type": "L2", "params": {"M": 100000, "efConstruction": 10}}, r"\bM\b"),
    ("v", "HNSW", {"metric_type": "L2", "params": {"M": "many", "efConstruction": 10}}, r"\bM\b"),
    ("v", "HNSW", {"metric_type": "L2", "params": {"M": 8, "efConstruction": -1}}, "efConstruction"),
    ("bits", "HNSW", {"metric_type": "HAMMING"}, "HNSW|index"),
    ("bits", "BIN_FLAT", {"metric_type": "L2"}, "metric"),
    ("words", "SPARSE_INVERTED_INDEX", {"metric_type": "L2"}, "metric|IP"),
    ("words", "FLAT", {"metric_type": "IP"}, "FLAT|index"),
    ("doc", "STL_SORT", {}, "STL_SORT|JSON"),
    ("flag", "STL_SORT", {}, "STL_SORT|bool"),
    ("no_such_field", "FLAT", {"metric_type": "L2"}, "no_such_field"),
]


@pytest.mark.parametrize(
    ("field", "kind", "params", "pattern"),
    BAD_INDEXES,
    ids=[f"{f}-{k}-{i}" for i, (f, k, _, _) in enumerate(BAD_INDEXES)],
)
def test_an_index_that_cannot_be_is_refused_by_name(client, bare, field, kind, params, pattern):
    with pytest.raises(MilvusException, match=f"(?i){pattern}"):
        create(client, bare, field, kind, **params)
    assert client.list_indexes(bare) == []


def test_describing_no_index(client, bare):
    assert client.describe_index(bare, "v") is None
    with refused(INDEX_NOT_FOUND, "index"):
        client.load_collection(bare)


def test_loading_needs_every_vector_indexed(client, bare):
    create(client, bare, "v", "FLAT", metric_type="L2")
    with refused(PARAMETER, r"there is no vector index on field.*(bits|words)"):
        client.load_collection(bare)


def test_index_properties_are_altered_and_dropped(client, bare):
    create(client, bare, "v", "HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.alter_index_properties(bare, "v", {"mmap.enabled": True})
    assert str(client.describe_index(bare, "v")["mmap.enabled"]).lower() == "true"
    client.drop_index_properties(bare, "v", ["mmap.enabled"])
    assert "mmap.enabled" not in client.describe_index(bare, "v")


def test_the_vector_index_of_a_loaded_collection_stays(client, simple):
    with refused(PARAMETER, "load|release"):
        client.drop_index(simple, "vector")
    client.release_collection(simple)
    client.drop_index(simple, "vector")
    assert client.list_indexes(simple) == []


def test_load_release_and_load_again(client, simple):
    client.insert(simple, simple_rows(range(50)))
    assert client.get_load_state(simple)["state"].name == "Loaded"
    client.release_collection(simple)
    client.release_collection(simple)  # releasing what is not loaded is fine
    assert client.get_load_state(simple)["state"].name == "NotLoad"
    for call in (
        lambda: client.search(simple, [[1, 1, 1, 1]]),
        lambda: client.query(simple, filter="id > 0"),
        lambda: client.get(simple, 1),
    ):
        with refused(COLLECTION_NOT_LOADED, "collection not loaded"):
            call()
    client.insert(simple, simple_rows(range(50, 60)))  # writes need no load
    client.load_collection(simple)
    client.load_collection(simple)
    assert client.query(simple, filter="", output_fields=["count(*)"])[0]["count(*)"] == 60


def test_a_loaded_collection_has_one_replica(client, simple):
    client.create_partition(simple, "other")
    described = client.describe_collection(simple)
    (replica,) = client.describe_replica(simple)
    assert replica.group_nodes == (1,) and replica.resource_group == "__default_resource_group"
    assert replica.id == client.describe_replica(simple)[0].id
    assert len(replica.shards) == described["num_shards"]
    for shard in replica.shards:
        assert (shard.shard_nodes, shard.shard_leader) == ({1}, 1) and shard.channel_name
    client.release_collection(simple)
    with refused(COLLECTION_NOT_LOADED, "collection not loaded"):
        client.describe_replica(simple)


def test_the_load_state_of_a_missing_collection(client):
    assert client.get_load_state("no_such_thing")["state"].name == "NotExist"


def test_search_results_after_an_index_change(client, simple):
    client.insert(simple, simple_rows(range(500)))
    client.flush(simple)
    client.release_collection(simple)
    client.drop_index(simple, "vector")
    create(client, simple, "vector", "HNSW", metric_type="L2", params={"M": 16, "efConstruction": 200})
    client.load_collection(simple)
    hits = client.search(simple, [[250, 1, 0.5, -250]], limit=3, search_params={"params": {"ef": 64}})[0]
    assert hits[0]["id"] == 250
    assert hits[0]["distance"] == pytest.approx(0)
    assert {h["id"] for h in hits} == {249, 250, 251}
    with refused(PARAMETER, "metric"):
        client.search(simple, [[1, 1, 1, 1]], search_params={"metric_type": "IP"})
