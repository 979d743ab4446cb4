"""The process itself: start, ready line, health, configuration, one owner of a directory, graceful end."""

import json
import os
import re
import signal
import subprocess
import tomllib

import pytest
from conftest import simple_rows
from pymilvus import MilvusClient
from server import StartFailed, find_binary, run_holdfast, wait_until

pytestmark = pytest.mark.process


def test_it_is_ready_within_two_seconds_on_an_empty_directory(start_server):
    server = start_server()
    assert server.ready_after < 2.0, f"ready after {server.ready_after:.2f} s"
    assert server.ready_line["grpc"].endswith(f":{server.grpc_port}")
    assert server.ready_line["http"].endswith(f":{server.http_port}")
    assert server.ready_line["data"] == str(server.data_dir)


def test_health_readiness_metrics_and_version_answer(start_server):
    server = start_server()
    assert server.get("/healthz")[0] == 200
    assert server.get("/readyz")[0] == 200
    assert server.get("/no/such/path")[0] == 404
    status, version = server.get("/version")
    assert status == 200
    assert re.search(r"\d+\.\d+\.\d+", version)
    client = MilvusClient(server.uri)
    client.create_collection("c", dimension=4)
    client.insert("c", [{"id": 1, "vector": [1, 2, 3, 4]}])
    client.search("c", [[1, 2, 3, 4]])
    client.close()
    status, metrics = server.get("/metrics")
    assert status == 200
    line = re.compile(r'[a-zA-Z_:][\w:]*(\{([a-zA-Z_]\w*="(\\.|[^"\\])*",?)*\})? (NaN|[+-]?Inf|[-+0-9.eE]+)( \d+)?')
    samples = [text for text in metrics.splitlines() if text and not text.startswith("#")]
    assert samples
    assert all(line.fullmatch(text) for text in samples)
    assert any(text.startswith("holdfast_") for text in samples)


def test_a_second_process_on_the_same_data_is_refused(start_server):
    first = start_server(name="first")
    with pytest.raises(StartFailed) as caught:
        start_server(name="second", data_dir=first.data_dir)
    assert re.search(r"(?i)(in use|lock|another|already)", str(caught.value)), caught.value
    assert str(first.data_dir) in str(caught.value), "the refusal names the directory"
    assert MilvusClient(first.uri).list_databases() == ["default"], "the first one is not disturbed"
    first.kill9()
    start_server(name="third", data_dir=first.data_dir)


def test_a_taken_port_is_refused_by_address(start_server):
    first = start_server(name="first")
    second = start_server(name="second", ready=False)
    second.grpc_port = first.grpc_port
    with pytest.raises(StartFailed, match=f"{first.grpc_port}"):
        second.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_gracefully_and_keeps_everything(start_server, number):
    server = start_server()
    client = MilvusClient(server.uri)
    client.create_collection("c", dimension=4, metric_type="L2", consistency_level="Strong")
    client.insert("c", [{"id": r["id"], "vector": r["vector"]} for r in simple_rows(range(500))])
    client.close()
    assert server.stop(number) == 0
    server.start()
    client = MilvusClient(server.uri)
    assert client.query("c", filter="", output_fields=["count(*)"])[0]["count(*)"] == 500


def test_logs_can_be_json(start_server):
    server = start_server("--log-format", "json")
    server.stop()
    lines = [t for t in server.log.read_text().splitlines() if t and not t.startswith(("---", "holdfast ready"))]
    assert lines, "something is logged at the usual level"
    for text in lines:
        entry = json.loads(text)
        assert {"timestamp", "level"} <= set(entry)


def test_a_quiet_run_logs_no_warning(start_server):
    server = start_server("--log-format", "json")
    client = MilvusClient(server.uri)
    client.create_collection("c", dimension=4, consistency_level="Strong")
    client.insert("c", [{"id": i, "vector": [i, 1, 1, 1]} for i in range(100)])
    client.flush("c")
    client.search("c", [[1, 1, 1, 1]])
    client.drop_collection("c")
    client.close()
    server.stop()
    loud = [t for t in server.log.read_text().splitlines() if re.search(r'"level":"(WARN|ERROR)"', t)]
    assert not loud, "\n".join(loud)


def test_the_configuration_is_shown_and_can_be_read_back(tmp_path):
    shown = run_holdfast("config", "show")
    assert shown.returncode == 0, shown.stderr
    assert tomllib.loads(shown.stdout)
    file = tmp_path / "holdfast.toml"
    file.write_text(shown.stdout)
    checked = run_holdfast("config", "check", "--config", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_file_the_environment_and_the_flags_each_override_what_comes_before(tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text('grpc_address = "127.0.0.1:1001"\nhttp_address = "127.0.0.1:1002"\n[log]\nformat = "json"\n')
    environment = {"HOLDFAST_GRPC_ADDRESS": "127.0.0.1:2001", "HOLDFAST_LOG__FORMAT": "text"}

    def shown(*flags, env=None):
        answer = run_holdfast("config", "show", *flags, env=env)
        assert answer.returncode == 0, answer.stderr
        values = tomllib.loads(answer.stdout)
        return values["grpc_address"], values["http_address"], values["log"]["format"]

    default = shown()
    assert default[:2] == ("127.0.0.1:19530", "127.0.0.1:9091")
    from_file = ("--config", str(file))
    assert shown(*from_file) == ("127.0.0.1:1001", "127.0.0.1:1002", "json")
    assert shown(*from_file, env=environment) == ("127.0.0.1:2001", "127.0.0.1:1002", "text")
    flag = ("--grpc-address", "127.0.0.1:3001")
    assert shown(*from_file, *flag, env=environment) == ("127.0.0.1:3001", "127.0.0.1:1002", "text")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("no_such_key = 1\n", "no_such_key"),
        ("[no_such_table]\nx = 1\n", "no_such_table"),
        ("this is not toml", r"holdfast\.toml|toml"),
        ("grpc_address = 12\n", "grpc_address"),
        ('grpc_address = "not an address"\n', "grpc_address|not an address"),
    ],
    ids=["unknown key", "unknown table", "not TOML", "wrong type", "wrong value"],
)
def test_a_wrong_configuration_is_refused_by_key(tmp_path, text, pattern):
    file = tmp_path / "holdfast.toml"
    file.write_text(text)
    for command in (
        ("config", "check", "--config", str(file)),
        ("standalone", "--config", str(file), "--data-dir", str(tmp_path / "d")),
    ):
        refused = run_holdfast(*command)
        assert refused.returncode != 0
        assert re.search(pattern, refused.stderr + refused.stdout), refused.stderr + refused.stdout
    assert not (tmp_path / "d").exists() or not any((tmp_path / "d").iterdir()), "nothing was started"


def test_an_unknown_environment_key_is_refused():
    refused = run_holdfast("config", "check", env={"HOLDFAST_NO_SUCH_KEY": "1"})
    assert refused.returncode != 0
    assert re.search("no_such_key", refused.stderr + refused.stdout, re.IGNORECASE)


def test_the_data_directory_must_be_writable(start_server, tmp_path):
    blocked = tmp_path / "a_file"
    blocked.write_text("in the way")
    with pytest.raises(StartFailed, match="a_file"):
        start_server(data_dir=blocked)


def test_stdout_may_be_closed(tmp_path, start_server):
    # A supervisor that goes away must not take the server with it.
    server = start_server(ready=False)
    env = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    process = subprocess.Popen(
        [str(find_binary()), *server.command()[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    )
    try:
        process.stdout.close()
        wait_until("it answers", lambda: _answers(server))
        client = MilvusClient(server.uri)
        client.create_collection("c", dimension=2)
        assert client.list_collections() == ["c"]
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(10)


def _answers(server):
    try:
        return server.get("/readyz")[0] == 200
    except OSError:
        return False
