"""Measures a Holdfast binary end to end with pymilvus, beside milvus-lite in the same run.

    pip install -r benches/requirements.txt
    cargo build --profile dist
    python benches/run.py --bin target/dist/holdfast --data FOLDER [--rows N]

The folder is that of examples/real_embeddings.py. Both servers run as processes of their own on this machine, both
are given the same calls, and their measurements take turns (`--rounds`), so that a neighbour's load falls on both:
trust the ratios more than the figures. Every figure is the median of the rounds.

A client is a process with a connection of its own that sends one request at a time: threads of one Python
interpreter would wait for each other. Recall is against exact answers computed here.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pymilvus
from pymilvus import DataType, MilvusClient

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "examples"), str(PROJECT / "tests" / "e2e")]

import real_embeddings as embeddings  # noqa: E402 - found by the line above
from server import Server, free_port, wait_until  # noqa: E402

COLLECTION = "bench"
BATCH = 1000
EFS = (64, 128)
#: Places in the list that `embeddings.filters` makes: no filter, about 10 % and about 1 % of the rows.
FILTERS = (0, 2, 3)
INDEX = {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 16, "efConstruction": 200}}


@dataclasses.dataclass(frozen=True)
class Question:
    """A kind of search: what it filters by, how wide it looks, and the true answers."""

    filter: str
    kept: float
    ef: int
    truth: np.ndarray = dataclasses.field(compare=False)


@dataclasses.dataclass
class Searched:
    """What one round of searches showed. Latencies in seconds."""

    queries_per_second: float
    p50: float
    p99: float
    recall: float


@dataclasses.dataclass
class Engine:
    """A server under measurement and what was measured so far, by what was done."""

    name: str
    uri: str
    seconds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    searched: dict[tuple[Question, int], list[Searched]] = dataclasses.field(default_factory=dict)

    def took(self, what: str, seconds: float) -> None:
        """Notes a duration."""
        self.seconds.setdefault(what, []).append(seconds)


# ---- clients: what runs in their processes -------------------------------------------------------------


def insert_rows(uri: str, collection: str, rows: list[dict]) -> tuple[float, float]:
    """Inserts in batches; when it began and ended, on the clock that all processes share."""
    client = MilvusClient(uri)
    client.has_collection(collection)  # the connection is made before the clock runs
    began = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        client.insert(collection, rows[start : start + BATCH])
    ended = time.perf_counter()
    client.close()
    return began, ended


def search_all(
    uri: str, collection: str, queries: np.ndarray, text: str, ef: int
) -> tuple[float, float, list[float], list[list[int]]]:
    """Searches one query after the other: began, ended, latencies, and the keys found."""
    client = MilvusClient(uri)
    options = {
        "limit": embeddings.TOP_K,
        "filter": text,
        "search_params": {"params": {"ef": ef}},
        "consistency_level": "Bounded",
    }
    for query in queries[:5]:
        client.search(collection, [query], **options)
    latencies, found = [], []
    began = time.perf_counter()
    for query in queries:
        sent = time.perf_counter()
        hits = client.search(collection, [query], **options)[0]
        latencies.append(time.perf_counter() - sent)
        found.append([hit["id"] for hit in hits])
    ended = time.perf_counter()
    client.close()
    return began, ended, latencies, found


def ready(_: int) -> None:
    """Nothing: a process that has answered has imported all it needs."""


# ---- measurements --------------------------------------------------------------------------------------


def create(client: MilvusClient, data: embeddings.Input, collection: str) -> None:
    """A new empty collection without an index."""
    if client.has_collection(collection):
        client.drop_collection(collection)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=data.base.shape[1])
    for name, kind in data.types.items():
        data_type, options = embeddings.field_of(kind)
        schema.add_field(name, data_type, nullable=True, **options)
    client.create_collection(collection, schema=schema, consistency_level="Strong")


def rows_of(data: embeddings.Input, start: int, end: int) -> list[dict]:
    """Rows as pymilvus takes them."""
    return [
        {"id": i, "embedding": data.base[i], **{name: values[i] for name, values in data.columns.items()}}
        for i in range(start, end)
    ]


def counted(client: MilvusClient, collection: str) -> int:
    """How many rows a client sees."""
    answer = client.query(collection, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return answer[0]["count(*)"]


def vector_index(client: MilvusClient, kind: str = "HNSW"):
    """What `create_index` takes."""
    index = client.prepare_index_params()
    if kind == "HNSW":
        index.add_index("embedding", **INDEX)
    else:
        index.add_index("embedding", index_type=kind, metric_type=INDEX["metric_type"])
    return index


def measure_insert(engine: Engine, data: embeddings.Input, pool: ProcessPoolExecutor, clients: int) -> None:
    """All rows into a collection of their own by several clients at a time, then counted."""
    client = MilvusClient(engine.uri)
    collection = f"insert_{clients}"
    create(client, data, collection)
    bounds = [len(data.base) * i // clients for i in range(clients + 1)]
    parts = [rows_of(data, start, end) for start, end in itertools.pairwise(bounds)]
    futures = [pool.submit(insert_rows, engine.uri, collection, part) for part in parts]
    spans = [f.result() for f in futures]
    engine.took(f"insert {clients}", max(e for _, e in spans) - min(b for b, _ in spans))
    client.create_index(collection, vector_index(client, "FLAT"))
    client.load_collection(collection)
    seen = counted(client, collection)
    if seen != len(data.base):
        raise AssertionError(f"{engine.name} shows {seen} rows of {len(data.base)}")
    client.drop_collection(collection)
    client.close()


def fill(engine: Engine, data: embeddings.Input) -> None:
    """The collection that is searched: insert, then flush, index and load, timed."""
    client = MilvusClient(engine.uri)
    create(client, data, COLLECTION)
    for start in range(0, len(data.base), BATCH):
        client.insert(COLLECTION, rows_of(data, start, min(start + BATCH, len(data.base))))
    began = time.perf_counter()
    client.flush(COLLECTION)
    flushed = time.perf_counter()
    client.create_index(COLLECTION, vector_index(client))

    def built() -> bool:
        state = client.describe_index(COLLECTION, "embedding")
        return int(state.get("pending_index_rows", 0)) == 0

    wait_until("the index is built", built, timeout=3600, interval=0.1)
    client.load_collection(COLLECTION)
    engine.took("flush", flushed - began)
    engine.took("index and load", time.perf_counter() - flushed)
    client.close()


def measure_search(
    engine: Engine, queries: np.ndarray, question: Question, pool: ProcessPoolExecutor, clients: int
) -> None:
    """All queries, shared out among the clients."""
    futures = [
        pool.submit(search_all, engine.uri, COLLECTION, part, question.filter, question.ef)
        for part in np.array_split(queries, clients)
    ]
    answers = [f.result() for f in futures]
    spent = max(a[1] for a in answers) - min(a[0] for a in answers)
    latencies = np.array([x for a in answers for x in a[2]])
    found = [ids for a in answers for ids in a[3]]
    matched = [len(set(f) & set(t.tolist())) for f, t in zip(found, question.truth, strict=True)]
    engine.searched.setdefault((question, clients), []).append(
        Searched(
            len(queries) / spent,
            float(np.quantile(latencies, 0.5)),
            float(np.quantile(latencies, 0.99)),
            float(np.mean(matched)) / embeddings.TOP_K,
        )
    )


# ---- servers -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def holdfast(binary: Path, folder: Path) -> Iterator[str]:
    """The binary under measurement."""
    os.environ["HOLDFAST_BIN"] = str(binary)
    server = Server(folder / "holdfast", folder / "holdfast.log")
    server.start()
    try:
        yield server.uri
    finally:
        server.stop()


@contextlib.contextmanager
def milvus_lite(folder: Path) -> Iterator[str]:
    """The peer, as a server in a process of its own."""
    port = free_port()
    log = folder / "milvus_lite.log"
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder / "lite"), "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    uri = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"milvus-lite ended with {process.returncode}\n{log.read_text('utf-8', 'replace')}")
        try:
            MilvusClient(uri, timeout=1).close()
        except pymilvus.MilvusException:
            return False
        return True

    try:
        wait_until("milvus-lite answers", answers)
        yield uri
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


# ---- the run -------------------------------------------------------------------------------------------


def first_rows(data: embeddings.Input, rows: int) -> embeddings.Input:
    """The first rows of the data only."""
    columns = {name: values[:rows] for name, values in data.columns.items()}
    return embeddings.Input(data.base[:rows], data.queries, columns, data.types)


def only_columns(data: embeddings.Input, texts: list[str]) -> embeddings.Input:
    """Without the columns that no filter names: they would be measured with the vectors."""
    named = {text.split(" ", 1)[0] for text in texts if text}
    columns = {name: values for name, values in data.columns.items() if name in named}
    return embeddings.Input(data.base, data.queries, columns, {name: data.types[name] for name in columns})


def questions(data: embeddings.Input) -> list[Question]:
    """Every kind of search, with its true answers."""
    candidates = embeddings.filters(data)
    return [
        Question(text, float(mask.mean()), ef, truth)
        for text, mask in (candidates[place] for place in FILTERS)
        for truth in [embeddings.exact(data, mask)]
        for ef in EFS
    ]


def run(options: argparse.Namespace, say=print) -> dict:
    """The whole measurement; returns its figures."""
    data = embeddings.load(options.data)
    data = first_rows(data, min(options.rows or len(data.base), len(data.base)))
    data.queries = data.queries[: options.queries]
    asked = questions(data)
    data = only_columns(data, [q.filter for q in asked])
    say(
        f"{len(data.base):,} rows of {data.base.shape[1]} dimensions with {', '.join(data.types)}; "
        f"{len(data.queries):,} queries a round, {options.rounds} rounds; "
        f"{INDEX['index_type']} {INDEX['params']}, {INDEX['metric_type']}"
    )
    say(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=options.scratch)))
        engines = [Engine("holdfast", stack.enter_context(holdfast(options.bin, folder)))]
        if not options.alone:
            engines.append(Engine("milvus-lite", stack.enter_context(milvus_lite(folder))))
        spawn = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(options.clients, mp_context=spawn))
        list(pool.map(ready, range(options.clients)))
        # Who goes first changes from round to round, so that neither always finds the other's caches.
        turns = [engines if n % 2 == 0 else engines[::-1] for n in range(options.rounds)]
        for turn in turns:
            for clients in (1, options.clients):
                for engine in turn:
                    measure_insert(engine, data, pool, clients)
        for engine in engines:
            fill(engine, data)
        for turn in turns:
            for question in asked:
                for clients in (1, options.clients):
                    for engine in turn:
                        measure_search(engine, data.queries, question, pool, clients)
    say(report(engines, asked, len(data.base), options.clients))
    return figures(engines)


def middle(rounds: list[Searched]) -> Searched:
    """The median of each figure."""
    columns = zip(*(dataclasses.astuple(r) for r in rounds), strict=True)
    return Searched(*(statistics.median(c) for c in columns))


def report(engines: list[Engine], asked: list[Question], rows: int, clients: int) -> str:
    """Two tables. A ratio above 1 says that Holdfast is that many times as fast."""
    names = [e.name for e in engines]
    out = [f"| | {' | '.join(names)} | ratio |", "|---|" + "---:|" * (len(names) + 1)]
    for n in (1, clients):
        rates = [rows / statistics.median(e.seconds[f"insert {n}"]) for e in engines]
        figures = " | ".join(f"{r:,.0f}" for r in rates)
        out.append(f"| insert, rows/s, clients: {n} | {figures} | {rates[0] / rates[-1]:.2f} |")
    for what in ("flush", "index and load"):
        spent = [statistics.median(e.seconds[what]) for e in engines]
        figures = " | ".join(f"{s:.2f}" for s in spent)
        out.append(f"| {what}, s | {figures} | {spent[-1] / spent[0]:.2f} |")
    out += [
        "",
        f"| filter | kept | ef | clients | server | recall@{embeddings.TOP_K} | queries/s | ratio | p50 ms | p99 ms |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for question in asked:
        for n in (1, clients):
            base = middle(engines[-1].searched[question, n]).queries_per_second
            for engine in engines:
                m = middle(engine.searched[question, n])
                out.append(
                    f"| `{question.filter or 'none'}` | {question.kept:.1%} | {question.ef} | {n} | {engine.name} "
                    f"| {m.recall:.4f} | {m.queries_per_second:,.0f} | {m.queries_per_second / base:.2f} "
                    f"| {m.p50 * 1e3:.2f} | {m.p99 * 1e3:.2f} |"
                )
    return "\n".join(out)


def figures(engines: list[Engine]) -> dict:
    """Every round of everything, for a file."""
    return {
        e.name: {
            "seconds": e.seconds,
            "searches": [
                {
                    "filter": question.filter,
                    "kept": question.kept,
                    "ef": question.ef,
                    "clients": clients,
                    "rounds": [dataclasses.asdict(r) for r in rounds],
                }
                for (question, clients), rounds in e.searched.items()
            ],
        }
        for e in engines
    }


def positive(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, required=True, help="the holdfast binary")
    parser.add_argument("--data", type=Path, default=embeddings.DEFAULT_FOLDER, help="folder with the three files")
    parser.add_argument("--rows", type=positive, help="store only the first rows")
    parser.add_argument("--queries", type=positive, default=300, help="searches of each kind, a round")
    parser.add_argument("--rounds", type=positive, default=3, help="times that everything is measured")
    parser.add_argument("--clients", type=positive, default=8, help="clients in the parallel measurements")
    parser.add_argument("--scratch", type=Path, help="where the servers keep their data (a temporary folder)")
    parser.add_argument("--alone", action="store_true", help="without the peer")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    if not options.bin.is_file():
        parser.error(f"--bin: {options.bin} is not a file")
    if not 2 <= options.clients <= options.queries:
        parser.error("--clients: one is measured anyway, and each needs a query: 2 up to --queries")
    try:
        measured = run(options)
    except embeddings.NoData as reason:
        print(reason, file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
