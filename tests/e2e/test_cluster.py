"""A cluster over etcd, a bucket and log-nodes: the everyday flow, and what the death of one process does.

Figures are printed, not asserted: how long writes wait depends on the machine.
"""

import os
import signal
import threading
import time

import numpy as np
import pytest
from cluster import Cluster, Node
from conftest import simple_rows
from exact import assert_hits, scores
from pymilvus import DataType, MilvusClient, MilvusException
from server import StartFailed, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

DIM = 8


@pytest.fixture
def cluster(tmp_path, _servers):
    """A cluster of this test's own."""
    running = Cluster(tmp_path)
    try:
        running.start()
        _servers.extend(running.logs + running.servers)
        yield running
    finally:
        for node in running.logs + running.servers:
            if node in _servers:
                _servers.remove(node)
        running.stop()


def create(client, name):
    """A loaded collection with an HNSW index and Strong reads."""
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("n", DataType.INT64)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")


def count(client, name):
    """All rows, as a Strong read sees them."""
    return client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"]


class Writer(threading.Thread):
    """Inserts one row at a time through whichever server serves, and remembers what it was told."""

    def __init__(self, cluster, name):
        super().__init__(daemon=True)
        self.cluster, self.name_ = cluster, name
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.times: list[float] = []
        self.ending = threading.Event()

    def run(self):
        key, client = 0, None
        while not self.ending.is_set():
            try:
                if client is None:
                    client = MilvusClient(self.cluster.active(120).uri, timeout=5)
                client.insert(self.name_, [{"id": key, "vector": [float(key)] * DIM, "n": key}], timeout=5)
                self.acknowledged.append(key)
                self.times.append(time.monotonic())
            except Exception:  # noqa: BLE001 - any failure leaves the outcome open
                self.unknown.append(key)
                client = None
            key += 1

    def wait_for_more(self, rows=30):
        """Waits until so many more rows were acknowledged."""
        wanted = len(self.acknowledged) + rows
        wait_until(f"{rows} more rows are acknowledged", lambda: len(self.acknowledged) >= wanted, timeout=120)

    def finish(self):
        """Ends it; the longest time between two acknowledgements."""
        self.ending.set()
        self.join(60)
        assert not self.is_alive()
        return max(b - a for a, b in zip(self.times, self.times[1:], strict=False))


def check_rows(client, name, writer):
    """Every acknowledged row is there once; nothing is there that nobody sent."""
    found = [r["id"] for r in client.query(name, filter="id >= 0", output_fields=["id"], limit=16_000)]
    assert len(found) == len(set(found)) == count(client, name)
    assert set(writer.acknowledged) <= set(found)
    assert set(found) <= set(writer.acknowledged) | set(writer.unknown)


def test_everyday_work_then_the_active_server_is_killed_and_the_other_has_everything(cluster):
    first = cluster.active()
    client = MilvusClient(first.uri)
    create(client, "c")
    vectors = np.random.default_rng(3).random((3000, DIM), dtype=np.float32)
    rows = [{"id": i, "vector": v.tolist(), "n": i % 7} for i, v in enumerate(vectors)]
    client.insert("c", rows[:2000])
    client.flush("c")
    client.delete("c", ids=list(range(0, 2000, 50)))
    client.upsert("c", [rows[7] | {"n": 700}])
    client.insert("c", rows[2000:])
    client.create_alias("c", "a")
    client.create_partition("c", "p")
    alive = np.ones(3000, dtype=bool)
    alive[0:2000:50] = False

    def check(client):
        assert count(client, "c") == alive.sum()
        assert client.query("c", filter="n == 700", output_fields=["id"])[0]["id"] == 7
        for at in (1, 777, 2500):
            hits = client.search("a", [vectors[at].tolist()], limit=10, search_params={"ef": 400})[0]
            assert_hits(hits, scores(vectors, vectors[at], "L2"), "L2", 10, allowed=alive)
        assert "p" in client.list_partitions("c")

    check(client)
    standby = next(s for s in cluster.servers if s is not first)
    with pytest.raises(MilvusException, match=r"(?i)stands by|unavailable|connect"):
        MilvusClient(standby.uri, timeout=3)
    client.close()
    first.kill9()
    began = time.monotonic()
    assert cluster.active() is standby
    print(f"\nserving again after {time.monotonic() - began:.2f} s")
    client = MilvusClient(standby.uri)
    wait_until("the collection is loaded", lambda: client.get_load_state("c")["state"].name == "Loaded")
    check(client)
    client.insert("c", simple_rows_of(range(5000, 5100)))
    assert count(client, "c") == alive.sum() + 100
    client.close()
    # The first one comes back as the standby, and takes over from a graceful end at once.
    first.start()
    assert first.state() == "standing by"
    began = time.monotonic()
    assert standby.stop() == 0
    assert cluster.active() is first
    print(f"handed over after {time.monotonic() - began:.2f} s")
    client = MilvusClient(first.uri)
    wait_until("the collection is loaded", lambda: client.get_load_state("c")["state"].name == "Loaded")
    assert count(client, "c") == alive.sum() + 100
    client.close()


def simple_rows_of(ids):
    """Rows for `create`."""
    return [{"id": r["id"], "vector": [float(r["id"])] * DIM, "n": r["n"]} for r in simple_rows(ids)]


def test_what_a_log_has_of_an_earlier_server_goes_to_the_bucket_and_is_read_from_there(cluster):
    first = cluster.active()
    client = MilvusClient(first.uri)
    create(client, "c")
    client.insert("c", simple_rows_of(range(500)))
    client.close()
    first.kill9()
    # Who takes over ends the segment of who wrote before.
    client = MilvusClient(cluster.active().uri)

    def stored():
        return [name for name in cluster.s3.names() if "/wal/" in name and name.endswith("/manifest")]

    wait_until("the ended segments are in the bucket", stored, timeout=60)
    client.insert("c", simple_rows_of(range(500, 600)))
    client.close()
    cluster.active().kill9()
    first.start()
    client = MilvusClient(cluster.active().uri)
    wait_until("the collection is loaded", lambda: client.get_load_state("c")["state"].name == "Loaded")
    assert count(client, "c") == 600
    client.close()


def test_no_write_fails_when_a_log_node_is_killed_and_comes_back(cluster):
    client = MilvusClient(cluster.active().uri)
    create(client, "c")
    writer = Writer(cluster, "c")
    writer.start()
    writer.wait_for_more()
    for node in cluster.logs[:2]:
        node.kill9()
        writer.wait_for_more(60)
        node.start()
        writer.wait_for_more()
    gap = writer.finish()
    print(f"\n{len(writer.acknowledged)} rows, longest wait {gap:.2f} s")
    assert writer.unknown == []
    check_rows(client, "c", writer)
    client.close()


def test_acknowledged_rows_outlive_kills_of_the_active_server_under_load(cluster):
    client = MilvusClient(cluster.active().uri)
    create(client, "c")
    client.close()
    writer = Writer(cluster, "c")
    writer.start()
    for _ in range(3):
        writer.wait_for_more()
        active = cluster.active()
        active.kill9()
        assert cluster.active(120) is not active
        writer.wait_for_more()
        active.start()
    gap = writer.finish()
    print(f"\n{len(writer.acknowledged)} rows, {len(writer.unknown)} open, longest gap {gap:.2f} s")
    client = MilvusClient(cluster.active().uri)
    check_rows(client, "c", writer)
    client.close()


def test_a_paused_server_answers_nothing_once_another_may_serve(cluster):
    first = cluster.active()
    client = MilvusClient(first.uri)
    create(client, "c")
    client.insert("c", simple_rows_of(range(10)))
    os.kill(first.process.pid, signal.SIGSTOP)
    second = wait_until(
        "the other serves",
        lambda: next((s for s in cluster.servers if s is not first and s.state() == "ready"), None),
        timeout=60,
    )
    newer = MilvusClient(second.uri)
    newer.insert("c", simple_rows_of(range(10, 20)))
    os.kill(first.process.pid, signal.SIGCONT)
    # Ten would be a stale answer; a refusal, or an end of the process, is right.
    with pytest.raises(MilvusException):
        client.query("c", filter="", output_fields=["count(*)"], timeout=5)
    with pytest.raises(MilvusException):
        client.insert("c", simple_rows_of(range(20, 30)), timeout=5)
    wait_until("it ended", lambda: not first.running(), timeout=40)
    assert "session with etcd has ended" in first.tail()
    assert count(newer, "c") == 20
    newer.close()


def test_inserts_and_warm_reads_go_on_while_the_bucket_is_silent(cluster):
    client = MilvusClient(cluster.active().uri)
    create(client, "c")
    client.insert("c", simple_rows_of(range(2000)))
    client.flush("c")
    assert count(client, "c") == 2000
    os.kill(cluster.s3.process.pid, signal.SIGSTOP)
    client.insert("c", simple_rows_of(range(2000, 2500)))
    client.delete("c", ids=list(range(100)))
    assert count(client, "c") == 2400
    os.kill(cluster.s3.process.pid, signal.SIGCONT)
    client.flush("c")
    assert count(client, "c") == 2400
    client.close()


def test_without_etcd_nobody_serves_and_with_it_one_does_again(cluster):
    first = cluster.active()
    client = MilvusClient(first.uri)
    create(client, "c")
    client.insert("c", simple_rows_of(range(100)))
    client.close()
    cluster.etcd.stop()
    wait_until("it ended", lambda: not first.running(), timeout=90)
    assert "session with etcd has ended" in first.tail(200)
    assert [s.state() for s in cluster.servers if s is not first] == ["standing by"]
    cluster.etcd.start()
    client = MilvusClient(cluster.active().uri)
    wait_until("the collection is loaded", lambda: client.get_load_state("c")["state"].name == "Loaded")
    assert count(client, "c") == 100
    client.close()


def test_roles_that_are_not_built_are_refused_with_a_sentence(tmp_path):
    cluster = Cluster(tmp_path)
    node = Node(cluster, "x", "a", "proxy,query-node")
    with pytest.raises(StartFailed, match=r"roles: proxy,query-node is not built yet"):
        node.start()
