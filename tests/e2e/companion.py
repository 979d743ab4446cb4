"""A server of somebody else that a test runs beside Holdfast, in a process of its own."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

from server import wait_until


class Companion:
    """One process, with its output in a file. It outlives every Holdfast process of its test."""

    def __init__(self, name: str, log: Path):
        self.name = name
        self.log = log
        self.process: subprocess.Popen | None = None

    def launch(self, command: list[str], url: str, healthy: Callable[[bytes], bool] = lambda body: True) -> None:
        """Starts it and waits until `url` answers something healthy."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

        def answers():
            assert self.process.poll() is None, f"{self.name} ended\n{self.log.read_text('utf-8', 'replace')[-2000:]}"
            try:
                with urllib.request.urlopen(url, timeout=1) as answer:
                    return healthy(answer.read())
            except OSError:
                return False

        wait_until(f"{self.name} is healthy", answers, timeout=60)

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None
