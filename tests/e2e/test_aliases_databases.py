"""Aliases, and databases."""

import pytest
from conftest import simple_rows
from expect import (
    ALIAS_EXISTS,
    ALIAS_NAME_CONFLICT,
    ALIAS_NOT_FOUND,
    COLLECTION_NOT_FOUND,
    DATABASE_NOT_FOUND,
    PARAMETER,
    refused,
)
from pymilvus import MilvusException


def test_an_alias_stands_for_its_collection_everywhere(client, simple, new_name):
    alias = new_name("alias")
    client.create_alias(simple, alias)
    assert client.describe_alias(alias)["collection_name"] == simple
    assert alias in client.list_aliases(simple)["aliases"]
    assert alias in client.describe_collection(simple)["aliases"]
    assert client.has_collection(alias)
    client.insert(alias, simple_rows(range(3)))
    assert len(client.query(alias, filter="id >= 0")) == 3
    assert client.search(alias, [[1, 1, 0.5, -1]], limit=1)[0][0]["id"] == 1
    client.delete(alias, ids=[0])
    assert len(client.query(simple, filter="id >= 0")) == 2
    client.drop_alias(alias)
    with refused(COLLECTION_NOT_FOUND, alias):
        client.query(alias, filter="id >= 0")


def test_an_alias_moves_to_another_collection_at_once(client, simple, new_name):
    other, alias = new_name("other"), new_name("alias")
    client.create_collection(other, dimension=4, consistency_level="Strong")
    try:
        client.create_alias(simple, alias)
        client.insert(other, {"id": 77, "vector": [0, 0, 0, 1]})
        client.alter_alias(other, alias)
        assert [r["id"] for r in client.query(alias, filter="id >= 0", output_fields=["id"])] == [77]
        client.drop_alias(alias)
    finally:
        client.drop_collection(other)


def test_alias_conflicts_have_their_codes(client, simple, new_name):
    other, alias = new_name("other"), new_name("alias")
    client.create_collection(other, dimension=2)
    try:
        client.create_alias(simple, alias)
        client.create_alias(simple, alias)  # the same again is fine
        with refused(ALIAS_EXISTS, alias):
            client.create_alias(other, alias)
        with refused(ALIAS_NAME_CONFLICT, other):
            client.create_alias(simple, other)
        with refused(ALIAS_NOT_FOUND, "no_such_alias"):
            client.describe_alias("no_such_alias")
        with refused(ALIAS_NOT_FOUND, "no_such_alias"):
            client.alter_alias(simple, "no_such_alias")
        with refused(COLLECTION_NOT_FOUND, "no_such_collection"):
            client.create_alias("no_such_collection", new_name("alias"))
        with refused(PARAMETER, "alias"):
            client.drop_collection(simple)  # not while an alias points at it
        with refused(PARAMETER, "alias"):
            client.drop_collection(alias)  # and not through the alias
        assert client.has_collection(simple)
        client.drop_alias(alias)
        client.drop_alias(alias)  # dropping what is not there is fine
    finally:
        client.drop_collection(other)


def test_a_collection_may_not_take_the_name_of_an_alias(client, simple, new_name):
    alias = new_name("alias")
    client.create_alias(simple, alias)
    with refused((ALIAS_NAME_CONFLICT, PARAMETER), alias):
        client.create_collection(alias, dimension=2)
    client.drop_alias(alias)


def test_the_default_database_is_always_there(client):
    assert "default" in client.list_databases()
    assert client.describe_database("default")["name"] == "default"


def test_databases_keep_collections_of_one_name_apart(client, connect, new_name):
    database, name = new_name("db")[-60:].lstrip("_0123456789"), new_name("same")
    client.create_database(database)
    inside = connect(db_name=database)
    try:
        client.create_collection(name, dimension=2, consistency_level="Strong")
        inside.create_collection(name, dimension=3, consistency_level="Strong")
        inside.insert(name, {"id": 1, "vector": [1, 2, 3]})
        assert client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == 0
        assert inside.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == 1
        assert inside.list_collections() == [name]
        with pytest.raises(MilvusException, match="(?i)not empty|must drop all collections"):
            client.drop_database(database)
        inside.drop_collection(name)
        assert client.has_collection(name)
    finally:
        client.drop_collection(name)
        if inside.has_collection(name):
            inside.drop_collection(name)
        client.drop_database(database)
    assert database not in client.list_databases()


def test_using_a_database_switches_one_client_only(client, connect, new_name):
    database = new_name("db")[-60:].lstrip("_0123456789")
    client.create_database(database)
    try:
        roaming = connect()
        roaming.use_database(database)
        assert roaming.list_collections() == []
        roaming.create_collection("inside", dimension=2)
        assert "inside" not in client.list_collections()
        roaming.drop_collection("inside")
        roaming.using_database("default")  # the same call under its older name
        assert set(roaming.list_collections()) == set(client.list_collections())
    finally:
        client.drop_database(database)


def test_database_properties_are_kept_altered_and_dropped(client, new_name):
    database = new_name("db")[-60:].lstrip("_0123456789")
    client.create_database(database, properties={"database.replica.number": "1"})
    try:
        client.alter_database_properties(database, {"note": "mine"})
        seen = client.describe_database(database)
        assert seen["database.replica.number"] == "1"
        assert seen["note"] == "mine"
        client.drop_database_properties(database, ["note"])
        assert "note" not in client.describe_database(database)
    finally:
        client.drop_database(database)


def test_database_mistakes_are_named(client, connect, new_name):
    with refused(DATABASE_NOT_FOUND, "no_such_db"):
        client.describe_database("no_such_db")
    with refused(DATABASE_NOT_FOUND, "no_such_db"):
        connect().use_database("no_such_db")
    database = new_name("db")[-60:].lstrip("_0123456789")
    client.create_database(database)
    try:
        with pytest.raises(MilvusException, match="(?i)already exist"):
            client.create_database(database)
    finally:
        client.drop_database(database)
    with pytest.raises(MilvusException, match="(?i)default"):
        client.drop_database("default")
