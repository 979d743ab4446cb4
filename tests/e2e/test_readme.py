"""The session in the README prints what the README says."""

import re
import subprocess
import sys

import pytest
from server import PROJECT

pytestmark = pytest.mark.process


def test_the_session_prints_what_is_written(start_server, tmp_path):
    text = (PROJECT / "README.md").read_text()
    session = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", text, re.DOTALL)
    assert session, "the README has a Python session and its output"
    server = start_server()
    script = tmp_path / "session.py"
    written = "http://127.0.0.1:19530"
    assert written in session[1]
    script.write_text(session[1].replace(written, server.uri))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == session[2].strip()
