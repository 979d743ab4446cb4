"""Objects in a bucket: what a server keeps there, how it comes back, and what it says when it cannot."""

import json
import shutil

import numpy as np
import pytest
from exact import assert_hits, scores
from pymilvus import DataType, MilvusClient
from s3 import ACCESS_KEY, BUCKET, S3, SECRET_KEY
from server import StartFailed, run_holdfast, wait_until

pytestmark = pytest.mark.process

DIM = 8
ROWS = 3000


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """The S3 server of this file; each test has a prefix of its own."""
    server = S3(tmp_path_factory.mktemp("s3"))
    try:
        yield server.start()
    finally:
        server.stop()


def test_flushed_rows_come_back_from_the_bucket_after_a_kill_and_with_an_empty_cache(s3, start_server):
    server = start_server(env=s3.env(prefix="e2e/kill"))
    client = MilvusClient(server.uri)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("n", DataType.INT64)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.create_collection("c", schema=schema, index_params=index, consistency_level="Strong")
    vectors = np.random.default_rng(7).random((ROWS, DIM), dtype=np.float32)
    rows = [{"id": i, "vector": v.tolist(), "n": i % 10} for i, v in enumerate(vectors)]
    client.insert("c", rows[:2000])
    client.flush("c")
    client.delete("c", ids=list(range(0, 2000, 100)))
    client.insert("c", rows[2000:2500])
    client.flush("c")
    client.insert("c", rows[2500:])
    alive = np.ones(ROWS, dtype=bool)
    alive[0:2000:100] = False

    def check(client):
        count = client.query("c", filter="", output_fields=["count(*)"])[0]["count(*)"]
        assert count == alive.sum()
        for at in (5, 1999, 2300, 2999):
            hits = client.search("c", [vectors[at].tolist()], limit=10, filter="n >= 0", search_params={"ef": 400})[0]
            assert_hits(hits, scores(vectors, vectors[at], "L2"), "L2", 10, allowed=alive)
        some = client.query("c", filter="n == 3 && id < 400", output_fields=["id"])
        assert sorted(r["id"] for r in some) == [i for i in range(400) if i % 10 == 3 and alive[i]]

    check(client)
    stored = s3.names("e2e/kill/data/")
    assert len(stored) >= 6, stored
    assert not (server.data_dir / "objects").exists(), "no object is kept in the data directory"
    client.close()
    server.kill9()
    shutil.rmtree(server.data_dir / "cache")
    server.start()
    client = MilvusClient(server.uri)
    wait_until("the collection is loaded", lambda: client.get_load_state("c")["state"].name == "Loaded")
    check(client)
    # A second start finds the copies of the first.
    client.close()
    server.restart()
    client = MilvusClient(server.uri)
    wait_until("the collection is loaded", lambda: client.get_load_state("c")["state"].name == "Loaded")
    check(client)
    client.close()


def test_a_bucket_of_another_cluster_is_refused(s3, start_server):
    start_server(name="first", env=s3.env(prefix="e2e/owned")).stop()
    with pytest.raises(StartFailed, match="belongs to cluster"):
        start_server(name="second", env=s3.env(prefix="e2e/owned"))
    # Its own prefix is enough.
    start_server(name="third", env=s3.env(prefix="e2e/own")).stop()


@pytest.mark.parametrize(
    ("change", "expect"),
    [
        ({"HOLDFAST_STORE__S3__BUCKET": "no-such-bucket"}, "there is no bucket"),
        ({"HOLDFAST_STORE__S3__ENDPOINT": "http://127.0.0.1:1"}, "cannot be reached"),
        ({"HOLDFAST_STORE__S3__BUCKET": ""}, "store: s3: bucket"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "no secret key"),
    ],
)
def test_a_bucket_that_cannot_be_used_stops_the_start_with_a_sentence(s3, start_server, change, expect):
    env = s3.env(prefix="e2e/wrong", retries_max="1") | change
    with pytest.raises(StartFailed) as caught:
        start_server(env=env)
    assert expect in str(caught.value), caught.value
    assert SECRET_KEY not in str(caught.value)


def test_the_check_says_what_the_bucket_can_do_and_leaves_nothing(s3):
    checked = run_holdfast("store", "check", env=s3.env(prefix="e2e/check"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Holdfast can use this bucket" in checked.stdout
    assert "NO" not in checked.stdout, checked.stdout
    answer = json.loads(run_holdfast("store", "check", "--json", env=s3.env(prefix="e2e/check")).stdout)
    assert answer["suffices"] is True
    assert len(answer["findings"]) == 10
    assert s3.names("e2e/check") == []
    missing = run_holdfast("store", "check", env=s3.env() | {"HOLDFAST_STORE__S3__BUCKET": "no-such-bucket"})
    assert missing.returncode == 1
    assert "there is no bucket" in missing.stdout
    local = run_holdfast("store", "check")
    assert local.returncode == 1
    assert "no bucket to check" in local.stderr


def test_no_secret_is_shown_or_logged(s3, start_server, tmp_path):
    shown = run_holdfast("config", "show", env=s3.env())
    assert BUCKET in shown.stdout
    assert SECRET_KEY not in shown.stdout and ACCESS_KEY not in shown.stdout
    profiles = tmp_path / "credentials"
    profiles.write_text(f"[e2e]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    env = s3.env(prefix="e2e/profile", credentials_file=str(profiles), profile="e2e")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del env[name]
    server = start_server("--log-filter", "debug", env=env)
    client = MilvusClient(server.uri)
    client.create_collection("c", dimension=4)
    client.insert("c", [{"id": 1, "vector": [1, 2, 3, 4]}])
    client.flush("c")
    client.close()
    server.stop()
    assert s3.names("e2e/profile/data/"), "the profile's credentials are used"
    log = server.log.read_text()
    assert SECRET_KEY not in log and ACCESS_KEY not in log
