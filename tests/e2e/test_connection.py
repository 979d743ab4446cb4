"""Connecting, versions, the health service, and clients that come and go."""

import grpc
import pytest
from conftest import simple_rows
from expect import DATABASE_NOT_FOUND, refused
from pymilvus import MilvusClient, MilvusException


def test_a_client_connects_and_reads_the_version(client):
    version = client.get_server_version()
    assert isinstance(version, str)
    assert version


def test_the_detailed_version_names_the_deployment(client):
    detail = client.get_server_version(detail=True)
    assert detail["version"]
    assert "deploy_mode" in detail


def test_the_server_says_what_it_stands_in_for(client):
    assert client.get_server_type() == "milvus"


def test_a_session_reads_as_its_client_does(client, simple):
    client.insert(simple, simple_rows(range(5)))
    session = client.session("a cluster")
    assert session.search(simple, [[3, 1, 0.5, -3]], limit=1)[0][0]["id"] == 3
    assert [r["n"] for r in session.query(simple, filter="id == 4", output_fields=["n"])] == [40]
    assert session.get(simple, 2, output_fields=["n"])[0]["n"] == 20
    assert len(list(session.query_iterator(simple, batch_size=10).next())) == 5
    session.close()
    with pytest.raises(MilvusException, match="closed"):
        session.query(simple, filter="id == 4")


def test_a_hundred_clients_come_and_go(server):
    for _ in range(100):
        client = MilvusClient(server.uri)
        client.list_collections()
        client.close()


def test_credentials_are_ignored_while_authorization_is_off(server):
    client = MilvusClient(server.uri, user="root", password="whatever")
    assert client.list_databases()
    client.close()


def test_connecting_to_a_missing_database_names_it(server):
    with refused(DATABASE_NOT_FOUND, "no_such_database"):
        MilvusClient(server.uri, db_name="no_such_database").list_collections()


def test_the_grpc_health_service_says_serving(server):
    # The standard health protocol by hand: an empty request, field 1 of the answer is 1 = SERVING.
    with grpc.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert call(b"", timeout=5) == b"\x08\x01"


def test_an_unknown_method_is_unimplemented(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary("/milvus.proto.milvus.MilvusService/NoSuchMethod")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_method_that_is_not_built_says_so_in_a_sentence(server):
    # Replication between clusters has no place in a standalone server's first release.
    with grpc.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary("/milvus.proto.milvus.MilvusService/GetReplicateInfo")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert len(caught.value.details().split()) >= 4, caught.value.details()
