"""Damaged, truncated, emptied, swapped and missing files of the data directory, as an operator meets them.

Two collections share one data directory. Of the first, the victim, one file is spoiled while the server is
down. Then either the server refuses to start and names the file, or it serves: the other collection answers
everything right, and the victim answers right or with an error that names the file.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from pymilvus import DataType, MilvusClient, MilvusException
from server import Server, StartFailed, wait_until

pytestmark = pytest.mark.process

DIM = 8
VICTIM, OTHER = "damage_victim", "damage_other"
#: What is left after the deletes of `fill`, of keys 0 to 419.
LIVE = range(60, 420)
SETTINGS = {
    "HOLDFAST_WAL__SEGMENT_BYTES": str(256 << 10),
    "HOLDFAST_WAL__RESERVE_BYTES": "0",
    "HOLDFAST_COORDINATOR__INDEX_ROWS_MIN": "64",
}
CORRUPT = 1001


def row(name, i):
    """Rows of the two collections differ, and take the same number of bytes."""
    other = name == OTHER
    vector = [((i * 37 + j * (12 if other else 11)) % 101) / 50 - 1 for j in range(DIM)]
    return {"id": i, "v": vector, "n": (i + other) % 7, "s": f"{'book' if other else 'text'} {i}"}


def fill(client, name):
    """Flushed segments, a delete log, indexes, and rows and deletes that are in the log only."""
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("n", DataType.INT64)
    schema.add_field("s", DataType.VARCHAR, max_length=40)
    index = client.prepare_index_params()
    index.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    index.add_index("n", index_type="INVERTED")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [row(name, i) for i in range(300)])
    client.flush(name)
    client.delete(name, ids=list(range(50)))
    client.insert(name, [row(name, i) for i in range(300, 400)])
    client.flush(name)
    client.delete(name, ids=list(range(50, 60)))
    client.insert(name, [row(name, i) for i in range(400, 420)])


def assert_right(client, name):
    """Count, rows, a filter over an index and an exact search say what they must."""
    rows = {i: row(name, i) for i in LIVE}
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == len(rows)
    found = client.query(name, filter="id >= 0", output_fields=["id", "v", "n", "s"], limit=1000)
    assert sorted(r["id"] for r in found) == list(LIVE)
    for got in found:
        want = rows[got["id"]]
        assert (got["n"], got["s"]) == (want["n"], want["s"])
        assert got["v"] == pytest.approx(want["v"], abs=1e-6)
    found = client.query(name, filter="n == 3", output_fields=["id"], limit=1000)
    assert sorted(r["id"] for r in found) == [i for i, r in rows.items() if r["n"] == 3]
    query = [0.1] * DIM
    (hits,) = client.search(name, [query], limit=10, search_params={"params": {"ef": 400}})
    nearest = sorted(sum((a - b) ** 2 for a, b in zip(query, r["v"], strict=True)) for r in rows.values())
    assert [h["distance"] for h in hits] == pytest.approx(nearest[:10], abs=1e-4)


class Whole:
    """A data directory that was filled and closed, and the object folders of its collections."""

    def __init__(self, data: Path, victim: int, other: int):
        self.data, self.victim, self.other = data, victim, other


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    server = Server(folder / "data", folder / "log", env=SETTINGS).start()
    client = MilvusClient(server.uri)
    for name in (VICTIM, OTHER):
        fill(client, name)

    def indexed():
        progress = [client.describe_index(name, index) for name in (VICTIM, OTHER) for index in ("v", "n")]
        return all(p["pending_index_rows"] == 0 for p in progress)

    wait_until("all segments are indexed", indexed)
    ids = []
    for name in (VICTIM, OTHER):
        assert_right(client, name)
        ids.append(client.describe_collection(name)["collection_id"])
    client.close()
    assert server.stop() == 0
    return Whole(folder / "data", *ids)


# --- which file ----------------------------------------------------------------------------------------

FILES = {
    "log": "wal/channel-0/0*.wal",
    "epoch": "wal/channel-0/epoch",
    "metadata": "meta.redb",
    "manifest": "objects/man/{}/0/*",
    "delete log": "objects/del/{}/0/*",
    "columns": "objects/data/{}/0/*/columns.arrow",
    "vectors": "objects/data/{}/0/*/vector-*.arrow",
    "keys": "objects/data/{}/0/*/keys",
    "deletes": "objects/data/{}/0/*/deletes",
    "index": "objects/idx/{}/0/*",
}


def newest(data: Path, kind: str, collection: int) -> Path:
    """The last of the files by name: the newest manifest and log file; any segment will do."""
    return sorted(data.glob(FILES[kind].format(collection)))[-1]


# --- what happens to it --------------------------------------------------------------------------------


def flip(place):
    """Turns one bit. `place` is a fraction of what is not trailing zeros."""

    def damage(path, _twin):
        content = bytearray(path.read_bytes())
        content[int(place * (len(content.rstrip(b"\0")) - 1))] ^= 0x40
        path.write_bytes(content)

    return damage


def cut(fraction):
    def damage(path, _twin):
        content = path.read_bytes()
        path.write_bytes(content[: min(len(content) - 1, int(len(content) * fraction))])

    return damage


def empty(path, _twin):
    path.write_bytes(b"")


def noise(path, _twin):
    path.write_bytes(bytes((i * 167 + 13) % 251 for i in range(path.stat().st_size)))


def swap(path, twin):
    """The same file of the other collection: whole, and often of the same size."""
    shutil.copy(twin, path)


def gone(path, _twin):
    path.unlink()


#: The server must not start. The reason names the file, and for damage within it the place.
REFUSED, NAMED = "refused, with the place", "refused"
#: The server starts. The victim's reads fail with the file's name, and for damage within it the place.
FAILS, FAILS_NAMED = "reads fail, with the place", "reads fail"
#: Nothing is lost by this.
RIGHT = "right"

# fmt: off
TABLE = [
    ("log", "first byte", flip(0), REFUSED),
    ("log", "a byte in the middle", flip(0.5), REFUSED),
    ("log", "half of it", cut(0.5), REFUSED),
    ("log", "one byte short", cut(1), REFUSED),
    ("log", "empty", empty, REFUSED),
    ("log", "noise", noise, REFUSED),
    ("log", "gone", gone, REFUSED),
    ("epoch", "one copy", flip(0), RIGHT),
    ("epoch", "half of it", cut(0.5), REFUSED),
    ("epoch", "empty", empty, REFUSED),
    ("epoch", "noise", noise, REFUSED),
    ("metadata", "first byte", flip(0), NAMED),
    ("metadata", "half of it", cut(0.5), NAMED),
    ("metadata", "one byte short", cut(1), NAMED),
    ("metadata", "empty", empty, NAMED),
    ("metadata", "noise", noise, NAMED),
    ("metadata", "gone", gone, NAMED),
    ("manifest", "a byte in the middle", flip(0.5), FAILS_NAMED),
    ("manifest", "half of it", cut(0.5), FAILS_NAMED),
    ("manifest", "empty", empty, FAILS_NAMED),
    ("manifest", "swapped", swap, FAILS_NAMED),
    ("manifest", "gone", gone, FAILS_NAMED),
    ("delete log", "a byte in the middle", flip(0.5), FAILS_NAMED),
    ("delete log", "half of it", cut(0.5), FAILS_NAMED),
    ("delete log", "empty", empty, FAILS_NAMED),
    ("delete log", "swapped", swap, FAILS_NAMED),
    ("delete log", "gone", gone, FAILS_NAMED),
    *((kind, what, damage, expect)
      for kind in ("columns", "vectors", "keys", "deletes", "index")
      for what, damage, expect in [
          ("first byte", flip(0), FAILS),
          ("a byte in the middle", flip(0.5), FAILS),
          ("half of it", cut(0.5), FAILS_NAMED),
          ("one byte short", cut(1), FAILS_NAMED),
          ("empty", empty, FAILS_NAMED),
          ("noise", noise, FAILS),
          ("gone", gone, FAILS_NAMED),
      ]),
    ("columns", "swapped", swap, FAILS_NAMED),
    ("vectors", "swapped", swap, FAILS_NAMED),
    ("index", "swapped", swap, FAILS_NAMED),
    # These hold the same keys, and nothing was deleted when they were written.
    ("keys", "swapped", swap, RIGHT),
    ("deletes", "swapped", swap, RIGHT),
]
# fmt: on


def assert_names(text, path, data, place):
    """The text says which file, and where in it if that can be said."""
    name = path.relative_to(data / "objects") if path.is_relative_to(data / "objects") else path.relative_to(data)
    assert str(name) in text, text
    if place:
        assert re.search(r"byte \d+", text), text
    assert not re.search(r"panick|\.rs:\d|unwrap|thread '", text), text


@pytest.mark.parametrize(
    ("kind", "damage", "expect"),
    [(kind, damage, expect) for kind, _, damage, expect in TABLE],
    ids=[f"{kind}: {what}" for kind, what, _, _ in TABLE],
)
def test_a_spoiled_file_is_named_and_never_believed(whole, start_server, tmp_path, kind, damage, expect):
    data = tmp_path / "data"
    shutil.copytree(whole.data, data)
    path = newest(data, kind, whole.victim)
    damage(path, newest(data, kind, whole.other))
    server = start_server(data_dir=data, env=SETTINGS, ready=False)
    if expect in (REFUSED, NAMED):
        # Twice: a failed start must not pave the way for the next.
        for _ in range(2):
            with pytest.raises(StartFailed) as refused:
                server.start()
            assert "exited with 1" in str(refused.value)
            (reason,) = re.findall(r"^holdfast: .*", str(refused.value), re.MULTILINE)[-1:]
            assert_names(reason, path, data, expect == REFUSED)
        return
    server.start()
    client = MilvusClient(server.uri)
    assert_right(client, OTHER)
    if expect == RIGHT:
        assert_right(client, VICTIM)
    else:
        for ask in (
            lambda: client.query(VICTIM, output_fields=["count(*)"]),
            lambda: client.query(VICTIM, filter="id >= 0", output_fields=["*"], limit=1000),
            lambda: client.search(VICTIM, [[0.1] * DIM], limit=10),
        ):
            with pytest.raises(MilvusException) as failed:
                ask()
            assert failed.value.code == CORRUPT, failed.value
            assert_names(failed.value.message, path, data, expect == FAILS)
        # It can be given up, and the rest does not notice.
        client.drop_collection(VICTIM)
    client.insert(OTHER, [row(OTHER, 420)])
    client.flush(OTHER)
    assert client.query(OTHER, output_fields=["count(*)"])[0]["count(*)"] == len(LIVE) + 1
    client.close()
    assert server.stop() == 0
    assert "panicked" not in server.log.read_text()


def test_nothing_of_a_collection_with_a_damaged_manifest_is_lost(whole, start_server, tmp_path):
    """It is refused with the reason and what to do, all else goes on, and with its file back it is whole."""
    data = tmp_path / "data"
    shutil.copytree(whole.data, data)
    path = newest(data, "manifest", whole.victim)
    content = path.read_bytes()
    noise(path, path)

    def objects():
        folders = ("man", "data", "del", "idx")
        return sorted(p for f in folders for p in (data / "objects" / f / str(whole.victim)).rglob("*") if p.is_file())

    before = objects()
    assert len(before) > 5
    eager = {
        "HOLDFAST_COORDINATOR__GC_PERIOD": "200ms",
        "HOLDFAST_COORDINATOR__GC_GRACE": "1s",
        "HOLDFAST_STREAM_NODE__LINGER": "100ms",
    }
    server = start_server(data_dir=data, env=SETTINGS | eager)
    client = MilvusClient(server.uri)
    name = str(path.relative_to(data / "objects"))
    status, said = server.get("/readyz")
    assert status == 200 and f"{whole.victim}/0" in said and name in said
    assert re.search(r"^holdfast_damaged_shards 1$", server.get("/metrics")[1], re.MULTILINE)
    for ask in (
        lambda: client.insert(VICTIM, [row(VICTIM, 500)]),
        lambda: client.upsert(VICTIM, [row(VICTIM, 100)]),
        lambda: client.delete(VICTIM, ids=[100]),
        lambda: client.query(VICTIM, filter="id == 100"),
        lambda: client.search(VICTIM, [[0.1] * DIM], limit=10),
        lambda: client.flush(VICTIM),
        lambda: client.compact(VICTIM),
    ):
        with pytest.raises(MilvusException) as failed:
            ask()
        assert failed.value.code == CORRUPT, failed.value
        assert name in failed.value.message
    assert "put the file back" in failed.value.message or "damaged" in failed.value.message
    # Enough that the log begins new files, is flushed, and could be trimmed.
    for i in range(30):
        client.upsert(OTHER, [row(OTHER, 1000 + j) | {"s": f"{i} {j}"} for j in range(300)])
        if i % 10 == 9:
            client.flush(OTHER)
    wait_until("objects are collected", lambda: "unreachable objects deleted" in server.log.read_text(), timeout=60)
    assert objects() == before
    client.delete(OTHER, filter="id >= 1000")
    assert_right(client, OTHER)
    client.close()
    assert server.stop() == 0
    path.write_bytes(content)
    server = start_server(data_dir=data, env=SETTINGS)
    client = MilvusClient(server.uri)
    assert server.get("/readyz") == (200, "ready\n")
    for collection in (VICTIM, OTHER):
        assert_right(client, collection)
    client.close()
    assert server.stop() == 0


def test_a_damaged_index_is_built_anew(whole, start_server, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(whole.data, data)
    for path in data.glob(FILES["index"].format(whole.victim)):
        noise(path, path)
    server = start_server(data_dir=data, env=SETTINGS)
    client = MilvusClient(server.uri)
    with pytest.raises(MilvusException):
        assert_right(client, VICTIM)
    client.release_collection(VICTIM)
    for index in ("v", "n"):
        client.drop_index(VICTIM, index)
    index = client.prepare_index_params()
    index.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.create_index(VICTIM, index)
    client.load_collection(VICTIM)
    assert_right(client, VICTIM)
    client.close()


def test_a_log_that_lost_its_records_does_not_give_their_positions_out_again(whole, start_server, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(whole.data, data)
    shutil.rmtree(data / "wal")
    server = start_server(data_dir=data, env=SETTINGS, ready=False)
    for _ in range(2):
        with pytest.raises(StartFailed) as refused:
            server.start()
        assert re.search(r"holdfast: .*the log of channel 0 ends at record 0, but shard", str(refused.value))
