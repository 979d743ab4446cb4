"""Search against an exact answer in numpy: every vector type, every metric, growing and flushed."""

import numpy as np
import pytest
from exact import DENSE, assert_hits, best, scores, sparse_scores
from expect import PARAMETER, refused
from pymilvus import DataType, MilvusException

ROWS = 600
CASES = [(kind, metric) for kind in DENSE for metric in kind.metrics]


def make(client, name, kind, metric, index_type="AUTOINDEX", **params):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", getattr(DataType, kind.name), dim=kind.dim)
    schema.add_field("n", DataType.INT64)
    index = client.prepare_index_params()
    index.add_index("v", index_type=index_type, metric_type=metric, **params)
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")


@pytest.mark.parametrize(("kind", "metric"), CASES, ids=[f"{k.name}-{m}" for k, m in CASES])
def test_every_metric_of_every_dense_type_is_exact(client, name, kind, metric):
    make(client, name, kind, metric, "BIN_FLAT" if kind.name == "BINARY_VECTOR" else "FLAT")
    rng = np.random.default_rng(17)
    base, queries = kind.make(rng, ROWS), kind.make(rng, 5)
    client.insert(name, [{"id": i, "v": kind.send(base[i]), "n": i % 10} for i in range(ROWS)])
    allowed = np.arange(ROWS) % 10 < 3
    for _ in ("growing", "flushed"):
        found = client.search(name, [kind.send(q) for q in queries], limit=20, output_fields=["n"])
        for hits, q in zip(found, queries, strict=True):
            assert_hits(hits, scores(base, q, metric), metric, 20, tolerance=kind.tolerance)
            assert all(h["entity"]["n"] == h["id"] % 10 for h in hits)
        found = client.search(name, [kind.send(q) for q in queries], limit=20, filter="n < 3")
        for hits, q in zip(found, queries, strict=True):
            assert_hits(hits, scores(base, q, metric), metric, 20, allowed=allowed, tolerance=kind.tolerance)
        client.flush(name)


@pytest.mark.parametrize(
    ("kind", "metric"), [c for c in CASES if c[0].name != "BINARY_VECTOR"],
    ids=[f"{k.name}-{m}" for k, m in CASES if k.name != "BINARY_VECTOR"],
)  # fmt: skip
def test_hnsw_finds_nearly_all(client, name, kind, metric):
    make(client, name, kind, metric, "HNSW", params={"M": 16, "efConstruction": 200})
    rng = np.random.default_rng(18)
    rows = 3000
    base, queries = kind.make(rng, rows), kind.make(rng, 30)
    client.insert(name, [{"id": i, "v": kind.send(base[i]), "n": i % 100} for i in range(rows)])
    client.flush(name)
    for filter_text, allowed in (
        ("", None),
        ("n < 30", np.arange(rows) % 100 < 30),
        ("n == 7", np.arange(rows) % 100 == 7),
    ):
        found = client.search(
            name, [kind.send(q) for q in queries], limit=10, filter=filter_text, search_params={"params": {"ef": 128}}
        )
        total = 0
        for hits, q in zip(found, queries, strict=True):
            exact = scores(base, q, metric)
            want = best(exact, metric, 10, allowed)
            assert len(hits) == 10
            got = [h["distance"] for h in hits]
            assert got == sorted(got, reverse=metric in ("IP", "COSINE")), "best first"
            scale = max(1.0, np.abs(exact).max())
            assert all(abs(h["distance"] - exact[h["id"]]) <= kind.tolerance * scale for h in hits)
            total += len({h["id"] for h in hits} & set(want.tolist()))
        assert total / 300 >= 0.95, f"recall@10 {total / 300} under {filter_text!r}"


def test_float_queries_are_converted_for_half_precision_fields(client, name):
    kind = DENSE[1]
    make(client, name, kind, "L2", "FLAT")
    base = kind.make(np.random.default_rng(1), 50)
    client.insert(name, [{"id": i, "v": kind.send(base[i]), "n": i} for i in range(50)])
    hits = client.search(name, [[float(x) for x in base[9]]], limit=1)[0]
    assert hits[0]["id"] == 9
    assert hits[0]["distance"] == pytest.approx(0, abs=1e-3)


def test_sparse_search_is_exact(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("v", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    rng = np.random.default_rng(4)

    def sparse():
        return {int(i): float(np.float32(rng.random())) for i in rng.choice(300, rng.integers(1, 20), replace=False)}

    base = [sparse() for _ in range(500)]
    queries = [sparse() for _ in range(10)]
    client.insert(name, [{"id": i, "v": v} for i, v in enumerate(base)])
    allowed = np.arange(500) % 2 == 0
    for _ in ("growing", "flushed"):
        for q, hits in zip(queries, client.search(name, queries, limit=15), strict=True):
            assert_hits(hits, sparse_scores(base, q), "IP", 15)
        for q, hits in zip(queries, client.search(name, queries, limit=15, filter="id % 2 == 0"), strict=True):
            assert_hits(hits, sparse_scores(base, q), "IP", 15, allowed=allowed)
        assert client.search(name, [{10_000: 1.0}], limit=5)[0] == [], "no shared index, no hit"
        client.flush(name)


def test_the_zero_vector_has_cosine_zero(client, name):
    make(client, name, DENSE[0], "COSINE", "FLAT")
    client.insert(name, [{"id": 0, "v": [0.0] * 16, "n": 0}, {"id": 1, "v": [1.0] * 16, "n": 1}])
    found = {h["id"]: h["distance"] for h in client.search(name, [[1.0] * 16], limit=5)[0]}
    assert found == {0: pytest.approx(0), 1: pytest.approx(1)}
    found = client.search(name, [[0.0] * 16], limit=5)[0]
    assert [h["distance"] for h in found] == [pytest.approx(0)] * 2


@pytest.fixture(scope="module")
def grid(shared_client, module_collection):
    """1 000 rows on a line under L2, half of them flushed: the score of row i for query q is (i - q)^2."""
    client, name = shared_client, module_collection
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("n", DataType.INT64)
    schema.add_field("word", DataType.VARCHAR, max_length=16, nullable=True)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.create_partition(name, "odd")
    rows = [
        {"id": i, "v": [float(i), 0.0], "n": i % 10, "word": None if i % 4 == 0 else f"w{i % 5}", "dyn": i // 100}
        for i in range(1000)
    ]
    for half in (rows[:500], rows[500:]):
        client.insert(name, [r for r in half if r["id"] % 2 == 0])
        client.insert(name, [r for r in half if r["id"] % 2 == 1], partition_name="odd")
        if half[0]["id"] == 0:
            client.flush(name)
    return name


def ids(hits):
    return [h["id"] for h in hits]


def test_hits_come_best_first_and_ties_by_key(client, grid):
    assert ids(client.search(grid, [[500.0, 0]], limit=7)[0]) == [500, 499, 501, 498, 502, 497, 503]


def test_several_queries_are_answered_in_order(client, grid):
    found = client.search(grid, [[float(q), 0] for q in (10, 900, 10)], limit=3)
    assert [ids(h)[0] for h in found] == [10, 900, 10]


@pytest.mark.parametrize("offset", [0, 1, 5, 990, 998, 1500])
def test_offset_and_limit_walk_the_same_list(client, grid, offset):
    everything = ids(client.search(grid, [[250.3, 0]], limit=1000)[0])
    page = ids(client.search(grid, [[250.3, 0]], limit=7, search_params={"offset": offset})[0])
    assert page == everything[offset : offset + 7]


@pytest.mark.parametrize(
    ("radius", "range_filter", "want"),
    [
        (100, None, range(491, 510)),
        (100, 0, range(491, 510)),
        (100.5, 81, [490, 491, 509, 510]),
        (101, 100, [490, 510]),
        (0, None, []),
    ],
)
def test_a_range_search_keeps_the_ring(client, grid, radius, range_filter, want):
    # For a distance: range_filter <= d < radius.
    params = {"radius": radius} if range_filter is None else {"radius": radius, "range_filter": range_filter}
    hits = client.search(grid, [[500.0, 0]], limit=100, search_params={"params": params})[0]
    assert sorted(ids(hits)) == sorted(want)


def test_a_range_search_on_a_similarity(client, name):
    # For a similarity: radius < s <= range_filter.
    make(client, name, DENSE[0], "IP", "FLAT")
    client.insert(name, [{"id": i, "v": [float(i)] + [0.0] * 15, "n": 0} for i in range(20)])
    query = [[1.0] + [0.0] * 15]
    hits = client.search(name, query, limit=20, search_params={"params": {"radius": 5, "range_filter": 9}})[0]
    assert ids(hits) == [9, 8, 7, 6]
    with refused(PARAMETER, "range_filter|radius"):
        client.search(name, query, limit=20, search_params={"params": {"radius": 9, "range_filter": 5}})


def test_grouping_gives_the_best_of_each_group(client, grid):
    hits = client.search(grid, [[500.2, 0]], limit=10, group_by_field="n", output_fields=["n"])[0]
    assert len(hits) == 10
    assert {h["entity"]["n"] for h in hits} == set(range(10))
    assert ids(hits) == [500, 501, 499, 502, 498, 503, 497, 504, 496, 505]


def test_groups_hold_several_hits_side_by_side(client, grid):
    hits = client.search(
        grid, [[500.2, 0]], limit=4, group_by_field="n", group_size=3, strict_group_size=True, output_fields=["n"]
    )[0]
    assert [h["entity"]["n"] for h in hits] == [0] * 3 + [1] * 3 + [9] * 3 + [2] * 3
    assert ids(hits)[:3] == [500, 510, 490]


def test_output_fields_are_what_was_asked_for(client, grid):
    def entity(fields):
        return client.search(grid, [[6.0, 0]], limit=1, output_fields=fields)[0][0]["entity"]

    assert entity([]) == {}
    assert entity(None) == {}
    assert entity(["n", "word"]) == {"n": 6, "word": "w1"}
    assert entity(["dyn"]) == {"dyn": 0}
    everything = entity(["*"])
    assert {"id", "v", "n", "word", "dyn"} <= set(everything)
    assert [float(x) for x in everything["v"]] == [6.0, 0.0]
    assert entity(["no_such_key"]) == {}, "with dynamic fields on, an unknown name is a key that no row has"


def test_scores_are_rounded(client, grid):
    for digits, want in ((0, 0.0), (1, 0.1), (3, 0.141), (6, 0.140625), (-1, 0.140625)):
        hit = client.search(
            grid, [[500.375, 0]], limit=1, search_params={"round_decimal": digits}, round_decimal=digits
        )[0][0]
        assert hit["distance"] == pytest.approx(want, abs=1e-6)
    with pytest.raises(MilvusException, match="round_decimal"):
        client.search(grid, [[1.0, 0]], search_params={"round_decimal": 9}, round_decimal=9)


def test_partition_names_bound_the_search(client, grid):
    assert ids(client.search(grid, [[500.0, 0]], limit=3, partition_names=["odd"])[0]) == [499, 501, 497]
    assert ids(client.search(grid, [[500.0, 0]], limit=3, partition_names=["_default"])[0]) == [500, 498, 502]
    assert len(client.search(grid, [[500.0, 0]], limit=3, partition_names=["_default", "odd"])[0]) == 3


@pytest.mark.parametrize("level", ["Strong", "Bounded", "Session", "Eventually"])
def test_every_consistency_level_answers(client, grid, level):
    assert ids(client.search(grid, [[3.0, 0]], limit=1, consistency_level=level)[0]) == [3]
    assert client.query(grid, filter="id == 3", output_fields=["id"], consistency_level=level) == [{"id": 3}]


@pytest.mark.parametrize("level", ["Strong", "Session"])
def test_a_write_is_seen_by_its_writer(client, simple, level):
    for i in range(100):
        client.insert(simple, {"id": i, "vector": [i, 0, 0, 0], "n": i})
        hits = client.search(simple, [[i, 0, 0, 0]], limit=1, consistency_level=level)[0]
        assert ids(hits) == [i], f"after insert {i}"
        client.delete(simple, ids=[i])
        assert client.get(simple, i, consistency_level=level) == [], f"after delete {i}"


def test_a_strong_read_of_another_client_sees_every_acknowledged_write(client, connect, simple):
    reader = connect()
    for i in range(100):
        client.insert(simple, {"id": i, "vector": [i, 0, 0, 0], "n": i})
        found = reader.query(simple, filter="", output_fields=["count(*)"], consistency_level="Strong")
        assert found[0]["count(*)"] == i + 1


def test_search_by_ids_uses_the_stored_vectors(client, grid):
    found = client.search(grid, ids=[10, 700], limit=3)
    assert [ids(h) for h in found] == [[10, 9, 11], [700, 699, 701]]
    with refused(PARAMETER, "5000|not found|missing|exist"):
        client.search(grid, ids=[10, 5000], limit=3)
    with refused(PARAMETER, "duplicate"):
        client.search(grid, ids=[10, 10], limit=3)


def test_a_filter_takes_template_values(client, grid):
    hits = client.search(
        grid, [[500.0, 0]], limit=3, filter="n in {list} and word != {w}", filter_params={"list": [1, 2], "w": "w1"}
    )[0]
    assert all(i % 10 in (1, 2) and i % 5 != 1 and i % 4 != 0 for i in ids(hits))
    assert len(hits) == 3


def test_nothing_passes_the_filter(client, grid):
    assert client.search(grid, [[1.0, 0], [2.0, 0]], limit=3, filter="n > 100", output_fields=["*"]) == [[], []]


def test_limits_of_a_search(client, grid):
    assert len(client.search(grid, [[1.0, 0]], limit=16384)[0]) == 1000
    for options in ({"limit": 16385}, {"limit": 10, "search_params": {"offset": 16380}}, {"limit": 0}, {"limit": -1}):
        with pytest.raises(Exception, match="(?i)limit|topk|top k|offset|16384"):
            client.search(grid, [[1.0, 0]], **options)
    with refused((1, PARAMETER, 65535), "dim"):
        client.search(grid, [[1.0, 0, 3.0]])


def test_a_search_of_an_empty_collection(client, simple):
    assert client.search(simple, [[1, 1, 1, 1]], limit=3, output_fields=["n"]) == [[]]
    client.flush(simple)
    assert client.search(simple, [[1, 1, 1, 1]], limit=3) == [[]]
