"""Every data type goes in and comes out the same: growing, flushed, and after a restart."""

import math

import numpy as np
import pytest
from exact import DENSE
from pymilvus import DataType

ROWS = 40

#: field, type, options, and row number -> value. None stands for null.
SCALARS = [
    ("bool", DataType.BOOL, {}, lambda i: i % 3 == 0),
    ("int8", DataType.INT8, {}, lambda i: [-128, 127, 0, -1][i % 4]),
    ("int16", DataType.INT16, {}, lambda i: [-32768, 32767, 0, i][i % 4]),
    ("int32", DataType.INT32, {}, lambda i: [-(2**31), 2**31 - 1, 0, i][i % 4]),
    ("int64", DataType.INT64, {}, lambda i: [-(2**63), 2**63 - 1, 2**53 + 1, i][i % 4]),
    ("float", DataType.FLOAT, {}, lambda i: float(np.float32([0.1, -3.4e38, 1.2e-38, i / 7][i % 4]))),
    ("double", DataType.DOUBLE, {}, lambda i: [0.1, -1.7e308, 5e-324, i / 7][i % 4]),
    ("varchar", DataType.VARCHAR, {"max_length": 400}, lambda i: ["", "ascii", "zwölf 漢字 🦀", "x" * 400][i % 4]),
    (
        "json",
        DataType.JSON,
        {},
        lambda i: [{"a": i}, [1, "two", None], {"s": "text", "u": "é"}, 12.5, {"deep": {"er": [{}]}}, True][i % 6],
    ),
]
ARRAYS = [
    (f"array_{name}", DataType.ARRAY, {"element_type": kind, "max_capacity": 8, **options},
     lambda i, value=value: [value(j) for j in range(i, i + i % 5)])
    for name, kind, options, value in SCALARS
    if name != "json"
]  # fmt: skip
NULLABLE = [
    (f"null_{name}", kind, {**options, "nullable": True}, lambda i, value=value: None if i % 3 == 1 else value(i))
    for name, kind, options, value in [*SCALARS, *ARRAYS[:2], ARRAYS[-1]]
]
DEFAULTED = [
    ("d_int8", DataType.INT8, {"default_value": -5}, -5),
    ("d_int64", DataType.INT64, {"default_value": 2**40}, 2**40),
    ("d_bool", DataType.BOOL, {"default_value": True}, True),
    ("d_float", DataType.FLOAT, {"default_value": 0.5}, 0.5),
    ("d_double", DataType.DOUBLE, {"default_value": 0.1}, 0.1),
    ("d_varchar", DataType.VARCHAR, {"default_value": "none given", "max_length": 20}, "none given"),
]


def plain(value):
    """A value as plain Python: arrays of the client's own kinds become lists."""
    if isinstance(value, (list, tuple)) or type(value).__module__.startswith("google"):
        return [plain(v) for v in value]
    return value


def same(got, want):
    got = plain(got)
    if isinstance(want, float) and isinstance(got, float):
        return math.isclose(got, want, rel_tol=1e-7) or got == want
    if isinstance(want, list) and isinstance(got, list):
        return len(got) == len(want) and all(same(g, w) for g, w in zip(got, want, strict=True))
    return type(got) is type(want) and got == want


def collection_of(client, name, fields):
    schema = client.create_schema(enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    for field, kind, options, _ in fields:
        schema.add_field(field, kind, **options)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")


def check_rows(client, name, fields, stage):
    names = [f[0] for f in fields]
    rows = client.query(name, filter="id >= 0", output_fields=["id", *names])
    assert sorted(r["id"] for r in rows) == list(range(ROWS)), stage
    for r in rows:
        for field, _, _, value in fields:
            assert same(r[field], value(r["id"])), (
                f"{stage}: {field} of row {r['id']}: {r[field]!r} is not {value(r['id'])!r}"
            )
    hits = client.search(name, [[3, 0]], limit=5, output_fields=names)[0]
    assert next(h["id"] for h in hits) == 3
    for h in hits:
        for field, _, _, value in fields:
            assert same(h["entity"][field], value(h["id"])), f"{stage}: {field} of hit {h['id']}"


@pytest.mark.parametrize("fields", [SCALARS, ARRAYS, NULLABLE], ids=["scalars", "arrays", "nullable"])
def test_scalars_come_back_as_they_went_in(client, name, fields):
    collection_of(client, name, fields)
    client.insert(name, [{"id": i, "v": [i, 0], **{f: value(i) for f, _, _, value in fields}} for i in range(ROWS)])
    check_rows(client, name, fields, "growing")
    client.flush(name)
    check_rows(client, name, fields, "flushed")


def test_missing_values_become_the_default_or_null(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    for field, kind, options, _ in DEFAULTED:
        schema.add_field(field, kind, **options)
    schema.add_field("nothing", DataType.INT32, nullable=True)
    schema.add_field("both", DataType.INT32, nullable=True, default_value=8)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, {"id": 1, "v": [0, 0]})
    client.insert(name, {"id": 2, "v": [0, 0], **{f: None for f, *_ in DEFAULTED}, "nothing": None, "both": None})
    client.insert(name, {"id": 3, "v": [0, 0], "d_int8": 1, "nothing": 2, "both": 3, "d_varchar": ""})
    for stage in ("growing", "flushed"):
        rows = {r["id"]: r for r in client.query(name, filter="id > 0", output_fields=["*"])}
        for key in (1, 2):
            for field, _, _, want in DEFAULTED:
                assert same(rows[key][field], want), (stage, key, field, rows[key][field])
            assert rows[key]["nothing"] is None and rows[key]["both"] == 8, stage
        assert (rows[3]["d_int8"], rows[3]["nothing"], rows[3]["both"], rows[3]["d_varchar"]) == (1, 2, 3, "")
        client.flush(name)


def test_dynamic_keys_keep_their_json_types(client, name):
    client.create_collection(name, dimension=2, metric_type="L2", consistency_level="Strong")
    extras = [
        {"i": 1, "f": 1.5, "s": "text", "b": True, "n": None, "l": [1, "a"], "o": {"k": [1]}},
        {"i": 2**53 + 1, "ключ": "unicode key"},
        {},
    ]
    client.insert(name, [{"id": i, "vector": [i, 0], **e} for i, e in enumerate(extras)])
    for _ in range(2):
        rows = {r["id"]: r for r in client.query(name, filter="id >= 0", output_fields=["*"])}
        for i, e in enumerate(extras):
            assert {k: v for k, v in rows[i].items() if k not in ("id", "vector")} == e
        some = {r["id"]: r for r in client.query(name, filter="id >= 0", output_fields=["i", "s"])}
        assert some[0] == {"id": 0, "i": 1, "s": "text"}
        assert some[1] == {"id": 1, "i": 2**53 + 1}
        hit = client.search(name, [[0, 0]], limit=1, output_fields=["o"])[0][0]
        assert hit["entity"] == {"o": {"k": [1]}}
        client.flush(name)


def test_the_server_makes_text_keys_too(client, name):
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    keys = client.insert(name, [{"v": [i, 0]} for i in range(3)])["ids"]
    assert len(set(keys)) == 3 and all(isinstance(k, str) for k in keys)
    assert [h["id"] for h in client.search(name, ids=[keys[1]], limit=1)[0]] == [keys[1]]
    with pytest.raises(Exception, match="(?i)auto.?id|id"):
        client.insert(name, {"id": "mine", "v": [9, 9]})
    client.alter_collection_properties(name, {"allow_insert_auto_id": "true"})
    client.insert(name, {"id": "mine", "v": [9, 9]})
    assert [float(x) for x in client.get(name, "mine")[0]["v"]] == [9, 9]


@pytest.mark.parametrize("nullable", [False, True], ids=["required", "nullable"])
@pytest.mark.parametrize("kind", DENSE, ids=lambda k: k.name)
def test_dense_vectors_come_back_bit_for_bit(client, name, kind, nullable):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", getattr(DataType, kind.name), dim=kind.dim, nullable=nullable)
    index = client.prepare_index_params()
    index.add_index("v", index_type="AUTOINDEX", metric_type=kind.metrics[0])
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    base = kind.make(np.random.default_rng(5), ROWS)
    null = {i for i in range(ROWS) if nullable and i % 3 == 1}
    client.insert(name, [{"id": i, "v": None if i in null else kind.send(base[i])} for i in range(ROWS)])
    for stage in ("growing", "flushed"):
        rows = client.query(name, filter="id >= 0", output_fields=["id", "v"])
        assert len(rows) == ROWS
        for r in rows:
            if r["id"] in null:
                assert r["v"] is None, (stage, r)
            else:
                assert kind.read(r["v"]).tobytes() == base[r["id"]].tobytes(), (stage, r["id"])
        hits = client.search(name, [kind.send(base[0])], limit=ROWS, output_fields=["v"])[0]
        assert len(hits) == ROWS - len(null), f"{stage}: a row without a vector is no hit"
        for h in hits:
            assert kind.read(h["entity"]["v"]).tobytes() == base[h["id"]].tobytes(), stage
        client.flush(name)


@pytest.mark.parametrize("nullable", [False, True], ids=["required", "nullable"])
def test_sparse_vectors_come_back_as_they_went_in(client, name, nullable):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.SPARSE_FLOAT_VECTOR, nullable=nullable)
    index = client.prepare_index_params()
    index.add_index("v", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    sent = {
        0: {0: 1.0},
        1: {5: 0.25, 2: 0.5},
        2: {2**32 - 2: 3.0, 7: 1e-30},
        3: {i: float(i) for i in range(1, 1000, 3)},
    }
    if nullable:
        sent[4] = None
    client.insert(name, [{"id": i, "v": v} for i, v in sent.items()])
    for stage in ("growing", "flushed"):
        rows = {r["id"]: r["v"] for r in client.query(name, filter="id >= 0", output_fields=["v"])}
        for i, v in sent.items():
            want = None if v is None else {k: float(np.float32(x)) for k, x in v.items()}
            assert rows[i] == want, (stage, i)
        client.flush(name)


def test_one_collection_holds_every_kind_of_vector(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    index = client.prepare_index_params()
    for kind in DENSE[:3]:
        schema.add_field(kind.name.lower(), getattr(DataType, kind.name), dim=kind.dim)
        index.add_index(kind.name.lower(), index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    rng = np.random.default_rng(6)
    bases = {k.name.lower(): k.make(rng, 100) for k in DENSE[:3]}
    client.insert(
        name,
        [
            {
                "id": i,
                "words": {i: 1.0, 1000: 0.5},
                **{k.name.lower(): k.send(bases[k.name.lower()][i]) for k in DENSE[:3]},
            }
            for i in range(100)
        ],
    )
    for _ in range(2):
        for kind in DENSE[:3]:
            field = kind.name.lower()
            for probe in (0, 42, 99):
                hit = client.search(name, [kind.send(bases[field][probe])], anns_field=field, limit=1)[0][0]
                assert hit["id"] == probe
        assert client.search(name, [{77: 1.0}], anns_field="words", limit=5)[0][0]["id"] == 77
        with pytest.raises(Exception, match="(?i)anns_field|vector field"):
            client.search(name, [kind.send(bases[field][0])])
        client.flush(name)
