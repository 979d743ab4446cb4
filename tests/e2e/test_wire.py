"""The listing of pymilvus' descriptors that our own are compared with is that of the installed pymilvus."""

import subprocess
import sys

from server import PROJECT


def test_the_stored_listing_is_that_of_the_installed_client():
    done = subprocess.run(
        [
            sys.executable,
            str(PROJECT / "tests" / "wire" / "dump_descriptors.py"),
            "--check",
            str(PROJECT / "crates" / "proto" / "testdata" / "pymilvus-3.0.2.descriptors.txt"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
