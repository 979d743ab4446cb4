"""The everyday flow through the asynchronous client, with many requests at once."""

import asyncio

from pymilvus import AsyncMilvusClient, DataType


async def test_the_everyday_flow(server, new_name):
    name = new_name("async")
    client = AsyncMilvusClient(server.uri)
    try:
        schema = client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
        index = client.prepare_index_params()
        index.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
        await client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
        assert name in await client.list_collections()
        answers = await asyncio.gather(
            *(
                client.insert(
                    name, [{"id": i, "v": [i, 0, 0, 0], "tag": f"t{i % 3}"} for i in range(p * 50, p * 50 + 50)]
                )
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
        await client.delete(name, ids=[6])
        rows = await client.query(name, filter="id < 10", output_fields=["id"])
        assert {r["id"] for r in rows} == set(range(10)) - {6}
        assert (await client.query(name, filter="", output_fields=["count(*)"]))[0]["count(*)"] == 999
        await client.release_collection(name)
        await client.load_collection(name)
        assert len(await client.query(name, filter="id < 10", output_fields=["id"])) == 9
    finally:
        await client.drop_collection(name)
        await client.close()
