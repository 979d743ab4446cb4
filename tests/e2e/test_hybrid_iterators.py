"""Hybrid search, and iterators over searches and queries."""

import math

import numpy as np
import pytest
from exact import DENSE, best, scores, sparse_scores
from expect import PARAMETER, refused
from pymilvus import AnnSearchRequest, DataType, RRFRanker, WeightedRanker

ROWS = 400


@pytest.fixture(scope="module")
def two(shared_client, module_collection):
    """A collection with a dense (COSINE), a second dense (L2) and a sparse field, half of it flushed."""
    client, name = shared_client, module_collection
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("a", DataType.FLOAT_VECTOR, dim=8)
    schema.add_field("b", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("n", DataType.INT64)
    index = client.prepare_index_params()
    index.add_index("a", index_type="FLAT", metric_type="COSINE")
    index.add_index("b", index_type="FLAT", metric_type="L2")
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    rng = np.random.default_rng(23)
    a = rng.standard_normal((ROWS, 8)).astype(np.float32)
    b = rng.standard_normal((ROWS, 4)).astype(np.float32)
    words = [{int(k): float(np.float32(rng.random())) for k in rng.choice(60, 6, replace=False)} for _ in range(ROWS)]
    rows = [{"id": i, "a": a[i].tolist(), "b": b[i].tolist(), "words": words[i], "n": i % 4} for i in range(ROWS)]
    client.insert(name, rows[:200])
    client.flush(name)
    client.insert(name, rows[200:])
    return name, a, b, words


def rankings(two, qa, qb, limit, allowed=None):
    _, a, b, _ = two
    return best(scores(a, qa, "COSINE"), "COSINE", limit, allowed), best(scores(b, qb, "L2"), "L2", limit, allowed)


def request(field, vector, limit, metric, expr=None):
    return AnnSearchRequest([vector], field, {"metric_type": metric}, limit, expr=expr)


def test_rrf_adds_reciprocal_ranks(client, two):
    name = two[0]
    rng = np.random.default_rng(1)
    for k in (60, 1):
        qa, qb = rng.standard_normal(8), rng.standard_normal(4)
        want = {}
        for ranking in rankings(two, qa.astype(np.float32), qb.astype(np.float32), 30):
            for rank, row in enumerate(ranking, 1):
                want[int(row)] = want.get(int(row), 0) + 1 / (k + rank)
        order = sorted(want, key=lambda i: (-want[i], i))[:10]
        hits = client.hybrid_search(
            name,
            [request("a", qa.tolist(), 30, "COSINE"), request("b", qb.tolist(), 30, "L2")],
            RRFRanker(k),
            limit=10,
            output_fields=["n"],
        )[0]
        assert [h["distance"] for h in hits] == pytest.approx([want[i] for i in order], rel=1e-5)
        assert [h["id"] for h in hits] == order
        assert all(h["entity"]["n"] == h["id"] % 4 for h in hits)


def test_weighted_normalises_when_asked(client, two):
    name, a, b, _ = two
    rng = np.random.default_rng(2)
    qa, qb = rng.standard_normal(8).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    sa, sb = scores(a, qa, "COSINE"), scores(b, qb, "L2")
    ra, rb = rankings(two, qa, qb, 50)
    want = {}
    for row in ra:
        want[int(row)] = want.get(int(row), 0) + 0.7 * (1 + sa[row]) / 2
    for row in rb:
        want[int(row)] = want.get(int(row), 0) + 0.3 * (1 - 2 * math.atan(sb[row]) / math.pi)
    order = sorted(want, key=lambda i: (-want[i], i))[:10]
    hits = client.hybrid_search(
        name,
        [request("a", qa.tolist(), 50, "COSINE"), request("b", qb.tolist(), 50, "L2")],
        WeightedRanker(0.7, 0.3, norm_score=True),
        limit=10,
    )[0]
    assert [h["distance"] for h in hits] == pytest.approx([want[i] for i in order], rel=1e-4)
    assert [h["id"] for h in hits] == order


def test_weighted_distances_alone_stay_distances(client, two):
    # All requests are distances and nothing is normalised: the smallest sum is the best.
    name, _, b, _ = two
    q1, q2 = b[3] + 0.01, b[3] - 0.01
    s1, s2 = scores(b, q1, "L2"), scores(b, q2, "L2")
    hits = client.hybrid_search(
        name,
        [request("b", q1.tolist(), ROWS, "L2"), request("b", q2.tolist(), ROWS, "L2")],
        WeightedRanker(0.5, 0.5, norm_score=False),
        limit=5,
    )[0]
    want = 0.5 * s1 + 0.5 * s2
    order = np.argsort(want, kind="stable")[:5]
    assert [h["id"] for h in hits] == order.tolist()
    assert [h["distance"] for h in hits] == pytest.approx(want[order].tolist(), rel=1e-3, abs=1e-5)


def test_dense_and_sparse_together_with_filters(client, two):
    name, a, _, words = two
    q, sparse = a[5], {1: 1.0, 2: 0.5, 3: 0.25}
    allowed = np.arange(ROWS) % 4 < 2
    want = {}
    for ranking in (
        best(scores(a, q, "COSINE"), "COSINE", 20, allowed),
        best(sparse_scores(words, sparse), "IP", 20, allowed),
    ):
        for rank, row in enumerate(ranking, 1):
            want[int(row)] = want.get(int(row), 0) + 1 / (60 + rank)
    hits = client.hybrid_search(
        name,
        [request("a", q.tolist(), 20, "COSINE", "n < 2"), request("words", sparse, 20, "IP", "n < 2")],
        RRFRanker(),
        limit=10,
    )[0]
    assert [h["id"] for h in hits] == sorted(want, key=lambda i: (-want[i], i))[:10]
    assert all(h["id"] % 4 < 2 for h in hits)


def test_mistakes_in_a_hybrid_search(client, two):
    name, a, *_ = two
    good = request("a", a[0].tolist(), 10, "COSINE")
    with pytest.raises(Exception, match="(?i)weight"):
        client.hybrid_search(name, [good, good], WeightedRanker(0.5), limit=5)
    with pytest.raises(Exception, match=r"(?i)weight|\[0, ?1\]|range"):
        client.hybrid_search(name, [good], WeightedRanker(1.5), limit=5)
    with pytest.raises(Exception, match="(?i)k|range"):
        client.hybrid_search(name, [good], RRFRanker(0), limit=5)
    with pytest.raises(Exception, match="(?i)no_such"):
        client.hybrid_search(name, [request("no_such", [1.0] * 8, 10, "COSINE")], RRFRanker(), limit=5)


def drain(iterator):
    pages = []
    while page := iterator.next():
        pages.append(list(page))
    iterator.close()
    return pages


@pytest.mark.parametrize("batch", [1, 7, 100, 1000])
def test_a_search_iterator_gives_everything_once_in_order(client, two, batch):
    name, a, *_ = two
    iterator = client.search_iterator(
        name,
        [a[0].tolist()],
        batch_size=batch,
        anns_field="a",
        search_params={"metric_type": "COSINE"},
        output_fields=["n"],
    )
    pages = drain(iterator)
    hits = [h for page in pages for h in page]
    assert all(len(p) <= batch for p in pages)
    assert len(hits) == ROWS
    assert len({h["id"] for h in hits}) == ROWS
    got = [h["distance"] for h in hits]
    assert got == sorted(got, reverse=True)
    exact = scores(a, a[0], "COSINE")
    assert all(abs(h["distance"] - exact[h["id"]]) < 1e-5 for h in hits)


def test_a_search_iterator_keeps_its_filter_limit_and_moment(client, two):
    name, a, *_ = two
    iterator = client.search_iterator(
        name, [a[0].tolist()], batch_size=20, limit=50, filter="n == 1", anns_field="a",
        search_params={"metric_type": "COSINE"},
    )  # fmt: skip
    hits = [h for page in drain(iterator) for h in page]
    assert len(hits) == 50
    assert all(h["id"] % 4 == 1 for h in hits)


def test_a_search_iterator_does_not_see_later_writes(client, simple):
    client.insert(simple, [{"id": i, "vector": [i, 0, 0, 0], "n": i} for i in range(100)])
    iterator = client.search_iterator(simple, [[0, 0, 0, 0]], batch_size=10, search_params={"metric_type": "L2"})
    first = list(iterator.next())
    client.insert(simple, [{"id": 1000 + i, "vector": [50.5, i, 0, 0], "n": 0} for i in range(20)])
    client.delete(simple, ids=list(range(60, 70)))
    rest = [h for page in drain(iterator) for h in page]
    assert [h["id"] for h in [*first, *rest]] == list(range(100))


def searched_through(client, name, vector, metric, batch):
    iterator = client.search_iterator(name, [vector], batch_size=batch, search_params={"metric_type": metric})
    return [h for page in drain(iterator) for h in page]


@pytest.mark.parametrize("kind", DENSE, ids=lambda k: k.name)
def test_a_search_iterator_goes_through_every_kind_of_vector(client, name, kind):
    # Of binary vectors many have the same score: none may be lost where a page ends.
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", getattr(DataType, kind.name), dim=kind.dim)
    index = client.prepare_index_params()
    index.add_index("v", index_type="AUTOINDEX", metric_type=kind.metrics[0])
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    base = kind.make(np.random.default_rng(31), 300)
    client.insert(name, [{"id": i, "v": kind.send(base[i])} for i in range(200)])
    client.flush(name)
    client.insert(name, [{"id": i, "v": kind.send(base[i])} for i in range(200, 300)])
    exact = scores(base, base[0], kind.metrics[0])
    for batch in (33, 100):
        hits = searched_through(client, name, kind.send(base[0]), kind.metrics[0], batch)
        assert sorted(h["id"] for h in hits) == list(range(300))
        got = [exact[h["id"]] for h in hits]
        assert got == pytest.approx(sorted(got), abs=kind.tolerance * max(exact))


def test_rows_of_one_score_come_on_one_page(client, simple):
    client.insert(simple, [{"id": i, "vector": [i // 50, 0, 0, 0], "n": i} for i in range(200)])
    iterator = client.search_iterator(simple, [[0, 0, 0, 0]], batch_size=20, search_params={"metric_type": "L2"})
    assert [sorted(h["id"] for h in page) for page in drain(iterator)] == [
        list(range(start, start + 50)) for start in range(0, 200, 50)
    ]


def test_a_search_iterator_over_sparse_vectors(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("v", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [{"id": i, "v": {0: float(i // 2 + 1), i + 1: 1.0}} for i in range(100)])
    client.flush(name)
    hits = searched_through(client, name, {0: 1.0}, "IP", 7)
    assert [h["distance"] for h in hits] == [float(i // 2 + 1) for i in range(99, -1, -1)]
    assert len({h["id"] for h in hits}) == 100


@pytest.mark.parametrize("batch", [1, 13, 400, 1000])
def test_a_query_iterator_walks_the_keys(client, two, batch):
    name = two[0]
    pages = drain(client.query_iterator(name, batch_size=batch, output_fields=["id", "n"]))
    rows = [r for page in pages for r in page]
    assert [r["id"] for r in rows] == list(range(ROWS))
    assert all(r["n"] == r["id"] % 4 for r in rows)
    pages = drain(client.query_iterator(name, batch_size=batch, filter="n == 2", limit=30, output_fields=["id"]))
    rows = [r["id"] for page in pages for r in page]
    assert rows == [i for i in range(ROWS) if i % 4 == 2][:30]


def test_a_query_iterator_over_string_keys(client, name):
    client.create_collection(name, dimension=2, id_type="string", max_length=32, consistency_level="Strong")
    keys = [f"k{i:03}'" if i % 7 == 0 else f"k{i:03}" for i in range(150)]
    client.insert(name, [{"id": k, "vector": [1, 1]} for k in keys])
    client.flush(name)
    plain = [k for k in keys if "'" not in k]
    rows = [
        r["id"]
        for p in drain(client.query_iterator(name, batch_size=11, filter='not (id like "%\'")', output_fields=["id"]))
        for r in p
    ]
    assert rows == sorted(plain)


def test_an_iterator_needs_a_sane_batch(client, two):
    name, a, *_ = two
    with pytest.raises(Exception, match="(?i)batch|limit|greater than"):
        client.search_iterator(name, [a[0].tolist()], batch_size=0, anns_field="a").next()
    with refused((PARAMETER, 65535, 1), "group"):
        it = client.search_iterator(
            name,
            [a[0].tolist()],
            batch_size=5,
            anns_field="a",
            search_params={"metric_type": "COSINE"},
            group_by_field="n",
        )
        it.next()
