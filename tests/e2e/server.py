"""A Holdfast process: started, watched, killed and started again.

Everything the suite believes about the command line of the binary is in this file.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

#: The one line that says the server takes requests, or of a cluster's node that it waits to.
READY = re.compile(r"holdfast (ready|standby) (.*grpc=(?P<grpc>\S+) )?(.*)http=(?P<http>\S+) data=(?P<data>\S+)")


class BinaryMissing(Exception):
    """No built binary was found."""


def find_binary() -> Path:
    """The binary under test: HOLDFAST_BIN, else the newest build under the target directory."""
    named = os.environ.get("HOLDFAST_BIN")
    if named:
        path = Path(named)
        if not path.is_file():
            raise BinaryMissing(f"HOLDFAST_BIN={named} is not a file")
        return path
    target = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
    built = [p for p in (target / "debug" / "holdfast", target / "release" / "holdfast") if p.is_file()]
    if not built:
        raise BinaryMissing(f"no holdfast binary under {target}: run `cargo build`, or set HOLDFAST_BIN")
    return max(built, key=lambda p: p.stat().st_mtime)


def free_port() -> int:
    """A port that nothing listens on just now.

    It lies below those that the system hands to outgoing connections: one of them could take the port of a server
    while that is being restarted.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(what: str, condition, timeout: float = 30.0, interval: float = 0.02):
    """Polls `condition` until it is true and returns its value; fails by name after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(interval)


async def wait_until_async(what: str, condition, timeout: float = 30.0, interval: float = 0.02):
    """`wait_until` for a condition that is awaited."""
    deadline = time.monotonic() + timeout
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        await asyncio.sleep(interval)


class StartFailed(Exception):
    """The process ended, or said nothing in time, before its ready line."""


class Server:
    """One `holdfast standalone` process over one data directory, with fixed ports across restarts."""

    def __init__(self, data_dir: Path, log: Path, *args: str, env: dict[str, str] | None = None, wrapper=()):
        self.data_dir = Path(data_dir)
        self.log = Path(log)
        self.args = list(args)
        self.env = dict(env or {})
        self.wrapper = list(wrapper)
        self.grpc_port = free_port()
        self.http_port = free_port()
        self.process: subprocess.Popen | None = None
        self.ready_line: re.Match | None = None
        self.ready_after: float | None = None
        self._reader: threading.Thread | None = None

    @property
    def grpc_address(self) -> str:
        """host:port of the public API."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def uri(self) -> str:
        """What a client connects to."""
        return f"http://{self.grpc_address}"

    @property
    def http(self) -> str:
        """Base of the health and metrics endpoints."""
        return f"http://127.0.0.1:{self.http_port}"

    def command(self) -> list[str]:
        """The command line."""
        return [
            *self.wrapper,
            str(find_binary()),
            "standalone",
            "--data-dir",
            str(self.data_dir),
            "--grpc-address",
            self.grpc_address,
            "--http-address",
            f"127.0.0.1:{self.http_port}",
            *self.args,
        ]

    def start(self, timeout: float = 30.0) -> Server:
        """Starts the process and waits for its ready line."""
        if self.process is not None:
            raise StartFailed("already running")
        env = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        env.update(self.env)
        began = time.monotonic()
        log = self.log.open("ab")
        log.write(b"--- start\n")
        log.flush()
        self.process = subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=log, env=env, start_new_session=True
        )
        ready = threading.Event()

        def read(stdout, log):
            # Keeps draining after the ready line: a full pipe would stop the server.
            with log:
                for raw in stdout:
                    log.write(raw)
                    log.flush()
                    found = READY.search(raw.decode("utf-8", "replace"))
                    if found and not ready.is_set():
                        self.ready_line = found
                        self.ready_after = time.monotonic() - began
                        ready.set()

        self._reader = threading.Thread(target=read, args=(self.process.stdout, log), daemon=True)
        self._reader.start()
        deadline = began + timeout
        while not ready.wait(0.02):
            code = self.process.poll()
            if code is not None:
                # The line may be in the pipe still: let the reader finish before judging.
                self._reader.join(5)
                self.process = None
                raise StartFailed(f"exited with {code} before it was ready\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill9()
                raise StartFailed(f"not ready within {timeout} s\n{self.tail()}")
        return self

    def start_and_kill_after(self, seconds: float) -> None:
        """Starts the process and kills it before it was asked anything, ready or not."""
        with self.log.open("ab") as log:
            env = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
            env.update(self.env)
            process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=env, start_new_session=True)
        time.sleep(seconds)
        process.kill()
        process.wait(10)

    def _end(self, number: int, timeout: float) -> int:
        process = self.process
        if process is None:
            raise StartFailed("not running")
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            self.process = None
            raise TimeoutError(
                f"did not end within {timeout} s of {signal.Signals(number).name}\n{self.tail()}"
            ) from None
        if self._reader:
            self._reader.join(5)
        self.process = None
        return code

    def kill9(self) -> int:
        """Kills the process at once."""
        return self._end(signal.SIGKILL, 10)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Asks the process to end, waits, and returns its exit code."""
        return self._end(number, timeout)

    def restart(self) -> Server:
        """Ends the process gracefully, if it runs, and starts it again on the same data."""
        if self.process is not None:
            self.stop()
        return self.start()

    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def tail(self, lines: int = 60) -> str:
        """The end of the log."""
        if not self.log.exists():
            return "(no log)"
        text = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join(text[-lines:])

    def get(self, path: str, timeout: float = 5.0) -> tuple[int, str]:
        """Status and body of an HTTP GET; an error status is an answer too."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def resident_bytes(self) -> int:
        """Resident memory of the process, from the kernel."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024


class External:
    """A server that somebody else runs (HOLDFAST_ENDPOINT): a cluster, or an oracle."""

    def __init__(self, uri: str):
        self.uri = uri

    @property
    def grpc_address(self) -> str:
        """host:port of the public API."""
        return self.uri.removeprefix("http://").removeprefix("https://").rstrip("/")

    def tail(self, lines: int = 60) -> str:
        """Nothing: its log is elsewhere."""
        return f"(log of {self.uri} is elsewhere)"


def run_holdfast(*args: str, env: dict[str, str] | None = None, timeout: float = 30.0):
    """Runs the binary to its end and returns the completed process with text output."""
    merged = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    merged.update(env or {})
    return subprocess.run(
        [str(find_binary()), *args], capture_output=True, text=True, env=merged, timeout=timeout, check=False
    )
