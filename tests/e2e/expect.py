"""What a refusal must look like."""

from __future__ import annotations

import contextlib
import re

import pytest
from pymilvus import MilvusException

PARAMETER = 1100
COLLECTION_NOT_FOUND = 100
COLLECTION_NOT_LOADED = 101
PARTITION_NOT_FOUND = 200
INDEX_NOT_FOUND = 700
DATABASE_NOT_FOUND = 800
ALIAS_NOT_FOUND = 1600
ALIAS_NAME_CONFLICT = 1601
ALIAS_EXISTS = 1602


@contextlib.contextmanager
def refused(code: int | tuple[int, ...], pattern: str):
    """The body must raise a MilvusException of one of these codes whose text matches `pattern` (any case)."""
    with pytest.raises(MilvusException) as caught:
        yield caught
    codes = code if isinstance(code, tuple) else (code,)
    error = caught.value
    assert error.code in codes, f"code {error.code} is not one of {codes}: {error.message}"
    assert re.search(pattern, str(error.message), re.IGNORECASE), f"{error.message!r} does not match {pattern!r}"
