"""Loads real sentence embeddings into Holdfast, searches them with and without filters, and measures.

    python examples/real_embeddings.py [--uri http://127.0.0.1:19530] [--data FOLDER]

The folder holds

    base_f16.npy          rows x dim, float16 or float32: the vectors to store
    query_f32.npy         queries x dim: the vectors to search with
    attributes.parquet    a row per vector: the fields to filter by

By default it is `data` in a folder `shared` beside the project. To bring your own: save two arrays with
numpy.save, and a table with pyarrow or pandas whose rows follow the order of the vectors; name the
folder with --data. A column `id`, if there is one, must be the row number. Integer, float, boolean and
text columns become fields. The filters are made from your columns: those that keep about 50 %, 10 % and
1 % of the rows.

The exact answers are computed here with numpy, so the recall that is printed is not the server's word.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pymilvus import DataType, MilvusClient

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
COLLECTION = "real_embeddings"
TOP_K = 10
EF = 128
BATCH = 2000


class NoData(Exception):
    """The folder does not hold what the example needs."""


@dataclasses.dataclass
class Input:
    """What is stored and what is asked: normalised float32 vectors and the columns to filter by."""

    base: np.ndarray
    queries: np.ndarray
    columns: dict[str, list]
    types: dict[str, pa.DataType]


@dataclasses.dataclass
class Measured:
    """One line of the report."""

    filter: str
    kept: float
    recall: float
    queries_per_second: float
    parallel_queries_per_second: float


def normalised(array: np.ndarray) -> np.ndarray:
    """As float32 rows of length one: stored halves are off by up to 1e-4 otherwise."""
    array = np.asarray(array, dtype=np.float32)
    if array.ndim != 2:
        raise NoData(f"vectors must be a table of rows x dim, not of shape {array.shape}")
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return array / np.where(lengths == 0, 1, lengths)


def load(folder: Path) -> Input:
    """Reads the three files."""
    missing = [f for f in ("base_f16.npy", "query_f32.npy", "attributes.parquet") if not (folder / f).is_file()]
    if missing:
        raise NoData(
            f"{folder} has no {', '.join(missing)}: see the head of {Path(__file__).name} for bringing your own"
        )
    base = normalised(np.load(folder / "base_f16.npy"))
    queries = normalised(np.load(folder / "query_f32.npy"))
    table = pq.read_table(folder / "attributes.parquet")
    if table.num_rows != len(base):
        raise NoData(f"{len(base)} vectors but {table.num_rows} rows of attributes")
    columns, types = {}, {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if name == "id":
            if column.to_pylist() != list(range(len(base))):
                raise NoData("column id must be the row number")
            continue
        columns[name] = column.to_pylist()
        types[name] = column.type
    return Input(base, queries, columns, types)


def field_of(kind: pa.DataType) -> tuple[DataType, dict]:
    """The Milvus type of a Parquet column."""
    if pa.types.is_boolean(kind):
        return DataType.BOOL, {}
    if pa.types.is_integer(kind):
        return DataType.INT64, {}
    if pa.types.is_floating(kind):
        return DataType.DOUBLE, {}
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return DataType.VARCHAR, {"max_length": 1024}
    raise NoData(f"a column of type {kind} has no field type here: drop it or convert it")


def store(client: MilvusClient, data: Input, collection: str) -> tuple[float, float]:
    """Creates the collection, inserts everything, and waits for the index. Seconds of each."""
    if client.has_collection(collection):
        client.drop_collection(collection)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=data.base.shape[1])
    index = client.prepare_index_params()
    index.add_index("embedding", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
    for name, kind in data.types.items():
        data_type, options = field_of(kind)
        schema.add_field(name, data_type, nullable=True, **options)
        index.add_index(name, index_type="INVERTED")
    client.create_collection(collection, schema=schema, index_params=index, consistency_level="Strong")
    began = time.perf_counter()
    for start in range(0, len(data.base), BATCH):
        rows = [
            {"id": i, "embedding": data.base[i], **{name: values[i] for name, values in data.columns.items()}}
            for i in range(start, min(start + BATCH, len(data.base)))
        ]
        client.insert(collection, rows)
    inserted = time.perf_counter()
    client.flush(collection)
    deadline = time.monotonic() + 1800
    while True:
        state = client.describe_index(collection, "embedding")
        if state["pending_index_rows"] == 0 and state["total_rows"] >= len(data.base):
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"the index is not built: {state}")
        time.sleep(0.2)
    client.refresh_load(collection)
    return inserted - began, time.perf_counter() - inserted


def filters(data: Input) -> list[tuple[str, np.ndarray]]:
    """No filter, and for 50 %, 10 % and 1 % the filter made from the columns that comes nearest."""
    rows = len(data.base)
    candidates: list[tuple[str, np.ndarray]] = []
    for name, values in data.columns.items():
        if any(v is None for v in values):
            continue
        column = np.array(values)
        if column.dtype.kind in "iuf" and len(np.unique(column)) > 2:
            for share in (0.5, 0.1, 0.01):
                bound = np.quantile(column, 1 - share, method="nearest")
                candidates.append((f"{name} >= {bound}", column >= bound))
                bound = np.quantile(column, share, method="nearest")
                candidates.append((f"{name} <= {bound}", column <= bound))
        if column.dtype.kind in "iub" or column.dtype.kind == "U":
            distinct, counts = np.unique(column, return_counts=True)
            for value in distinct[np.argsort(-counts)][:40]:
                if column.dtype.kind == "U" and ('"' in value or "\\" in value):
                    continue
                text = (
                    f'"{value}"'
                    if column.dtype.kind == "U"
                    else str(value).lower()
                    if column.dtype.kind == "b"
                    else str(value)
                )
                candidates.append((f"{name} == {text}", column == value))
    chosen = [("", np.ones(rows, dtype=bool))]
    for share in (0.5, 0.1, 0.01):
        if not candidates:
            raise NoData("no column can be filtered by")
        text, mask = min(candidates, key=lambda c: abs(np.log(max(c[1].mean(), 1e-9) / share)))
        if mask.sum() < TOP_K:
            raise NoData(f"no column makes a filter that keeps about {share:.0%}")
        chosen.append((text, mask))
    return chosen


def exact(data: Input, mask: np.ndarray) -> np.ndarray:
    """The true nearest rows of each query among those that pass, by inner product of unit vectors."""
    rows = np.flatnonzero(mask)
    base = data.base[rows]
    out = []
    for start in range(0, len(data.queries), 100):
        dots = data.queries[start : start + 100] @ base.T
        best = np.argpartition(-dots, TOP_K - 1, axis=1)[:, :TOP_K]
        out.append(rows[best])
    return np.concatenate(out)


def measure(
    client: MilvusClient, uri: str, data: Input, collection: str, text: str, mask: np.ndarray, threads: int
) -> Measured:
    """Recall over all queries, and queries per second of one client and of several."""
    options = {"limit": TOP_K, "filter": text, "search_params": {"params": {"ef": EF}}, "consistency_level": "Bounded"}
    found = []
    client.search(collection, [data.queries[0]], **options)  # the first opens what is lazily opened
    began = time.perf_counter()
    for query in data.queries:
        found.append([h["id"] for h in client.search(collection, [query], **options)[0]])
    alone = len(data.queries) / (time.perf_counter() - began)
    truth = exact(data, mask)
    recall = float(np.mean([len(set(f) & set(t.tolist())) / TOP_K for f, t in zip(found, truth, strict=True)]))

    failures: list[Exception] = []

    def work(part: np.ndarray) -> None:
        mine = MilvusClient(uri)
        try:
            for query in part:
                mine.search(collection, [query], **options)
        except Exception as e:  # noqa: BLE001 - handed to the caller below
            failures.append(e)
        finally:
            mine.close()

    workers = [threading.Thread(target=work, args=(part,)) for part in np.array_split(data.queries, threads)]
    began = time.perf_counter()
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    together = len(data.queries) / (time.perf_counter() - began)
    if failures:
        raise failures[0]
    return Measured(text, float(mask.mean()), recall, alone, together)


def report(lines: list[Measured], threads: int) -> str:
    """The table."""
    out = [
        f"| filter | rows kept | recall@{TOP_K} | queries/s, 1 client | queries/s, {threads} clients |",
        "|---|---:|---:|---:|---:|",
    ]
    for m in lines:
        out.append(
            f"| `{m.filter or 'none'}` | {m.kept:.2%} | {m.recall:.4f} | {m.queries_per_second:,.0f} "
            f"| {m.parallel_queries_per_second:,.0f} |"
        )
    return "\n".join(out)


def run(uri: str, folder: Path, collection: str = COLLECTION, threads: int = 4, say=print) -> list[Measured]:
    """The whole example."""
    data = load(folder)
    client = MilvusClient(uri)
    say(
        f"{len(data.base):,} rows of {data.base.shape[1]} dimensions, {len(data.queries):,} queries, fields {', '.join(data.types)}"
    )
    inserting, indexing = store(client, data, collection)
    say(
        f"inserted in {inserting:.1f} s ({len(data.base) / inserting:,.0f} rows/s), flushed and indexed in {indexing:.1f} s more"
    )
    counted = client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"]
    if counted != len(data.base):
        raise AssertionError(f"{counted} rows are stored, {len(data.base)} were inserted")
    lines = [measure(client, uri, data, collection, text, mask, threads) for text, mask in filters(data)]
    say(f"HNSW M 16, efConstruction 200, searched with ef {EF}, COSINE")
    say(report(lines, threads))
    client.close()
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uri", default="http://127.0.0.1:19530", help="where Holdfast listens")
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder with the three files")
    parser.add_argument("--collection", default=COLLECTION, help="made anew")
    parser.add_argument("--threads", type=int, default=4, help="clients in the parallel measurement")
    chosen = parser.parse_args()
    try:
        run(chosen.uri, chosen.data, chosen.collection, chosen.threads)
    except NoData as reason:
        print(reason, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
