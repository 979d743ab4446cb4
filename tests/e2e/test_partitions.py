"""Partitions by name, and partitions by key."""

import pytest
from conftest import simple_rows
from expect import PARAMETER, PARTITION_NOT_FOUND, refused
from pymilvus import DataType, MilvusException


def count(client, name, **options):
    return client.query(name, filter="", output_fields=["count(*)"], **options)[0]["count(*)"]


def test_rows_stay_in_the_partition_they_were_put_in(client, simple):
    client.create_partition(simple, "red")
    client.create_partition(simple, "blue")
    assert set(client.list_partitions(simple)) == {"_default", "red", "blue"}
    client.insert(simple, simple_rows(range(10)), partition_name="red")
    client.insert(simple, simple_rows(range(10, 25)), partition_name="blue")
    client.insert(simple, simple_rows(range(25, 27)))
    assert count(client, simple) == 27
    assert count(client, simple, partition_names=["red"]) == 10
    assert count(client, simple, partition_names=["blue"]) == 15
    assert count(client, simple, partition_names=["_default", "red"]) == 12
    hits = client.search(simple, [[12, 1, 0.5, -12]], limit=5, partition_names=["red"])[0]
    assert {h["id"] for h in hits} == {5, 6, 7, 8, 9}
    client.delete(simple, filter="id < 100", partition_name="red")
    assert count(client, simple) == 17
    assert count(client, simple, partition_names=["red"]) == 0


def test_an_upsert_into_another_partition_moves_the_row(client, simple):
    # I6: one live row per key per collection. Milvus would keep one row per partition.
    client.create_partition(simple, "red")
    client.create_partition(simple, "blue")
    client.insert(simple, simple_rows([1]), partition_name="red")
    client.upsert(simple, simple_rows([1]), partition_name="blue")
    assert count(client, simple, partition_names=["blue"]) == 1
    assert count(client, simple, partition_names=["red"]) == 0
    assert count(client, simple) == 1


def test_creating_and_dropping_partitions_is_idempotent(client, simple):
    for _ in range(2):
        client.create_partition(simple, "p")
    assert client.has_partition(simple, "p")
    client.release_partitions(simple, ["p"])
    for _ in range(2):
        client.drop_partition(simple, "p")
    assert not client.has_partition(simple, "p")


def test_dropping_a_partition_drops_its_rows_only(client, simple):
    client.create_partition(simple, "p")
    client.insert(simple, simple_rows(range(5)), partition_name="p")
    client.insert(simple, simple_rows(range(5, 8)))
    client.flush(simple)
    with refused(PARAMETER, "loaded|release"):
        client.drop_partition(simple, "p")
    client.release_partitions(simple, ["p"])
    client.drop_partition(simple, "p")
    assert sorted(r["id"] for r in client.query(simple, filter="id >= 0", output_fields=["id"])) == [5, 6, 7]
    client.create_partition(simple, "p")
    client.load_partitions(simple, ["p"])
    assert count(client, simple, partition_names=["p"]) == 0, "a partition made again starts empty"


def test_a_missing_partition_is_named(client, simple):
    for call in (
        lambda: client.insert(simple, simple_rows([1]), partition_name="nope"),
        lambda: client.query(simple, filter="id >= 0", partition_names=["nope"]),
        lambda: client.search(simple, [[1, 1, 1, 1]], partition_names=["nope"]),
        lambda: client.get_partition_stats(simple, "nope"),
        lambda: client.load_partitions(simple, ["nope"]),
    ):
        with refused(PARTITION_NOT_FOUND, "nope"):
            call()


def test_the_default_partition_cannot_be_dropped(client, simple):
    with pytest.raises(MilvusException, match="(?i)default partition"):
        client.drop_partition(simple, "_default")


def test_partitions_are_released_and_loaded_by_name(client, simple):
    client.create_partition(simple, "a")
    client.create_partition(simple, "b")
    client.insert(simple, simple_rows(range(4)), partition_name="a")
    client.insert(simple, simple_rows(range(4, 6)), partition_name="b")
    client.release_collection(simple)
    client.load_partitions(simple, ["a"])
    assert client.get_load_state(simple, "a")["state"].name == "Loaded"
    assert client.get_load_state(simple, "b")["state"].name == "NotLoad"
    assert count(client, simple, partition_names=["a"]) == 4
    with pytest.raises(MilvusException, match="(?i)not loaded"):
        client.query(simple, filter="id >= 0", partition_names=["b"])
    client.load_collection(simple)
    assert count(client, simple) == 6


def test_partition_statistics_count_flushed_rows(client, simple):
    client.create_partition(simple, "a")
    client.insert(simple, simple_rows(range(40)), partition_name="a")
    client.flush(simple)
    assert client.get_partition_stats(simple, "a")["row_count"] == 40
    assert client.get_partition_stats(simple, "_default")["row_count"] == 0


@pytest.fixture
def by_tenant(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("tenant", DataType.VARCHAR, max_length=32, is_partition_key=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, num_partitions=8, consistency_level="Strong")
    rows = [{"id": i, "tenant": f"t{i % 20}", "v": [float(i), 0.0]} for i in range(400)]
    client.insert(name, rows)
    return name, rows


def test_a_partition_key_spreads_rows_and_answers_per_tenant(client, by_tenant):
    name, _ = by_tenant
    assert client.describe_collection(name)["num_partitions"] == 8
    assert len(client.list_partitions(name)) == 8
    hits = client.search(name, [[100, 0]], limit=10, filter='tenant == "t3"', output_fields=["tenant"])[0]
    assert [h["id"] for h in hits][:2] == [103, 83]
    assert {h["entity"]["tenant"] for h in hits} == {"t3"}
    rows = client.query(name, filter='tenant in ["t1", "t2"]', output_fields=["id"])
    assert {r["id"] for r in rows} == {i for i in range(400) if i % 20 in (1, 2)}
    assert count(client, name) == 400


def test_a_partition_key_collection_takes_no_partition_names(client, by_tenant):
    name, rows = by_tenant
    with refused(PARAMETER, "partition key"):
        client.search(name, [[1, 0]], partition_names=["_default_0"])
    with pytest.raises(MilvusException, match="(?i)partition key"):
        client.insert(name, rows[:1], partition_name="_default_0")
    with pytest.raises(MilvusException, match="(?i)partition key"):
        client.create_partition(name, "mine")


def test_an_upsert_that_changes_the_tenant_leaves_one_row(client, by_tenant):
    # I6 again: the partition follows the key field, the primary key stays unique in the collection.
    name, _ = by_tenant
    client.upsert(name, {"id": 5, "tenant": "t19", "v": [5.0, 0.0]})
    assert [r["tenant"] for r in client.query(name, filter="id == 5", output_fields=["tenant"])] == ["t19"]
    assert count(client, name) == 400
