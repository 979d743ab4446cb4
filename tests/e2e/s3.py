"""An S3 server: moto's, a process of its own that keeps objects in memory."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config
from server import free_port, wait_until

BUCKET = "holdfast-e2e"
ACCESS_KEY = "AKIAE2E"
SECRET_KEY = "a-secret-key-of-the-e2e-suite"


class S3:
    """One server with one bucket. It outlives every Holdfast process of its test."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.log = folder / "s3.log"
        self.process: subprocess.Popen | None = None

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> S3:
        """Starts it and makes the bucket."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"the S3 server ended\n{self.log.read_text()}")
            try:
                with urllib.request.urlopen(self.endpoint + "/moto-api/", timeout=1):
                    return True
            except OSError:
                return False

        wait_until("the S3 server answers", answers)
        self.client().create_bucket(Bucket=BUCKET)
        return self

    def stop(self) -> None:
        """Ends it; all objects are gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def client(self):
        """A client of another make than the server's."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def names(self, prefix: str = "") -> list[str]:
        """Names of the objects in the bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def env(self, **settings: str) -> dict[str, str]:
        """The environment of a Holdfast process that keeps its objects here."""
        env = {
            "HOLDFAST_STORE__KIND": "s3",
            "HOLDFAST_STORE__S3__BUCKET": BUCKET,
            "HOLDFAST_STORE__S3__ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        env.update({f"HOLDFAST_STORE__S3__{key.upper()}": value for key, value in settings.items()})
        return env
