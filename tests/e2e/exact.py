"""Exact search in numpy: the scores a client must see, and what counts as the same answer."""

from __future__ import annotations

import ml_dtypes
import numpy as np

#: Whether a larger score is closer.
LARGER_IS_CLOSER = {"L2": False, "IP": True, "COSINE": True, "HAMMING": False, "JACCARD": False}


def scores(base: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    """The score of each base row, as Milvus reports it (L2 is squared). Computed in float64.

    Binary vectors are rows of packed bytes.
    """
    if metric in ("HAMMING", "JACCARD"):
        b = np.unpackbits(base, axis=1).astype(bool)
        q = np.unpackbits(query).astype(bool)
        if metric == "HAMMING":
            return (b != q).sum(1).astype(np.float64)
        union = (b | q).sum(1)
        return np.where(union == 0, 0.0, 1.0 - (b & q).sum(1) / np.maximum(union, 1))
    b = base.astype(np.float64)
    q = query.astype(np.float64)
    if metric == "L2":
        return ((b - q) ** 2).sum(1)
    dots = b @ q
    if metric == "IP":
        return dots
    lengths = np.linalg.norm(b, axis=1) * np.linalg.norm(q)
    return np.where(lengths == 0, 0.0, dots / np.where(lengths == 0, 1.0, lengths))


def sparse_scores(base: list[dict[int, float]], query: dict[int, float]) -> np.ndarray:
    """Inner products of sparse rows; rows that share no index with the query get NaN: they are no hits."""
    out = []
    for row in base:
        shared = row.keys() & query.keys()
        out.append(sum(row[i] * query[i] for i in shared) if shared else np.nan)
    return np.array(out)


def best(all_scores: np.ndarray, metric: str, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """Positions of the k best rows among those allowed, best first; ties by position."""
    order = np.argsort(-all_scores if LARGER_IS_CLOSER[metric] else all_scores, kind="stable")
    order = order[~np.isnan(all_scores[order])]
    if allowed is not None:
        order = order[allowed[order]]
    return order[:k]


def assert_hits(hits, all_scores, metric, k, *, key="id", allowed=None, tolerance=1e-4, key_to_row=lambda key: key):
    """The hits are an exact top-k: right number, right score per key, and no better row left out.

    Rows of equal score may stand for each other, so keys are compared through their scores.
    """
    want = best(all_scores, metric, k, allowed)
    keys = [h[key] for h in hits]
    assert len(keys) == len(set(keys)), f"a key appears twice: {keys}"
    assert len(keys) == len(want), f"{len(keys)} hits, expected {len(want)}"
    scale = max(1.0, float(np.nanmax(np.abs(all_scores))) if len(all_scores) else 1.0)
    for hit, row in zip(hits, want, strict=True):
        mine = key_to_row(hit[key])
        if allowed is not None:
            assert allowed[mine], f"key {hit[key]} does not pass the filter"
        assert abs(hit["distance"] - all_scores[mine]) <= tolerance * scale, (
            f"key {hit[key]}: score {hit['distance']}, exact {all_scores[mine]}"
        )
        assert abs(all_scores[mine] - all_scores[row]) <= tolerance * scale, (
            f"key {hit[key]} has score {all_scores[mine]}, place belongs to {all_scores[row]}"
        )


def recall(found: list[list[int]], truth: list[list[int]]) -> float:
    """Mean share of the true neighbours that were found."""
    shares = [len(set(f) & set(t)) / len(t) for f, t in zip(found, truth, strict=True) if len(t)]
    return float(np.mean(shares))


class DenseKind:
    """How vectors of one dense type are made, sent and compared."""

    def __init__(self, name: str, dim: int, dtype, metrics: tuple[str, ...], tolerance: float):
        self.name = name
        self.dim = dim
        self.dtype = dtype
        self.metrics = metrics
        self.tolerance = tolerance

    def make(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """Random rows; each value is one that the type can hold exactly."""
        if self.name == "BINARY_VECTOR":
            return rng.integers(0, 256, (rows, self.dim // 8), dtype=np.uint8)
        if self.name == "INT8_VECTOR":
            return rng.integers(-128, 128, (rows, self.dim), dtype=np.int8)
        return rng.standard_normal((rows, self.dim)).astype(np.float32).astype(self.dtype)

    def send(self, row: np.ndarray):
        """The row in the form that pymilvus takes."""
        if self.name == "BINARY_VECTOR":
            return row.tobytes()
        if self.name == "FLOAT_VECTOR":
            return row.tolist()
        return row

    def read(self, value) -> np.ndarray:
        """What pymilvus gives back, as a row of our own."""
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], bytes):
            value = value[0]
        if isinstance(value, (bytes, bytearray)):
            return np.frombuffer(value, dtype=np.uint8 if self.name == "BINARY_VECTOR" else self.dtype)
        return np.asarray(value).astype(self.dtype)


DENSE = [
    DenseKind("FLOAT_VECTOR", 16, np.float32, ("L2", "IP", "COSINE"), 1e-5),
    DenseKind("FLOAT16_VECTOR", 16, np.float16, ("L2", "IP", "COSINE"), 2e-3),
    DenseKind("BFLOAT16_VECTOR", 16, ml_dtypes.bfloat16, ("L2", "IP", "COSINE"), 8e-3),
    DenseKind("INT8_VECTOR", 16, np.int8, ("L2", "IP", "COSINE"), 1e-5),
    DenseKind("BINARY_VECTOR", 64, np.uint8, ("HAMMING", "JACCARD"), 1e-6),
]
