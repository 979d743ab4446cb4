"""A cluster on one machine: etcd, an S3 server, log-nodes and servers, each a process of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from companion import Companion
from s3 import S3
from server import Server, find_binary, free_port, wait_until


class Etcd(Companion):
    """One member of etcd, the whole of its cluster."""

    def __init__(self, folder: Path):
        super().__init__("etcd", folder / "etcd.log")
        self.data_dir = folder / "etcd"
        self.client_port = free_port()
        self.peer_port = free_port()

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.client_port}"

    def start(self) -> Etcd:
        """Starts it and waits until it is healthy."""
        binary = shutil.which("etcd")
        assert binary, "etcd is not installed (Debian: etcd-server)"
        peer = f"http://127.0.0.1:{self.peer_port}"
        command = [
            binary,
            "--name=m1",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=m1={peer}",
        ]
        self.launch(command, self.endpoint + "/health", lambda body: b"true" in body)
        return self


class Node(Server):
    """One `holdfast server` process."""

    def __init__(self, cluster: Cluster, name: str, zone: str, roles: str, *args: str):
        # The machine's disk may be nearly full; that is not what is tested here.
        roomy = {"HOLDFAST_LOG_NODE__LITTLE_PERCENT": "0", "HOLDFAST_LOG_NODE__FULL_PERCENT": "0"}
        super().__init__(cluster.folder / name, cluster.folder / f"{name}.log", *args, env=cluster.s3.env() | roomy)
        self.etcd = cluster.etcd.endpoint
        self.name, self.zone, self.roles = name, zone, roles
        self.log_port = free_port()

    def command(self) -> list[str]:
        """The command line."""
        command = [
            str(find_binary()),
            "server",
            *("--roles", self.roles),
            *("--node", self.name),
            *("--zone", self.zone),
            *("--etcd", self.etcd),
            *("--data-dir", str(self.data_dir)),
            *("--http-address", f"127.0.0.1:{self.http_port}"),
        ]
        if self.roles in ("log-node", "all"):
            command += ["--log-node-address", f"127.0.0.1:{self.log_port}"]
        if self.roles != "log-node":
            command += ["--grpc-address", self.grpc_address]
        return command + self.args

    def state(self) -> str:
        """What its readiness says: `ready`, or why not."""
        try:
            return self.get("/readyz", timeout=2)[1].strip().removeprefix("not ready: ")
        except OSError as gone:
            return f"gone: {gone}"


SERVING = "proxy,coordinator,stream-node,query-node,worker"


class Cluster:
    """etcd, an S3 server, three log-nodes in three zones, and two servers of which one serves."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.etcd = Etcd(folder)
        self.s3 = S3(folder)
        self.logs: list[Node] = []
        self.servers: list[Node] = []

    def start(self) -> Cluster:
        """Starts everything and waits until one server serves and the other stands by."""
        self.etcd.start()
        self.s3.start()
        self.logs = [Node(self, f"log-{n}", f"zone-{n}", "log-node") for n in (1, 2, 3)]
        self.servers = [Node(self, f"server-{n}", f"zone-{n}", SERVING) for n in (1, 2)]
        for node in self.logs + self.servers:
            node.start()
        wait_until("one serves, one stands by", lambda: self.states() == ["ready", "standing by"], timeout=60)
        return self

    def states(self) -> list[str]:
        """What the servers say of themselves, sorted."""
        return sorted(server.state() for server in self.servers)

    def active(self, timeout: float = 60) -> Node:
        """The server that serves, as soon as one does."""

        def find():
            return next((s for s in self.servers if s.running() and s.state() == "ready"), None)

        return wait_until("a server serves", find, timeout)

    def tail(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {node.name}\n{node.tail(25)}" for node in self.logs + self.servers)

    def stop(self) -> None:
        """Kills everything, and removes its data: log-nodes set aside about 0.8 GB each. The logs stay."""
        for node in self.servers + self.logs:
            if node.running():
                node.kill9()
        self.s3.stop()
        self.etcd.stop()
        for folder in [*(node.data_dir for node in self.servers + self.logs), self.etcd.data_dir]:
            shutil.rmtree(folder, ignore_errors=True)
