"""Insert, upsert (whole and partial), and delete; what is there afterwards.

Holdfast keeps one live row per primary key in a collection. Milvus lets a plain insert of a known key
store a second row; here the newest wins, and count, query and search agree. The tests of that are
marked "differs from Milvus".
"""

import threading

import pytest
from conftest import simple_rows
from expect import refused
from pymilvus import DataType, FieldOp, MilvusException


def count(client, name, filter=""):
    return client.query(name, filter=filter, output_fields=["count(*)"])[0]["count(*)"]


def stored(client, name, filter="id >= 0"):
    return {r["id"]: r["n"] for r in client.query(name, filter=filter, output_fields=["id", "n"])}


def test_an_insert_answers_with_keys_and_is_seen_at_once(client, simple):
    answer = client.insert(simple, simple_rows(range(1000)))
    assert answer["insert_count"] == 1000
    assert list(answer["ids"]) == list(range(1000))
    assert stored(client, simple) == {i: i * 10 for i in range(1000)}


def test_an_insert_of_nothing_is_answered_without_a_row(client, simple):
    assert client.insert(simple, [])["insert_count"] == 0


def test_inserting_a_known_key_replaces_the_row(client, simple):
    # Differs from Milvus: there this makes two rows.
    client.insert(simple, simple_rows(range(10)))
    client.flush(simple)
    client.insert(simple, [{"id": 3, "vector": [9, 9, 9, 9], "n": -1}])
    assert count(client, simple) == 10
    assert stored(client, simple)[3] == -1
    hits = client.search(simple, [[9, 9, 9, 9]], limit=20, output_fields=["n"])[0]
    assert [h["id"] for h in hits].count(3) == 1
    assert len(hits) == 10
    assert hits[0]["entity"]["n"] == -1


def test_the_later_of_two_rows_in_one_insert_wins(client, simple):
    # Differs from Milvus: there this makes two rows.
    client.insert(simple, [*simple_rows([1]), {"id": 1, "vector": [0, 0, 0, 0], "n": 2}])
    assert stored(client, simple) == {1: 2}
    assert count(client, simple) == 1


@pytest.mark.parametrize("flushed", [False, True], ids=["growing", "flushed"])
def test_an_upsert_replaces_and_inserts(client, simple, flushed):
    client.insert(simple, simple_rows(range(10)))
    if flushed:
        client.flush(simple)
    answer = client.upsert(simple, [{"id": i, "vector": [i, i, i, i], "n": -i} for i in range(5, 15)])
    assert answer["upsert_count"] == 10
    assert stored(client, simple) == {**{i: i * 10 for i in range(5)}, **{i: -i for i in range(5, 15)}}
    assert count(client, simple) == 15
    assert client.search(simple, [[12, 12, 12, 12]], limit=1)[0][0]["id"] == 12


def test_a_key_twice_in_one_upsert_is_refused(client, simple):
    with pytest.raises(MilvusException, match="(?i)duplicate"):
        client.upsert(simple, [*simple_rows([1]), *simple_rows([1])])
    assert count(client, simple) == 0


def test_upserting_one_key_again_and_again_leaves_one_row(client, simple):
    for i in range(50):
        client.upsert(simple, {"id": 7, "vector": [i, 0, 0, 0], "n": i})
        if i == 25:
            client.flush(simple)
    assert stored(client, simple) == {7: 49}
    assert count(client, simple) == 1
    assert [h["distance"] for h in client.search(simple, [[49, 0, 0, 0]], limit=5)[0]] == [0]


@pytest.mark.parametrize("flushed", [False, True], ids=["growing", "flushed"])
def test_rows_are_deleted_by_key(client, simple, flushed):
    client.insert(simple, simple_rows(range(20)))
    if flushed:
        client.flush(simple)
    answer = client.delete(simple, ids=[3, 5, 777])
    assert answer["delete_count"] == 3, "by key, the answer counts the keys listed, there or not"
    assert set(stored(client, simple)) == set(range(20)) - {3, 5}
    assert 5 not in {h["id"] for h in client.search(simple, [[5, 1, 0.5, -5]], limit=20)[0]}
    assert client.get(simple, [3, 4], output_fields=["id"]) == [{"id": 4}]


@pytest.mark.parametrize("flushed", [False, True], ids=["growing", "flushed"])
def test_rows_are_deleted_by_expression(client, simple, flushed):
    client.insert(simple, simple_rows(range(100)))
    if flushed:
        client.flush(simple)
    answer = client.delete(simple, filter="n >= 500 and id % 2 == 0")
    assert answer["delete_count"] == 25
    assert set(stored(client, simple)) == {i for i in range(100) if not (i >= 50 and i % 2 == 0)}


def test_a_delete_takes_template_values(client, simple):
    client.insert(simple, simple_rows(range(10)))
    client.delete(simple, filter="id in {gone}", filter_params={"gone": [1, 2]})
    assert count(client, simple) == 8


def test_a_deleted_row_comes_back_only_by_a_new_insert(client, simple):
    client.insert(simple, simple_rows([1]))
    client.delete(simple, ids=[1])
    assert count(client, simple) == 0
    client.flush(simple)
    assert count(client, simple) == 0
    client.insert(simple, [{"id": 1, "vector": [0, 0, 0, 1], "n": 11}])
    assert stored(client, simple) == {1: 11}


def test_a_delete_without_a_condition_is_refused(client, simple):
    client.insert(simple, simple_rows([1]))
    with pytest.raises(Exception, match="(?i)expr|filter|ids|condition"):
        client.delete(simple, filter="")
    assert count(client, simple) == 1


def test_string_keys_work_throughout(client, name):
    client.create_collection(
        name, dimension=2, id_type="string", max_length=64, consistency_level="Strong", metric_type="L2"
    )
    keys = ["a", "with space", "ünï", 'quote"d', "x" * 64, ""]
    client.insert(name, [{"id": k, "vector": [i, 0], "n": i} for i, k in enumerate(keys)])
    assert {r["id"] for r in client.query(name, filter='id >= ""', output_fields=["id"])} == set(keys)
    client.upsert(name, {"id": "ünï", "vector": [9, 9], "n": 99})
    assert client.get(name, "ünï", output_fields=["n"])[0]["n"] == 99
    client.delete(name, ids=["a", "with space"])
    assert count(client, name) == 4
    assert client.search(name, [[9, 9]], limit=1)[0][0]["id"] == "ünï"


@pytest.fixture
def rich(client, name):
    """A collection for partial updates: several kinds of field, dynamic keys, two rows."""
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("w", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("n", DataType.INT64, nullable=True)
    schema.add_field("s", DataType.VARCHAR, max_length=32, default_value="plain")
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=6, nullable=True)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    index.add_index("w", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(
        name,
        [
            {"id": 1, "v": [1, 0], "w": [0, 1], "n": 10, "s": "one", "tags": [1, 2], "extra": "x"},
            {"id": 2, "v": [2, 0], "w": [0, 2], "n": None, "tags": None},
        ],
    )
    return name


def row(client, name, key):
    (found,) = client.query(name, filter=f"id == {key}", output_fields=["*"])
    return {
        k: [float(x) for x in v] if k in ("v", "w") else (list(v) if k == "tags" and v is not None else v)
        for k, v in found.items()
    }


@pytest.mark.parametrize("flushed", [False, True], ids=["growing", "flushed"])
def test_a_partial_update_changes_what_it_names(client, rich, flushed):
    if flushed:
        client.flush(rich)
    client.upsert(rich, {"id": 1, "n": 11}, partial_update=True)
    assert row(client, rich, 1) == {
        "id": 1, "v": [1, 0], "w": [0, 1], "n": 11, "s": "one", "tags": [1, 2], "extra": "x",
    }  # fmt: skip
    client.upsert(rich, {"id": 1, "w": [5, 5]}, partial_update=True)
    assert client.search(rich, [[5, 5]], anns_field="w", limit=1)[0][0]["id"] == 1
    assert client.search(rich, [[1, 0]], anns_field="v", limit=1)[0][0]["id"] == 1
    client.upsert(rich, {"id": 1, "n": None}, partial_update=True)
    assert row(client, rich, 1)["n"] is None
    assert count(client, rich) == 2


def test_a_partial_update_merges_dynamic_keys(client, rich):
    client.upsert(rich, {"id": 1, "more": 5}, partial_update=True)
    seen = row(client, rich, 1)
    assert seen["more"] == 5
    assert seen["extra"] == "x"


def test_a_partial_update_of_an_unknown_key_needs_every_required_field(client, rich):
    with pytest.raises(MilvusException, match="(?i)v|w|field|missing"):
        client.upsert(rich, {"id": 50, "n": 1}, partial_update=True)
    client.upsert(rich, {"id": 50, "v": [5, 0], "w": [0, 5]}, partial_update=True)
    seen = row(client, rich, 50)
    assert seen["s"] == "plain"
    assert seen["n"] is None
    assert count(client, rich) == 3


def test_array_elements_are_appended_and_removed(client, rich):
    client.upsert(rich, {"id": 1, "tags": [3, 2]}, field_ops={"tags": FieldOp.array_append()})
    assert row(client, rich, 1)["tags"] == [1, 2, 3, 2]
    client.upsert(rich, {"id": 1, "tags": [2]}, field_ops={"tags": FieldOp.array_remove()})
    assert row(client, rich, 1)["tags"] == [1, 3]
    assert row(client, rich, 1)["s"] == "one"


def test_an_append_over_the_capacity_is_refused_and_changes_nothing(client, rich):
    with pytest.raises(MilvusException, match="(?i)capacity|tags|length"):
        client.upsert(rich, {"id": 1, "tags": [3, 4, 5, 6, 7]}, field_ops={"tags": FieldOp.array_append()})
    assert row(client, rich, 1)["tags"] == [1, 2]


def test_an_upsert_into_an_auto_id_collection_answers_with_the_keys(client, name):
    client.create_collection(name, dimension=2, auto_id=True, consistency_level="Strong")
    (key,) = client.insert(name, {"vector": [1, 1], "n": 1})["ids"]
    client.upsert(name, {"id": key, "vector": [2, 2], "n": 2})
    rows = client.query(name, filter="n > 0", output_fields=["n"])
    assert [r["n"] for r in rows] == [2], "the old row is gone, whatever key the new one has"


def test_a_given_key_is_refused_when_the_server_makes_keys(client, name):
    client.create_collection(name, dimension=2, auto_id=True, consistency_level="Strong")
    with pytest.raises(Exception, match="(?i)auto.?id|id"):
        client.insert(name, {"id": 5, "vector": [1, 1]})
    assert count(client, name) == 0


def test_a_wrong_row_stores_nothing_of_its_batch(client, simple):
    rows = simple_rows(range(100))
    rows[57]["vector"] = [1.0, 2.0]
    with pytest.raises(Exception, match="(?i)dim|vector"):
        client.insert(simple, rows)
    assert count(client, simple) == 0


def test_an_undeclared_key_is_refused_without_dynamic_fields(client, simple):
    with pytest.raises(Exception, match="(?i)stray|unexpected|dynamic"):
        client.insert(simple, {**simple_rows([1])[0], "stray": 1})


def test_concurrent_upserts_of_the_same_keys_leave_one_row_each(client, simple):
    failures = []

    def work(worker):
        try:
            for turn in range(20):
                client.upsert(
                    simple, [{"id": k, "vector": [worker, turn, 0, 0], "n": worker * 1000 + turn} for k in range(10)]
                )
        except Exception as e:  # noqa: BLE001 - every failure is reported by the assertion below
            failures.append(e)

    threads = [threading.Thread(target=work, args=(w,)) for w in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    rows = client.query(simple, filter="id >= 0", output_fields=["id", "n", "vector"])
    assert sorted(r["id"] for r in rows) == list(range(10))
    assert count(client, simple) == 10
    assert len({r["n"] for r in rows}) == 1, "an upsert of ten rows is one event: all ten keys show the last one"
    for r in rows:
        assert [float(x) for x in r["vector"][:2]] == [r["n"] // 1000, r["n"] % 1000]


def test_the_client_notices_a_schema_that_changed_behind_its_back(client, connect, simple):
    stale = connect()
    stale.insert(simple, simple_rows([1]))
    client.add_collection_field(simple, "later", DataType.INT64, nullable=True)
    stale.insert(simple, simple_rows([2]))  # the client is told to describe again, and does
    assert count(client, simple) == 2


def test_a_large_batch_arrives_whole(client, simple):
    client.insert(simple, simple_rows(range(50_000)))
    assert count(client, simple) == 50_000
    assert count(client, simple, "id >= 49990") == 10


def test_a_value_of_the_wrong_type_is_refused_by_field_name(client, simple):
    with pytest.raises(Exception, match=r"(?i)\bn\b|type"):
        client.insert(simple, {"id": 1, "vector": [1, 2, 3, 4], "n": "text"})
    with refused((1, 1100), r"vector|dim"):
        client.insert(simple, {"id": 1, "vector": [1, 2, 3], "n": 1})
