"""An S3 server: moto's, a process of its own that keeps objects in memory."""

from __future__ import annotations

import sys
from pathlib import Path

import boto3
from botocore.config import Config
from companion import Companion
from server import free_port

BUCKET = "holdfast-e2e"
ACCESS_KEY = "AKIAE2E"
SECRET_KEY = "a-secret-key-of-the-e2e-suite"


class S3(Companion):
    """One server with one bucket; when it stops, all objects are gone."""

    def __init__(self, folder: Path):
        super().__init__("the S3 server", folder / "s3.log")
        self.port = free_port()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> S3:
        """Starts it and makes the bucket."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.launch(command, self.endpoint + "/moto-api/")
        self.client().create_bucket(Bucket=BUCKET)
        return self

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
