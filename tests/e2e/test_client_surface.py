"""Every method of the two clients of pymilvus: those that work are called by some test, the rest say that they are not built.

A new version of pymilvus with a new method fails here until somebody decides.
"""

import inspect
import re
from pathlib import Path

import grpc
import pytest
from pymilvus import AsyncMilvusClient, DataType, Function, FunctionType, MilvusClient, MilvusException

NOT_BUILT = 3000
HERE = Path(__file__).parent
#: The asynchronous client of pymilvus 3.0.2 has these, and they call what it does not have.
BROKEN = {"flush_all", "get_compaction_plans", "get_flush_all_state", "update_replicate_configuration"}
#: These only make objects, the calls above among them.
LOCAL = {"create_field_schema", "create_struct_field_schema"}


def bm25():
    return Function(
        name="bm25", function_type=FunctionType.BM25, input_field_names=["t"], output_field_names=["sparse"]
    )


def structure(client):
    schema = client.create_struct_field_schema()
    schema.add_field("part", DataType.INT64)
    return schema


def sparse_index(client):
    index = client.prepare_index_params()
    index.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    return index


def everything(messages):
    """All that a generator of either kind gives."""
    if not inspect.isasyncgen(messages):
        return list(messages)

    async def collect():
        return [m async for m in messages]

    return collect()


CLUSTER = {"cluster_id": "a", "connection_param": {"uri": "http://x", "token": "t"}, "pchannels": ["p"]}

#: Method -> a call that a Milvus with everything would take. `c` is a client of either kind, `n` a collection.
NOT_THERE = {
    "add_collection_function": lambda c, n: c.add_collection_function(n, bm25()),
    "add_collection_struct_field": lambda c, n: c.add_collection_struct_field(n, "s", structure(c), 4),
    "add_file_resource": lambda c, n: c.add_file_resource("dictionary", "words.txt"),
    "add_function_field": lambda c, n: c.add_function_field(
        n, c.create_field_schema("sparse", DataType.SPARSE_FLOAT_VECTOR), bm25(), sparse_index(c)
    ),
    "add_privileges_to_group": lambda c, n: c.add_privileges_to_group("g", ["Query"]),
    "alter_collection_function": lambda c, n: c.alter_collection_function(n, "bm25", bm25()),
    "alter_role": lambda c, n: c.alter_role("r", "a role"),
    "create_privilege_group": lambda c, n: c.create_privilege_group("g"),
    "create_resource_group": lambda c, n: c.create_resource_group("g"),
    "create_role": lambda c, n: c.create_role("r"),
    "create_snapshot": lambda c, n: c.create_snapshot("s", n),
    "create_user": lambda c, n: c.create_user("u", "passw0rd"),
    "describe_resource_group": lambda c, n: c.describe_resource_group("g"),
    "describe_role": lambda c, n: c.describe_role("r"),
    "describe_snapshot": lambda c, n: c.describe_snapshot("s", n),
    "describe_user": lambda c, n: c.describe_user("u"),
    "drop_collection_function": lambda c, n: c.drop_collection_function(n, "bm25"),
    "drop_function_field": lambda c, n: c.drop_function_field(n, "bm25"),
    "drop_privilege_group": lambda c, n: c.drop_privilege_group("g"),
    "drop_resource_group": lambda c, n: c.drop_resource_group("g"),
    "drop_role": lambda c, n: c.drop_role("r"),
    "drop_snapshot": lambda c, n: c.drop_snapshot("s", n),
    "drop_user": lambda c, n: c.drop_user("u"),
    "dump_messages": lambda c, n: everything(c.dump_messages("p", {"id": "1", "wal_name": "RocksMQ"})),
    "get_refresh_external_collection_progress": lambda c, n: c.get_refresh_external_collection_progress(1),
    "get_replicate_configuration": lambda c, n: c.get_replicate_configuration(),
    "get_replicate_info": lambda c, n: c.get_replicate_info("a", "p"),
    "get_restore_snapshot_state": lambda c, n: c.get_restore_snapshot_state(1),
    "grant_privilege": lambda c, n: c.grant_privilege("r", "Collection", "Query", n),
    "grant_privilege_v2": lambda c, n: c.grant_privilege_v2("r", "Query", n),
    "grant_role": lambda c, n: c.grant_role("u", "r"),
    "list_file_resources": lambda c, n: c.list_file_resources(),
    "list_privilege_groups": lambda c, n: c.list_privilege_groups(),
    "list_refresh_external_collection_jobs": lambda c, n: c.list_refresh_external_collection_jobs(n),
    "list_resource_groups": lambda c, n: c.list_resource_groups(),
    "list_restore_snapshot_jobs": lambda c, n: c.list_restore_snapshot_jobs(),
    "list_roles": lambda c, n: c.list_roles(),
    "list_snapshots": lambda c, n: c.list_snapshots(n),
    "list_users": lambda c, n: c.list_users(),
    "pin_snapshot_data": lambda c, n: c.pin_snapshot_data("s", n),
    "refresh_external_collection": lambda c, n: c.refresh_external_collection(n),
    "remove_file_resource": lambda c, n: c.remove_file_resource("dictionary"),
    "remove_privileges_from_group": lambda c, n: c.remove_privileges_from_group("g", ["Query"]),
    "restore_snapshot": lambda c, n: c.restore_snapshot("s", n, f"{n}_again"),
    "revoke_privilege": lambda c, n: c.revoke_privilege("r", "Collection", "Query", n),
    "revoke_privilege_v2": lambda c, n: c.revoke_privilege_v2("r", "Query", n),
    "revoke_role": lambda c, n: c.revoke_role("u", "r"),
    "run_analyzer": lambda c, n: c.run_analyzer("a text", {"type": "english"}),
    "transfer_replica": lambda c, n: c.transfer_replica("a", "b", n, 1),
    "unpin_snapshot_data": lambda c, n: c.unpin_snapshot_data(1),
    "update_password": lambda c, n: c.update_password("u", "old", "new"),
    "update_replicate_configuration": lambda c, n: c.update_replicate_configuration([CLUSTER]),
    "update_resource_groups": lambda c, n: c.update_resource_groups({}),
    "update_user": lambda c, n: c.update_user("u", "a user"),
}


def methods(kind):
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


def is_refusal(error):
    """Whether an exception says, in a sentence, that something is not built."""
    if isinstance(error, grpc.RpcError):
        return error.code() == grpc.StatusCode.UNIMPLEMENTED and re.search(r"\w+ is not built .*", error.details())
    return error.code == NOT_BUILT and "not built" in error.message


@pytest.fixture(scope="module")
def collection(shared_client, module_collection):
    shared_client.create_collection(module_collection, dimension=2)
    return module_collection


@pytest.mark.parametrize("method", sorted(NOT_THERE))
@pytest.mark.filterwarnings("ignore:.*is unsupported by Milvus:FutureWarning")
def test_what_is_not_built_says_so(client, collection, method):
    with pytest.raises((grpc.RpcError, MilvusException)) as caught:
        NOT_THERE[method](client, collection)
    assert is_refusal(caught.value), caught.value


@pytest.mark.filterwarnings("ignore:.*is unsupported by Milvus:FutureWarning")
async def test_what_is_not_built_says_so_to_the_asynchronous_client(server, collection):
    client = AsyncMilvusClient(server.uri)
    assert NOT_THERE.keys() <= methods(AsyncMilvusClient)
    try:
        for method in NOT_THERE.keys() - BROKEN:
            call = NOT_THERE[method]
            try:
                answer = await call(client, collection)
            except (grpc.RpcError, MilvusException) as error:
                assert is_refusal(error), (method, error)
            else:
                raise AssertionError(f"{method} answered {answer!r}")
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("kind", "files"),
    [(MilvusClient, "test_*.py"), (AsyncMilvusClient, "test_async.py")],
    ids=["MilvusClient", "AsyncMilvusClient"],
)
def test_every_other_method_is_called_by_a_test(kind, files):
    called = set()
    for file in HERE.glob(files):
        if file.name != Path(__file__).name:
            called |= set(re.findall(r"\.(\w+)\(", file.read_text()))
    untested = methods(kind) - NOT_THERE.keys() - LOCAL - called - (BROKEN if kind is AsyncMilvusClient else set())
    assert not untested, f"no test calls {sorted(untested)}"
    worked_on = NOT_THERE.keys() & called
    assert not worked_on, f"some test calls what is said to be missing: {sorted(worked_on)}"
