"""Flush, statistics, segments, compaction, and rows that expire."""

import pytest
from conftest import simple_rows
from pymilvus import DataType
from pymilvus.client.types import SegmentState
from server import wait_until


def count(client, name):
    return client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"]


def test_statistics_count_rows_once_they_are_flushed(client, simple):
    client.insert(simple, simple_rows(range(120)))
    client.flush(simple)
    assert client.get_collection_stats(simple)["row_count"] == 120


def test_flushing_again_and_flushing_nothing(client, simple):
    client.flush(simple)
    client.insert(simple, simple_rows(range(10)))
    client.flush(simple)
    client.flush(simple)
    assert count(client, simple) == 10


def test_flush_all_flushes_every_collection(client, simple, new_name):
    other = new_name("other")
    client.create_collection(other, dimension=2, consistency_level="Strong")
    try:
        client.insert(simple, simple_rows(range(5)))
        client.insert(other, [{"id": 1, "vector": [1, 1]}])
        client.flush_all()
        assert client.get_collection_stats(simple)["row_count"] == 5
        assert client.get_collection_stats(other)["row_count"] == 1
        assert client.get_flush_all_state(flush_all_ts=1) is True
        assert client.get_flush_all_state(flush_all_ts=2**63 - 1) is False, "nothing is flushed up to the far future"
    finally:
        client.drop_collection(other)


def test_segments_hold_the_flushed_rows(client, simple):
    for part in range(3):
        client.insert(simple, simple_rows(range(part * 100, part * 100 + 100)))
        client.flush(simple)
    segments = client.list_persistent_segments(simple)
    assert sum(s.num_rows for s in segments) == 300
    assert all(s.state_name == "Flushed" for s in segments)
    assert len({s.segment_id for s in segments}) == len(segments)
    loaded = wait_until(
        "all rows are loaded",
        lambda: (seen := client.list_loaded_segments(simple)) and sum(s.num_rows for s in seen) == 300 and seen,
    )
    assert {s.segment_id for s in loaded} <= {s.segment_id for s in segments} or len(loaded) >= 1
    client.insert(simple, simple_rows(range(300, 310)))
    growing = client.list_segments(simple, states=[SegmentState.Growing])
    assert [s.num_rows for s in growing] == [10]
    flushed = client.list_segments(simple, states=[SegmentState.Flushed])
    assert sum(s.num_rows for s in flushed) == 300
    everything = client.list_segments(simple)
    assert {"Growing", "Flushed"} <= {s.state_name for s in everything}


def test_compaction_merges_segments_and_changes_no_answer(client, simple):
    for part in range(6):
        client.insert(simple, simple_rows(range(part * 50, part * 50 + 50)))
        client.flush(simple)
    client.delete(simple, filter="id % 3 == 0")
    client.flush(simple)
    before = {r["id"]: r["n"] for r in client.query(simple, filter="id >= 0", output_fields=["n"])}
    assert set(before) == {i for i in range(300) if i % 3}
    job = client.compact(simple)
    wait_until("the compaction is done", lambda: client.get_compaction_state(job) == "Completed", timeout=60)
    assert {r["id"]: r["n"] for r in client.query(simple, filter="id >= 0", output_fields=["n"])} == before
    hits = client.search(simple, [[100, 1, 0.5, -100]], limit=300)[0]
    assert {h["id"] for h in hits} == set(before)
    segments = wait_until(
        "six segments became fewer",
        lambda: (seen := client.list_persistent_segments(simple)) and len(seen) < 6 and seen,
    )
    assert sum(s.num_rows for s in segments) >= len(before)
    tasks = client.list_compaction_tasks(simple)
    assert tasks.state.name == "Completed"
    assert sum(len(t.sources) for t in tasks.plans) >= 6
    if job > 0:  # -1: the server had merged them by itself by then
        plans = client.get_compaction_plans(job)
        assert plans.state.name == "Completed"
        assert sum(len(p.sources) for p in plans.plans) >= 2
        assert {p.plan_id for p in plans.plans} <= {t.plan_id for t in tasks.plans}
    described = client.describe_collection(simple)
    partition = next(s.partition_id for s in segments)
    for task in tasks.plans:
        assert task.state.name == "Completed" and task.target and not task.failure_reason
        assert (task.collection_id, task.partition_id) == (described["collection_id"], partition)
        assert task.trigger_id < task.plan_id


def test_a_compaction_that_nobody_knows_is_done(client):
    # So that a client that waits for one does not wait for ever after the server was restarted.
    assert client.get_compaction_state(123_456_789) == "Completed"


@pytest.mark.slow
def test_optimize_leaves_a_collection_that_answers_the_same(client, name):
    # The path that benchmarks take: wait for indexes, compact, wait, refresh.
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    for part in range(4):
        client.insert(name, [{"id": i, "vector": [i, 0, 0, 0]} for i in range(part * 250, part * 250 + 250)])
        client.flush(name)
    client.optimize(name, timeout=90)
    assert count(client, name) == 1000
    assert client.search(name, [[777, 0, 0, 0]], limit=1)[0][0]["id"] == 777
    assert client.describe_index(name, "vector")["pending_index_rows"] == 0


@pytest.mark.parametrize("flushed", [False, True], ids=["growing", "flushed"])
def test_rows_expire(client, simple, flushed):
    client.insert(simple, simple_rows(range(10)))
    if flushed:
        client.flush(simple)
    client.alter_collection_properties(simple, {"collection.ttl.seconds": "3600"})
    assert count(client, simple) == 10
    client.alter_collection_properties(simple, {"collection.ttl.seconds": "1"})
    wait_until("the rows are gone from count", lambda: count(client, simple) == 0, timeout=20)
    assert client.query(simple, filter="id >= 0") == []
    assert client.search(simple, [[1, 1, 1, 1]], limit=5)[0] == []
    assert client.get(simple, 3) == []
    client.drop_collection_properties(simple, ["collection.ttl.seconds"])
    client.insert(simple, simple_rows([77]))
    assert 77 in {r["id"] for r in client.query(simple, filter="id >= 0", output_fields=["id"])}
