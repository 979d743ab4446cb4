"""Collections from creation to drop, and the words of every refusal on the way."""

import pytest
from conftest import simple_rows
from expect import COLLECTION_NOT_FOUND, COLLECTION_NOT_LOADED, PARAMETER, refused
from pymilvus import DataType


def test_the_quick_setup_makes_a_loaded_collection_with_dynamic_fields(client, name):
    client.create_collection(name, dimension=5)
    seen = client.describe_collection(name)
    assert [f["name"] for f in seen["fields"]] == ["id", "vector"]
    assert seen["fields"][0]["type"] == DataType.INT64
    assert seen["fields"][0]["is_primary"]
    assert seen["fields"][1]["params"] == {"dim": 5}
    assert seen["enable_dynamic_field"] is True
    assert not seen["auto_id"]
    assert client.get_load_state(name)["state"].name == "Loaded"
    assert client.describe_index(name, "vector")["metric_type"] == "COSINE"


def test_the_quick_setup_takes_names_metric_and_string_keys(client, name):
    client.create_collection(
        name,
        dimension=3,
        primary_field_name="key",
        id_type="string",
        vector_field_name="v",
        metric_type="IP",
        max_length=40,
    )
    fields = {f["name"]: f for f in client.describe_collection(name)["fields"]}
    assert fields["key"]["type"] == DataType.VARCHAR
    assert fields["key"]["params"]["max_length"] == 40
    assert client.describe_index(name, "v")["metric_type"] == "IP"
    client.insert(name, {"key": "a", "v": [1, 2, 3], "extra": True})
    assert client.get(name, "a", consistency_level="Strong")[0]["extra"] is True


def test_the_quick_setup_with_auto_id_hands_out_keys(client, name):
    client.create_collection(name, dimension=2, auto_id=True, consistency_level="Strong")
    first = client.insert(name, [{"vector": [0, 1]}, {"vector": [1, 0]}])
    second = client.insert(name, [{"vector": [1, 1]}])
    keys = [*first["ids"], *second["ids"]]
    assert len(set(keys)) == 3
    assert all(isinstance(k, int) for k in keys)
    assert {r["id"] for r in client.query(name, filter="id > 0", output_fields=["id"])} == set(keys)


def full_schema(client):
    schema = client.create_schema(enable_dynamic_field=True, description="everything at once")
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64, description="the key")
    schema.add_field("flag", DataType.BOOL, nullable=True)
    schema.add_field("small", DataType.INT8, default_value=7)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=8, max_length=16)
    schema.add_field("doc", DataType.JSON, nullable=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=8)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=16)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    return schema


def test_a_full_schema_is_described_as_it_was_given(client, name):
    client.create_collection(
        name, schema=full_schema(client), consistency_level="Session", num_shards=2, properties={"mmap.enabled": "true"}
    )
    seen = client.describe_collection(name)
    fields = {f["name"]: f for f in seen["fields"]}
    assert list(fields) == ["key", "flag", "small", "tags", "doc", "v", "bits", "words"]
    assert seen["collection_name"] == name
    assert seen["description"] == "everything at once"
    assert seen["num_shards"] == 2
    assert seen["consistency_level_name"] == "Session"
    assert seen["enable_dynamic_field"] is True
    assert seen["properties"]["mmap.enabled"] == "true"
    assert seen["collection_id"] > 0
    assert fields["key"]["description"] == "the key"
    assert fields["key"]["params"]["max_length"] == 64
    assert fields["flag"]["nullable"] is True
    assert fields["tags"]["element_type"] == DataType.VARCHAR
    assert fields["tags"]["params"]["max_capacity"] == 8
    assert fields["bits"]["params"]["dim"] == 16
    assert fields["small"]["default_value"].int_data == 7
    ids = [f["field_id"] for f in seen["fields"]]
    assert ids == sorted(ids) and min(ids) >= 100, "user fields are numbered from 100 in order"


def test_a_collection_without_index_is_not_loaded(client, name):
    client.create_collection(name, schema=full_schema(client))
    assert client.get_load_state(name)["state"].name == "NotLoad"
    with refused(COLLECTION_NOT_LOADED, "not loaded"):
        client.query(name, filter='key == "a"')


def test_listing_shows_exactly_what_exists(client, new_name):
    names = [new_name("l") for _ in range(3)]
    for n in names:
        client.create_collection(n, dimension=2)
    assert set(names) <= set(client.list_collections())
    for n in names:
        assert client.has_collection(n)
        client.drop_collection(n)
        assert not client.has_collection(n)
    assert not set(names) & set(client.list_collections())


def test_creating_the_same_again_changes_nothing(client, name):
    for _ in range(2):
        client.create_collection(name, schema=full_schema(client))
    assert len(client.describe_collection(name)["fields"]) == 8


def test_creating_something_else_under_the_name_is_refused(client, name):
    client.create_collection(name, schema=full_schema(client))
    other = client.create_schema()
    other.add_field("id", DataType.INT64, is_primary=True)
    other.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    with refused(PARAMETER, "create duplicate collection with different parameters"):
        client.create_collection(name, schema=other)


def test_a_missing_collection_is_named_by_every_call(client):
    missing = "not_there_at_all"
    assert not client.has_collection(missing)
    with refused(COLLECTION_NOT_FOUND, rf"can't find collection.*{missing}"):
        client.describe_collection(missing)
    for call in (
        lambda: client.insert(missing, [{"id": 1, "vector": [1.0, 2.0]}]),
        lambda: client.query(missing, filter="id > 0"),
        lambda: client.search(missing, [[1.0, 2.0]]),
        lambda: client.load_collection(missing),
        lambda: client.get_collection_stats(missing),
        lambda: client.rename_collection(missing, "other_name"),
        lambda: client.flush(missing),
        lambda: client.list_partitions(missing),
    ):
        with refused(COLLECTION_NOT_FOUND, missing):
            call()


def test_dropping_what_is_not_there_is_fine(client):
    client.drop_collection("never_was_there")


def test_a_dropped_name_starts_empty_when_made_again(client, name):
    client.create_collection(name, dimension=2, consistency_level="Strong")
    client.insert(name, [{"id": 1, "vector": [1, 2]}])
    before = client.describe_collection(name)["collection_id"]
    client.drop_collection(name)
    client.create_collection(name, dimension=2, consistency_level="Strong")
    assert client.describe_collection(name)["collection_id"] != before
    assert client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == 0


def test_a_rename_keeps_the_rows_and_frees_the_old_name(client, simple, new_name):
    client.insert(simple, simple_rows(range(5)))
    new = new_name("renamed")
    client.rename_collection(simple, new)
    try:
        assert not client.has_collection(simple)
        assert client.query(new, filter="", output_fields=["count(*)"])[0]["count(*)"] == 5
    finally:
        client.drop_collection(new)


def test_a_rename_onto_a_taken_name_is_refused(client, simple, new_name):
    taken = new_name("taken")
    client.create_collection(taken, dimension=2)
    try:
        with refused((PARAMETER, 65535), f"(duplicated|already exist|taken).*|.*{taken}"):
            client.rename_collection(simple, taken)
        assert client.has_collection(simple)
        assert client.has_collection(taken)
    finally:
        client.drop_collection(taken)


def test_truncation_empties_and_keeps_the_rest(client, simple):
    client.insert(simple, simple_rows(range(100)))
    client.flush(simple)
    client.insert(simple, simple_rows(range(100, 150)))
    before = client.describe_collection(simple)
    client.truncate_collection(simple)
    assert client.query(simple, filter="", output_fields=["count(*)"])[0]["count(*)"] == 0
    assert client.search(simple, [[1, 1, 1, 1]], limit=5)[0] == []
    after = client.describe_collection(simple)
    assert after["fields"] == before["fields"]
    assert after["collection_id"] == before["collection_id"]
    client.insert(simple, simple_rows([3]))
    assert [r["n"] for r in client.query(simple, filter="id >= 0", output_fields=["n"])] == [30]


def test_properties_are_altered_and_dropped(client, simple):
    client.alter_collection_properties(simple, {"collection.ttl.seconds": "86400", "note": "kept"})
    seen = client.describe_collection(simple)["properties"]
    assert seen["collection.ttl.seconds"] == "86400"
    assert seen["note"] == "kept"
    client.drop_collection_properties(simple, ["note"])
    seen = client.describe_collection(simple)["properties"]
    assert "note" not in seen
    assert seen["collection.ttl.seconds"] == "86400"


def test_a_field_can_be_added_and_old_rows_read_null_or_the_default(client, simple):
    client.insert(simple, simple_rows(range(3)))
    client.flush(simple)
    client.add_collection_field(simple, "later", DataType.INT64, nullable=True)
    client.add_collection_field(simple, "kind", DataType.VARCHAR, nullable=True, default_value="old", max_length=8)
    client.insert(simple, [{**simple_rows([3])[0], "later": 9, "kind": "new"}])
    rows = client.query(simple, filter="id >= 0", output_fields=["id", "later", "kind"])
    assert sorted((r["id"], r["later"], r["kind"]) for r in rows) == [
        (0, None, "old"), (1, None, "old"), (2, None, "old"), (3, 9, "new"),
    ]  # fmt: skip


def test_a_field_is_altered_within_its_bounds(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("text", DataType.VARCHAR, max_length=4)
    schema.add_field("list", DataType.ARRAY, element_type=DataType.INT8, max_capacity=2)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    long = {"id": 1, "v": [1, 1], "text": "12345678", "list": [1, 2, 3]}
    with refused(PARAMETER, "text.*|.*max.?length"):
        client.insert(name, long)
    client.alter_collection_field(name, "text", {"max_length": 8})
    client.alter_collection_field(name, "list", {"max_capacity": 3})
    client.alter_collection_field(name, "v", {"mmap.enabled": True})
    seen = {f["name"]: f["params"] for f in client.describe_collection(name)["fields"]}
    assert seen["text"]["max_length"] == 8
    assert seen["list"]["max_capacity"] == 3
    client.insert(name, long)
    assert client.get(name, 1, output_fields=["text"])[0]["text"] == "12345678"
    for field, change in (("text", {"max_length": 2}), ("v", {"dim": 4}), ("v", {"nonsense": 1})):
        with refused(PARAMETER, next(iter(change))):
            client.alter_collection_field(name, field, change)


def test_a_dropped_field_is_gone_from_rows_filters_and_indexes(client, simple):
    index = client.prepare_index_params()
    index.add_index("n", index_type="STL_SORT")
    client.create_index(simple, index)
    client.insert(simple, simple_rows(range(4)))
    client.flush(simple)
    client.insert(simple, simple_rows(range(4, 6)))
    client.drop_collection_field(simple, "n")
    assert [f["name"] for f in client.describe_collection(simple)["fields"]] == ["id", "vector"]
    assert client.list_indexes(simple) == ["vector"]
    rows = client.query(simple, filter="id >= 0", output_fields=["*"])
    assert sorted(r["id"] for r in rows) == list(range(6))
    assert all(set(r) == {"id", "vector"} for r in rows)
    with refused(PARAMETER, r"\bn\b"):
        client.query(simple, filter="n > 1")
    client.add_collection_field(simple, "n", DataType.VARCHAR, nullable=True, max_length=8)
    client.insert(simple, {"id": 9, "vector": [1, 1, 1, 1], "n": "text"})
    rows = client.query(simple, filter="id >= 0", output_fields=["n"])
    assert {r["id"]: r["n"] for r in rows} == {**dict.fromkeys(range(6)), 9: "text"}, "the old values stay gone"
    for field in ("id", "vector", "no_such_field"):
        with refused(PARAMETER, field):
            client.drop_collection_field(simple, field)


@pytest.mark.parametrize(
    ("bad_name", "pattern"),
    [
        ("", "collection.?name|should not be empty"),
        ("1abc", "first character|letter"),
        ("a b", "letters|numbers|underscore"),
        ("a/b", "letters|numbers|underscore"),
        ("../up", "first character|letter"),
        ("x" * 300, "length|255"),
        ("näme", "letters|numbers|underscore"),
    ],
)
def test_a_bad_collection_name_is_refused_with_the_rule(client, bad_name, pattern):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    with pytest.raises(Exception, match=f"(?i){pattern}"):
        client.create_collection(bad_name, schema=schema)


def test_many_collections_live_side_by_side(client, new_name):
    names = [new_name("many") for _ in range(30)]
    try:
        for i, n in enumerate(names):
            client.create_collection(n, dimension=2, consistency_level="Strong")
            client.insert(n, [{"id": i, "vector": [i, 1]}])
        for i, n in enumerate(names):
            assert [r["id"] for r in client.query(n, filter="id >= 0", output_fields=["id"])] == [i]
    finally:
        for n in names:
            client.drop_collection(n)
