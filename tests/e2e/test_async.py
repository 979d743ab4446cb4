"""The asynchronous client: the everyday flow with many requests at once, and every other call that works."""

import asyncio

import numpy as np
import pytest_asyncio
from conftest import simple_rows
from expect import COLLECTION_NOT_FOUND, COLLECTION_NOT_LOADED, PARTITION_NOT_FOUND, refused
from pymilvus import AnnSearchRequest, AsyncMilvusClient, DataType, RRFRanker, WeightedRanker
from pymilvus.client.types import SegmentState
from server import wait_until_async


@pytest_asyncio.fixture
async def aclient(server):
    client = AsyncMilvusClient(server.uri)
    yield client
    await client.close()


async def count(client, name, **options):
    return (await client.query(name, filter="", output_fields=["count(*)"], **options))[0]["count(*)"]


async def test_the_everyday_flow(aclient, name):
    client = aclient
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    index = client.prepare_index_params()
    index.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    await client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    assert name in await client.list_collections()
    answers = await asyncio.gather(
        *(
            client.insert(name, [{"id": i, "v": [i, 0, 0, 0], "tag": f"t{i % 3}"} for i in range(p * 50, p * 50 + 50)])
            for p in range(20)
        )
    )
    assert sum(a["insert_count"] for a in answers) == 1000
    await client.flush(name)
    found = await asyncio.gather(
        *(client.search(name, [[i, 0, 0, 0]], limit=1, output_fields=["tag"]) for i in range(0, 1000, 10))
    )
    assert [f[0][0]["id"] for f in found] == list(range(0, 1000, 10))
    assert found[1][0][0]["entity"]["tag"] == "t1"
    await client.upsert(name, {"id": 5, "v": [0, 9, 0, 0], "tag": "new"})
    assert (await client.get(name, 5, output_fields=["tag"]))[0]["tag"] == "new"
    await client.upsert(name, {"id": 5, "tag": "newer"}, partial_update=True)
    assert (await client.get(name, 5, output_fields=["tag"]))[0]["tag"] == "newer"
    await client.delete(name, ids=[6])
    rows = await client.query(name, filter="id < 10", output_fields=["id"])
    assert {r["id"] for r in rows} == set(range(10)) - {6}
    assert await count(client, name) == 999
    await client.release_collection(name)
    await client.load_collection(name)
    assert len(await client.query(name, filter="id < 10", output_fields=["id"])) == 9


async def test_collections_are_described_renamed_altered_and_emptied(aclient, name, new_name):
    client = aclient
    assert await client.get_server_version()
    assert client.get_server_type() == "milvus"
    assert not await client.has_collection(name)
    with refused(COLLECTION_NOT_FOUND, name):
        await client.describe_collection(name)
    await client.create_collection(name, dimension=2, metric_type="L2", consistency_level="Strong")
    assert await client.has_collection(name)
    assert [f["name"] for f in (await client.describe_collection(name))["fields"]] == ["id", "vector"]
    await client.alter_collection_properties(name, {"note": "kept"})
    assert (await client.describe_collection(name))["properties"]["note"] == "kept"
    await client.drop_collection_properties(name, ["note"])
    assert "note" not in (await client.describe_collection(name))["properties"]
    await client.insert(name, [{"id": i, "vector": [i, 0]} for i in range(10)])
    await client.add_collection_field(name, "later", DataType.VARCHAR, nullable=True, max_length=4)
    await client.alter_collection_field(name, "later", {"max_length": 8})
    await client.insert(name, {"id": 10, "vector": [10, 0], "later": "12345678"})
    rows = await client.query(name, filter="id > 8", output_fields=["later"])
    assert {r["id"]: r["later"] for r in rows} == {9: None, 10: "12345678"}
    await client.drop_collection_field(name, "later")
    assert [f["name"] for f in (await client.describe_collection(name))["fields"]] == ["id", "vector"]
    renamed = new_name("renamed")
    await client.rename_collection(name, renamed)
    assert await count(client, renamed) == 11
    await client.rename_collection(renamed, name)
    await client.truncate_collection(name)
    assert await count(client, name) == 0
    await client.drop_collection(name)
    assert not await client.has_collection(name)


async def test_partitions_and_their_loads(aclient, simple):
    client = aclient
    await client.create_partition(simple, "a")
    await client.create_partition(simple, "b")
    assert set(await client.list_partitions(simple)) == {"_default", "a", "b"}
    await client.insert(simple, simple_rows(range(5)), partition_name="a")
    await client.insert(simple, simple_rows(range(5, 8)), partition_name="b")
    await client.flush(simple)
    assert (await client.get_partition_stats(simple, "a"))["row_count"] == 5
    assert (await client.get_collection_stats(simple))["row_count"] == 8
    assert (await client.list_compaction_tasks(simple)).state.name == "Completed"
    assert len(await client.describe_replica(simple)) == 1
    await client.release_collection(simple)
    assert (await client.get_load_state(simple))["state"].name == "NotLoad"
    with refused(COLLECTION_NOT_LOADED, "not loaded"):
        await count(client, simple)
    await client.load_partitions(simple, ["a", "b"])
    await client.release_partitions(simple, ["b"])
    assert (await client.get_load_state(simple, ["a"]))["state"].name == "Loaded"
    assert await count(client, simple, partition_names=["a"]) == 5
    await client.drop_partition(simple, "b")
    assert not await client.has_partition(simple, "b")
    with refused(PARTITION_NOT_FOUND, "b"):
        await client.insert(simple, simple_rows([9]), partition_name="b")
    await client.refresh_load(simple)
    assert await count(client, simple) == 5


async def test_aliases_and_databases(aclient, simple, new_name, server):
    client = aclient
    alias, other = new_name("alias"), new_name("other")
    await client.create_collection(other, dimension=2)
    await client.create_alias(simple, alias)
    assert (await client.describe_alias(alias))["collection_name"] == simple
    assert alias in await client.list_aliases(simple)
    await client.alter_alias(other, alias)
    assert (await client.describe_alias(alias))["collection_name"] == other
    await client.drop_alias(alias)
    await client.drop_collection(other)
    database = new_name("db")[-60:].lstrip("_0123456789")
    await client.create_database(database, properties={"database.replica.number": "1"})
    assert database in await client.list_databases()
    await client.alter_database_properties(database, {"note": "mine"})
    assert (await client.describe_database(database))["note"] == "mine"
    await client.drop_database_properties(database, ["note"])
    assert "note" not in await client.describe_database(database)
    roaming = AsyncMilvusClient(server.uri)
    try:
        await roaming.use_database(database)
        assert await roaming.list_collections() == []
        await roaming.using_database("default")
        assert simple in await roaming.list_collections()
    finally:
        await roaming.close()
    await client.drop_database(database)
    assert database not in await client.list_databases()


async def test_indexes_segments_and_compaction(aclient, simple):
    client = aclient
    index = client.prepare_index_params()
    index.add_index("n", index_type="STL_SORT")
    await client.create_index(simple, index)
    assert set(await client.list_indexes(simple)) == {"vector", "n"}
    assert (await client.describe_index(simple, "n"))["index_type"] == "STL_SORT"
    await client.alter_index_properties(simple, "n", {"mmap.enabled": True})
    assert str((await client.describe_index(simple, "n"))["mmap.enabled"]).lower() == "true"
    await client.drop_index_properties(simple, "n", ["mmap.enabled"])
    assert "mmap.enabled" not in await client.describe_index(simple, "n")
    await client.drop_index(simple, "n")
    assert await client.list_indexes(simple) == ["vector"]
    for part in range(3):
        await client.insert(simple, simple_rows(range(part * 10, part * 10 + 10)))
        await client.flush(simple)
    stored = await client.list_persistent_segments(simple)
    assert sum(s.num_rows for s in stored) == 30
    await client.insert(simple, simple_rows([30]))
    growing = await client.list_segments(simple, states=[SegmentState.Growing])
    assert [s.num_rows for s in growing] == [1]
    job = await client.compact(simple)

    async def done():
        return await client.get_compaction_state(job) == "Completed"

    await wait_until_async("the compaction is done", done)
    await client.optimize(simple, timeout=60)
    assert await count(client, simple) == 31


async def test_hybrid_search_and_sessions(aclient, name):
    client = aclient
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("a", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("a", index_type="FLAT", metric_type="COSINE")
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    await client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    a = np.random.default_rng(3).standard_normal((50, 4)).astype(np.float32)
    await client.insert(name, [{"id": i, "a": a[i], "words": {i: 1.0, 100: 0.1}} for i in range(50)])
    requests = [
        AnnSearchRequest([a[7]], "a", {"metric_type": "COSINE"}, 10),
        AnnSearchRequest([{7: 1.0, 100: 0.5}], "words", {"metric_type": "IP"}, 10),
    ]
    for ranker in (RRFRanker(), WeightedRanker(0.5, 0.5)):
        hits = (await client.hybrid_search(name, requests, ranker, limit=5))[0]
        assert hits[0]["id"] == 7
        assert len(hits) == 5
    session = client.session("a cluster")
    assert (await session.search(name, [a[9]], anns_field="a", limit=1))[0][0]["id"] == 9
    assert (await session.hybrid_search(name, requests, RRFRanker(), limit=1))[0][0]["id"] == 7
    assert [r["id"] for r in await session.get(name, [3], output_fields=["id"])] == [3]
    await session.close()
