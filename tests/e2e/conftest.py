"""Fixtures: the server under test, clients, and names that no other test uses.

Most tests share one process and keep apart by collection name. Tests of restarts, crashes and limits
start their own. With HOLDFAST_ENDPOINT the shared server is whatever listens there.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from pathlib import Path

import pytest
from pymilvus import DataType, MilvusClient
from server import BinaryMissing, External, Server, find_binary

ENDPOINT = os.environ.get("HOLDFAST_ENDPOINT")
_numbers = itertools.count(1)

# Refusals are what many tests are about; the client would log each with its traceback.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)


def pytest_collection_modifyitems(items):
    """Tests that need a process of their own are skipped, by name, against somebody else's server."""
    if not ENDPOINT:
        return
    skip = pytest.mark.skip(reason=f"HOLDFAST_ENDPOINT={ENDPOINT}: this test needs a process of its own")
    for item in items:
        if item.get_closest_marker("process"):
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure carries the end of the logs of the servers that the test used."""
    report = yield
    if report.failed:
        for server in getattr(item.session, "holdfast_servers", []):
            report.sections.append((f"log of {server.uri}", server.tail()))
    return report


@pytest.fixture(scope="session")
def _servers(request):
    request.session.holdfast_servers = []
    return request.session.holdfast_servers


@pytest.fixture(scope="session")
def server(tmp_path_factory, _servers):
    """The server that most tests share."""
    if ENDPOINT:
        yield External(ENDPOINT)
        return
    folder = tmp_path_factory.mktemp("shared")
    try:
        find_binary()
    except BinaryMissing as missing:
        pytest.exit(str(missing), returncode=2)
    running = Server(folder / "data", folder / "log")
    running.start()
    _servers.append(running)
    yield running
    _servers.remove(running)
    if not running.running():
        raise AssertionError(f"the shared server died during the run\n{running.tail()}")
    running.stop()


@pytest.fixture
def start_server(tmp_path, _servers):
    """Starts servers of this test's own: `start_server(*flags, name=..., data_dir=..., env=...)`."""
    mine: list[Server] = []

    def start(*args: str, name: str = "own", data_dir: Path | None = None, ready=True, **options) -> Server:
        own = Server(data_dir or tmp_path / name, tmp_path / f"{name}.log", *args, **options)
        mine.append(own)
        _servers.append(own)
        if ready:
            own.start()
        return own

    yield start
    for own in mine:
        _servers.remove(own)
        if own.running():
            own.kill9()


@pytest.fixture(scope="session")
def shared_client(server):
    """One client of the shared server for the whole run."""
    client = MilvusClient(server.uri)
    yield client
    client.close()


@pytest.fixture
def client(shared_client):
    """The shared client. After the test the server must still answer."""
    yield shared_client
    shared_client.list_collections()


@pytest.fixture
def connect(server):
    """Makes further clients of the shared server: `connect(db_name=...)`."""
    made = []

    def make(**options) -> MilvusClient:
        client = MilvusClient(server.uri, **options)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def new_name(request):
    """Makes names that nothing else uses: `new_name("alias")`."""
    stem = re.sub(r"\W+", "_", request.node.name)[:60].strip("_")
    return lambda what="x": f"{stem}_{what}_{next(_numbers)}"


@pytest.fixture
def name(client, new_name):
    """A collection name for this test; the collection is dropped afterwards."""
    made = new_name("c")
    yield made
    if client.has_collection(made):
        for alias in client.describe_collection(made).get("aliases") or []:
            client.drop_alias(alias)
        client.drop_collection(made)


@pytest.fixture(scope="module")
def module_collection(shared_client, request):
    """A collection name for a whole module; the collection is dropped at its end."""
    made = f"{request.module.__name__}_{next(_numbers)}"
    yield made
    if shared_client.has_collection(made):
        shared_client.drop_collection(made)


@pytest.fixture
def simple(client, name):
    """A loaded collection: int64 key `id`, `vector` of 4 floats under L2, int64 `n`, Strong reads, empty."""
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("n", DataType.INT64)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    return name


def simple_rows(ids):
    """Rows for `simple`: every value follows from the key."""
    return [{"id": i, "vector": [float(i), 1.0, 0.5, -float(i)], "n": i * 10} for i in ids]
