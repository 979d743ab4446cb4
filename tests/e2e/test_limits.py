"""A full disk and a full memory budget: refused in words, reads go on, nothing is lost, and it recovers."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient, MilvusException
from server import wait_until

pytestmark = pytest.mark.process

DIM = 128
BATCH = 2000


def make(client):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("c", schema=schema, index_params=index, consistency_level="Strong")


def batch(number):
    rng = np.random.default_rng(number)
    vectors = rng.standard_normal((BATCH, DIM)).astype(np.float32)
    return [{"id": number * BATCH + i, "v": vectors[i]} for i in range(BATCH)]


def insert(client, number):
    """None when acknowledged, else the refusal. No retries: the first answer counts."""
    try:
        client.insert("c", batch(number), timeout=30, retry_on_rate_limit=False)
    except MilvusException as refusal:
        return refusal
    return None


def count(client):
    return client.query("c", filter="", output_fields=["count(*)"])[0]["count(*)"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root; run the suite as root to test a full disk")
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(mount)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"this machine cannot mount a tmpfs: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_full_disk_refuses_writes_and_recovers(start_server, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (64 << 20))
    server = start_server(data_dir=small_disk / "data")
    client = MilvusClient(server.uri)
    make(client)
    acknowledged, refusal = 0, None
    for number in range(400):
        refusal = insert(client, number)
        if refusal:
            break
        acknowledged += 1
        if number % 20 == 19:
            try:
                client.flush("c", timeout=30)
            except MilvusException:
                pass  # a flush may be the first to find the disk full; the next insert tells
    assert refusal is not None, f"{acknowledged} batches of 1 MB fitted on a disk of 256 MiB"
    assert re.search(r"(?i)disk|space|storage|quota", refusal.message), refusal
    assert acknowledged > 10
    # Reads go on, and a refused write left nothing.
    for _ in range(3):
        assert insert(client, number) is not None
        assert count(client) == acknowledged * BATCH
        probe = batch(3)[7]
        assert client.search("c", [probe["v"]], limit=1)[0][0]["id"] == probe["id"]
    assert server.running()
    # Space returns: writes do too, without a restart.
    ballast.unlink()
    wait_until("writes are taken again", lambda: insert(client, number) is None, timeout=60, interval=0.5)
    acknowledged += 1
    assert count(client) == acknowledged * BATCH
    client.close()
    # And everything is there after a crash.
    server.kill9()
    server.start()
    client = MilvusClient(server.uri)
    assert count(client) == acknowledged * BATCH
    probe = batch(number)[5]
    assert client.search("c", [probe["v"]], limit=1)[0][0]["id"] == probe["id"]
    client.close()


@pytest.mark.process
def test_a_start_on_a_full_disk_serves_reads(start_server, small_disk):
    server = start_server(data_dir=small_disk / "data")
    client = MilvusClient(server.uri)
    make(client)
    assert insert(client, 0) is None
    client.close()
    server.kill9()
    filler = small_disk / "filler"
    with filler.open("wb") as f:
        try:
            while True:
                f.write(b"\0" * (1 << 20))
        except OSError:
            pass
    server.start()
    client = MilvusClient(server.uri)
    assert count(client) == BATCH
    filler.unlink()
    wait_until("writes are taken", lambda: insert(client, 1) is None, timeout=60, interval=0.5)
    assert count(client) == 2 * BATCH


def anonymous_bytes(server):
    """Memory of the process that no file backs: mapped segments are the page cache's, not ours."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", text).group(1)) * 1024


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_small_memory_budget_holds_and_searches_go_on(start_server):
    server = start_server("--memory-budget", "64MiB")
    client = MilvusClient(server.uri)
    make(client)
    before = anonymous_bytes(server)
    acknowledged, refusals = [], []
    for number in range(200):  # 200 MB of vectors, three times the budget
        refusal = insert(client, number)
        if refusal is None:
            acknowledged.append(number)
        else:
            refusals.append(refusal)
            assert re.search(r"(?i)memory|budget|quota", refusal.message), refusal
        if number % 10 == 9:
            wanted = batch(acknowledged[0])[3]
            assert client.search("c", [wanted["v"]], limit=1)[0][0]["id"] == wanted["id"], "searches go on"
    assert len(acknowledged) >= 20, f"only {len(acknowledged)} batches of 1 MB fitted a budget of 64 MiB"
    assert count(client) == len(acknowledged) * BATCH
    grown = anonymous_bytes(server) - before
    assert grown < 3 * (64 << 20), f"grew by {grown >> 20} MiB under a budget of 64 MiB ({len(refusals)} refusals)"
    # One huge answer is refused or fits; the server stays.
    try:
        client.query("c", filter="id >= 0", output_fields=["v"], limit=16384)
    except MilvusException as refusal:
        assert re.search(r"(?i)memory|budget|quota|large|limit", refusal.message), refusal
    assert server.running()
