"""Requests that no client should send, over raw gRPC.

Each row of the tables says what is sent, which code must come back, and what the reason must say. After
each one the server still answers a good search and holds the rows it held.
"""

from __future__ import annotations

import json
import re
import struct

import grpc
import pytest
from expect import (
    COLLECTION_NOT_FOUND,
    DATABASE_NOT_FOUND,
    PARAMETER,
    PARTITION_NOT_FOUND,
)
from pymilvus import DataType
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

T = schema_pb2.DataType
NAN, INF = float("nan"), float("inf")
DIM = 4
GOOD = "malformed_good"
AUTO = "malformed_auto"
KEYED = "malformed_keyed"
BARE = "malformed_bare"
ROWS = 10


def kv(**pairs):
    return [common_pb2.KeyValuePair(key=k, value=str(v)) for k, v in pairs.items()]


# --- a good collection, and good requests to spoil ---------------------------------------------------


def sparse_row(*pairs):
    return b"".join(struct.pack("<If", i, v) for i, v in pairs)


def column(name, kind, rows):
    """A FieldData as a good client makes it, for `rows` rows."""
    data = schema_pb2.FieldData(field_name=name, type=kind)
    scalars, vectors = data.scalars, data.vectors
    if kind == T.Int64:
        scalars.long_data.data.extend(range(1000, 1000 + rows))
    elif kind in (T.Int8, T.Int32):
        scalars.int_data.data.extend([1] * rows)
    elif kind == T.Bool:
        scalars.bool_data.data.extend([True] * rows)
    elif kind == T.Float:
        scalars.float_data.data.extend([0.5] * rows)
    elif kind == T.Double:
        scalars.double_data.data.extend([0.5] * rows)
    elif kind == T.VarChar:
        scalars.string_data.data.extend(["abc"] * rows)
    elif kind == T.JSON:
        scalars.json_data.data.extend([b'{"a": 1}'] * rows)
    elif kind == T.Array:
        scalars.array_data.element_type = T.Int32
        for _ in range(rows):
            scalars.array_data.data.add().int_data.data.extend([1, 2])
    elif kind == T.FloatVector:
        vectors.dim = DIM
        vectors.float_vector.data.extend([0.5] * DIM * rows)
    elif kind == T.BinaryVector:
        vectors.dim = 16
        vectors.binary_vector = b"\x0f" * (2 * rows)
    elif kind == T.Float16Vector:
        vectors.dim = DIM
        vectors.float16_vector = struct.pack("<e", 0.5) * DIM * rows
    elif kind == T.Int8Vector:
        vectors.dim = DIM
        vectors.int8_vector = b"\x01" * (DIM * rows)
    elif kind == T.SparseFloatVector:
        vectors.dim = 10
        vectors.sparse_float_vector.dim = 10
        vectors.sparse_float_vector.contents.extend([sparse_row((1, 0.5), (9, 1.0))] * rows)
    return data


FIELDS = [
    ("id", T.Int64), ("v", T.FloatVector), ("bits", T.BinaryVector), ("half", T.Float16Vector),
    ("ints", T.Int8Vector), ("words", T.SparseFloatVector), ("s", T.VarChar), ("small", T.Int8),
    ("n", T.Int32), ("flag", T.Bool), ("f", T.Float), ("d", T.Double), ("doc", T.JSON), ("tags", T.Array),
]  # fmt: skip


def insert(*spoil, rows=2, **header):
    """A good InsertRequest, then spoiled by each function in turn."""
    request = milvus_pb2.InsertRequest(collection_name=GOOD, num_rows=rows, **header)
    for name, kind in FIELDS:
        request.fields_data.append(column(name, kind, rows))
    for change in spoil:
        change(request)
    return request


def only_vector_of_auto(request):
    """The columns of the collection whose keys the server makes, and a key."""
    request.collection_name = AUTO
    del request.fields_data[:]
    request.fields_data.append(column("id", T.Int64, request.num_rows))
    request.fields_data.append(column("v", T.FloatVector, request.num_rows))


def upsert(*spoil, rows=2, **header):
    request = milvus_pb2.UpsertRequest(collection_name=GOOD, num_rows=rows, **header)
    for name, kind in FIELDS:
        request.fields_data.append(column(name, kind, rows))
    for change in spoil:
        change(request)
    return request


def at(field, change):
    """Spoils the column of one field."""

    def spoil(request):
        (data,) = [d for d in request.fields_data if d.field_name == field]
        change(data)

    return spoil


def without(field):
    def spoil(request):
        keep = [d for d in request.fields_data if d.field_name != field]
        del request.fields_data[:]
        request.fields_data.extend(keep)

    return spoil


def plus(data):
    return lambda request: request.fields_data.append(data)


def put(path, *values):
    """Sets a repeated field of the column, `scalars.long_data.data` say, to these values."""

    def change(data):
        target = data
        *way, last = path.split(".")
        for step in way:
            target = getattr(target, step)
        repeated = getattr(target, last)
        del repeated[:]
        repeated.extend(values)

    return change


def assign(path, value):
    def change(data):
        target = data
        *way, last = path.split(".")
        for step in way:
            target = getattr(target, step)
        setattr(target, last, value)

    return change


def meta(*texts):
    data = schema_pb2.FieldData(field_name="$meta", type=T.JSON, is_dynamic=True)
    data.scalars.json_data.data.extend(texts)
    return data


def placeholders(values, kind=101, tag="$0"):
    group = common_pb2.PlaceholderGroup()
    group.placeholders.add(tag=tag, type=kind, values=values)
    return group.SerializeToString()


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


GOOD_QUERY = placeholders([floats(0.5, 0.5, 0.5, 0.5)])


def search(group=GOOD_QUERY, *, dsl="", nq=1, name=GOOD, partitions=(), output=(), drop=(), **params):
    merged = {"anns_field": "v", "topk": 3, "metric_type": "L2", "params": "{}", "round_decimal": -1, **params}
    for key in drop:
        del merged[key]
    return milvus_pb2.SearchRequest(
        collection_name=name, placeholder_group=group, dsl=dsl, dsl_type=common_pb2.BoolExprV1, nq=nq,
        partition_names=partitions, output_fields=output, search_params=kv(**merged), consistency_level=0,
    )  # fmt: skip


def query(expr="id > 0", *, name=GOOD, output=("id",), partitions=(), **params):
    return milvus_pb2.QueryRequest(
        collection_name=name, expr=expr, output_fields=output, partition_names=partitions, query_params=kv(**params)
    )


def delete(expr, name=GOOD, **more):
    return milvus_pb2.DeleteRequest(collection_name=name, expr=expr, **more)


def schema(*fields, name="malformed_new", **more):
    return schema_pb2.CollectionSchema(name=name, fields=fields, **more)


def field(name, kind, *, params=None, **more):
    return schema_pb2.FieldSchema(name=name, data_type=kind, type_params=kv(**(params or {})), **more)


def create(built=None, *, name="malformed_new", raw=None, **more):
    return milvus_pb2.CreateCollectionRequest(
        collection_name=name, schema=raw if raw is not None else built.SerializeToString(), **more
    )


ID = field("id", T.Int64, is_primary_key=True)
V = field("v", T.FloatVector, params={"dim": 4})


def index(name="plain", *, collection=BARE, index_name="", **params):
    return milvus_pb2.CreateIndexRequest(
        collection_name=collection, field_name=name, index_name=index_name, extra_params=kv(**params)
    )


def hybrid(requests, strategy="rrf", params='{"k": 60}', limit=3, **more):
    return milvus_pb2.HybridSearchRequest(
        collection_name=GOOD, requests=requests, rank_params=kv(strategy=strategy, params=params, limit=limit, **more)
    )


def default(kind, **value):
    return field("x", kind, default_value=schema_pb2.ValueField(**value))


def search_template(value):
    """A search whose filter has a place for `value`."""
    request = search(dsl="json_contains_any(doc['a'], {x})")
    request.expr_template_values["x"].CopyFrom(value)
    return request


def nested(depth):
    """A template value: lists within lists."""
    value = schema_pb2.TemplateValue()
    inner = value.array_val
    for _ in range(depth):
        inner = inner.array_data.data.add()
    inner.long_data.data.append(1)
    return value


DEEP = 10_000
UNSUPPORTED = 3000
#: How gRPC refuses bytes that are no message, or one that is too large.
NO_MESSAGE = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.OUT_OF_RANGE,
)
LONG_NAME = "x" * 256

# --- the tables: one row a line ------------------------------------------------------------------------
# fmt: off

INSERTS = [
    ("vector shorter than its rows", insert(at("v", put("vectors.float_vector.data", *[0.5] * 7))), r"\bv\b"),
    ("dim of another size", insert(at("v", assign("vectors.dim", 8))), r"\bv\b.*dim|dim.*\bv\b"),
    ("dim zero", insert(at("v", assign("vectors.dim", 0)), at("v", put("vectors.float_vector.data"))), r"\bv\b"),
    ("dim negative", insert(at("v", assign("vectors.dim", -4))), r"\bv\b|dim"),
    ("dim huge", insert(at("v", assign("vectors.dim", 2**62))), r"\bv\b|dim"),
    ("NaN in a vector", insert(at("v", put("vectors.float_vector.data", *[0.5] * 7, NAN))), r"\bv\b.*(nan|finite)|nan.*\bv\b"),
    ("infinity in a vector", insert(at("v", put("vectors.float_vector.data", *[0.5] * 7, INF))), r"\bv\b.*inf|inf.*\bv\b"),
    ("minus infinity in a vector", insert(at("v", put("vectors.float_vector.data", -INF, *[0.5] * 7))), r"\bv\b.*inf|inf.*\bv\b"),
    ("NaN in a half vector", insert(at("half", assign("vectors.float16_vector", b"\x00\x7e" * 8))), r"half"),
    ("infinity in a half vector", insert(at("half", assign("vectors.float16_vector", b"\x00\x7c" * 8))), r"half"),
    ("half vector with an odd byte", insert(at("half", assign("vectors.float16_vector", b"\x00" * 15))), r"half"),
    ("binary vector too short", insert(at("bits", assign("vectors.binary_vector", b"\x00" * 3))), r"bits"),
    ("binary vector too long", insert(at("bits", assign("vectors.binary_vector", b"\x00" * 5))), r"bits"),
    ("int8 vector too short", insert(at("ints", assign("vectors.int8_vector", b"\x00" * 7))), r"ints"),
    ("float values in a binary field", insert(at("bits", put("vectors.float_vector.data", *[0.5] * 8))), r"bits"),
    ("no vector payload", insert(at("v", lambda d: d.ClearField("vectors"))), r"\bv\b"),
    ("scalars in a vector field", insert(at("v", put("scalars.long_data.data", 1, 2))), r"\bv\b"),
    ("sparse row unsorted", insert(at("words", put("vectors.sparse_float_vector.contents", *[sparse_row((9, 1.0), (1, 1.0))] * 2))), r"words.*(sort|order|ascend)|(sort|order|ascend).*words"),
    ("sparse row with an index twice", insert(at("words", put("vectors.sparse_float_vector.contents", *[sparse_row((3, 1.0), (3, 1.0))] * 2))), r"words"),
    ("sparse row of seven bytes", insert(at("words", put("vectors.sparse_float_vector.contents", b"\x00" * 7, sparse_row((1, 1.0))))), r"words"),
    ("sparse NaN", insert(at("words", put("vectors.sparse_float_vector.contents", *[sparse_row((1, NAN))] * 2))), r"words"),
    ("sparse infinity", insert(at("words", put("vectors.sparse_float_vector.contents", *[sparse_row((1, INF))] * 2))), r"words"),
    ("sparse negative value", insert(at("words", put("vectors.sparse_float_vector.contents", *[sparse_row((1, -1.0))] * 2))), r"words"),
    ("sparse index at its limit", insert(at("words", put("vectors.sparse_float_vector.contents", *[sparse_row((2**32 - 1, 1.0))] * 2))), r"words"),
    ("sparse row count", insert(at("words", put("vectors.sparse_float_vector.contents", sparse_row((1, 1.0))))), r"words"),
    ("fewer keys than rows", insert(at("id", put("scalars.long_data.data", 1))), r"\bid\b"),
    ("more keys than rows", insert(at("id", put("scalars.long_data.data", 1, 2, 3))), r"\bid\b"),
    ("num_rows too small", insert(lambda r: setattr(r, "num_rows", 1)), r"row"),
    ("num_rows too large", insert(lambda r: setattr(r, "num_rows", 3)), r"row"),
    ("num_rows zero", insert(lambda r: setattr(r, "num_rows", 0)), r"row|empty"),
    ("num_rows at the limit of u32", insert(lambda r: setattr(r, "num_rows", 2**32 - 1)), r"row"),
    ("no columns", insert(lambda r: r.ClearField("fields_data")), r"field|column|data"),
    ("missing vector column", insert(without("v")), r"\bv\b"),
    ("missing key column", insert(without("id")), r"\bid\b"),
    ("missing scalar column", insert(without("n")), r"\bn\b"),
    ("a column twice", insert(plus(column("n", T.Int32, 2))), r"\bn\b"),
    ("an undeclared column", insert(plus(column("stray", T.Int32, 2))), r"stray"),
    ("a column without a name", insert(plus(column("", T.Int32, 2))), r"field|name|column"),
    ("strings in an integer field", insert(at("n", put("scalars.string_data.data", "1", "2"))), r"\bn\b"),
    ("integers in a string field", insert(at("s", put("scalars.int_data.data", 1, 2))), r"\bs\b"),
    ("a type that contradicts the schema", insert(at("n", assign("type", T.VarChar))), r"\bn\b"),
    ("a type number that does not exist", insert(at("n", assign("type", 77))), r"\bn\b"),
    ("int8 over its range", insert(at("small", put("scalars.int_data.data", 1, 128))), r"small.*(range|128)|128.*small"),
    ("int8 under its range", insert(at("small", put("scalars.int_data.data", -129, 1))), r"small"),
    ("float NaN", insert(at("f", put("scalars.float_data.data", NAN, 1.0))), r"\bf\b"),
    ("double infinity", insert(at("d", put("scalars.double_data.data", 1.0, INF))), r"\bd\b"),
    ("string over max_length", insert(at("s", put("scalars.string_data.data", "a", "x" * 9))), r"(?=.*\bs\b)(?=.*max length: 8)"),
    ("string over max_length in bytes only", insert(at("s", put("scalars.string_data.data", "a", "é" * 5))), r"(?=.*\bs\b)(?=.*max length: 8)"),
    ("JSON that is not JSON", insert(at("doc", put("scalars.json_data.data", b"{}", b"{nope"))), r"doc"),
    ("JSON that is not UTF-8", insert(at("doc", put("scalars.json_data.data", b"{}", b'"\xff\xfe"'))), r"doc"),
    ("JSON of nothing", insert(at("doc", put("scalars.json_data.data", b"{}", b""))), r"doc"),
    ("JSON too deep", insert(at("doc", put("scalars.json_data.data", b"{}", b"[" * DEEP + b"]" * DEEP))), r"doc"),
    ("JSON too large", insert(at("doc", put("scalars.json_data.data", b"{}", json.dumps({"a": "x" * 70_000}).encode()))), r"(?=.*doc)(?=.*65536)"),
    ("array over its capacity", insert(at("tags", lambda d: d.scalars.array_data.data[1].int_data.data.extend([1] * 9))), r"tags"),
    ("array of another type", insert(at("tags", lambda d: d.scalars.array_data.data[1].string_data.data.extend(["x"]))), r"tags"),
    ("array row missing", insert(at("tags", lambda d: d.scalars.array_data.data.pop())), r"tags"),
    ("valid_data of another length", insert(at("n", put("valid_data", True))), r"\bn\b"),
    ("null in a field that is not nullable", insert(at("n", put("valid_data", True, False)), at("n", put("scalars.int_data.data", 1))), r"\bn\b"),
    ("null primary key", insert(at("id", put("valid_data", True, False)), at("id", put("scalars.long_data.data", 1))), r"\bid\b"),
    ("dynamic row that is a list", insert(plus(meta(b"{}", b"[1]"))), r"\$meta|dynamic|object"),
    ("dynamic row that is no JSON", insert(plus(meta(b"{}", b"{"))), r"\$meta|dynamic|json"),
    ("dynamic key of a declared field", insert(plus(meta(b"{}", b'{"n": 1}'))), r"\bn\b|dynamic"),
    ("dynamic key $meta", insert(plus(meta(b"{}", b'{"$meta": 1}'))), r"\$meta"),
    ("dynamic column too short", insert(plus(meta(b"{}"))), r"\$meta|dynamic|row"),
    ("dynamic row that is null", insert(plus(meta(b"{}", b"null"))), r"\$meta|dynamic|object"),
    ("dynamic row too large", insert(plus(meta(b"{}", json.dumps({"x": "y" * 70_000}).encode()))), r"(?=.*\$meta)(?=.*65536)"),
    ("dynamic row too deep", insert(plus(meta(b"{}", b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}"))), r"\$meta"),
    ("dynamic column given twice", insert(plus(meta(b"{}", b"{}")), plus(meta(b"{}", b"{}"))), r"\$meta|dynamic"),
    ("booleans in a float field", insert(at("f", put("scalars.bool_data.data", True, False))), r"\bf\b"),
    ("doubles in a float field", insert(at("f", put("scalars.double_data.data", 0.5, 0.5))), r"\bf\b"),
    ("longs in an int32 field", insert(at("n", put("scalars.long_data.data", 1, 2))), r"\bn\b"),
    ("integers as keys of 64 bits", insert(at("id", put("scalars.int_data.data", 1, 2))), r"\bid\b"),
    ("strings in a JSON field", insert(at("doc", put("scalars.string_data.data", "{}", "{}"))), r"doc"),
    ("no scalar payload", insert(at("n", lambda d: d.ClearField("scalars"))), r"\bn\b"),
    ("JSON with text behind it", insert(at("doc", put("scalars.json_data.data", b"{}", b"{} {}"))), r"doc"),
    ("JSON of half a surrogate", insert(at("doc", put("scalars.json_data.data", b"{}", b'"\\ud800"'))), r"doc"),
    ("JSON NaN", insert(at("doc", put("scalars.json_data.data", b"{}", b'{"a": NaN}'))), r"doc"),
    ("JSON number beyond a double", insert(at("doc", put("scalars.json_data.data", b"{}", b'{"a": 1e999}'))), r"doc"),
    ("half values in a float vector", insert(at("v", assign("vectors.float16_vector", b"\x00" * 16))), r"\bv\b"),
    ("bytes in a sparse field", insert(at("words", assign("vectors.binary_vector", b"\x00" * 4))), r"words"),
    ("one vector too many", insert(at("v", put("vectors.float_vector.data", *[0.5] * 12))), r"\bv\b"),
    ("null vector", insert(at("v", put("valid_data", True, False)), at("v", put("vectors.float_vector.data", *[0.5] * 4))), r"\bv\b"),
]

UPSERTS = [
    ("one key twice", upsert(at("id", put("scalars.long_data.data", 7, 7))), r"duplicate"),
    ("without a key", upsert(without("id")), r"\bid\b"),
    ("wrong dim", upsert(at("v", put("vectors.float_vector.data", *[0.5] * 9))), r"\bv\b"),
    ("operation on a field that is no array", upsert(lambda r: r.field_ops.add(field_name="n", op=1)), r"\bn\b"),
    ("operation on a field that is not there", upsert(lambda r: r.field_ops.add(field_name="zz", op=1)), r"zz"),
    ("operation of an unknown number", upsert(lambda r: r.field_ops.add(field_name="tags", op=99)), r"tags|op"),
]

DELETES = [
    ("no condition", delete(""), r"expr|filter|empty|condition"),
    ("a condition that is always true", delete("true"), r"expr|filter|condition|true|constant|predicate|bool"),
    ("half a condition", delete("id in ["), r"expect|unexpected|parse"),
    ("an unknown function", delete("no_such(id)"), r"no_such|function|expect|parse"),
    ("keys of another type", delete("id in ['a']"), r"\bid\b|type"),
    ("ten thousand levels", delete("(" * DEEP + "id == 1" + ")" * DEEP), r"deep|depth|nest|long"),
    ("a template value that is not given", delete("id in {keys}"), r"keys|template"),
    ("a template value of another type", delete("id in {keys}", expr_template_values={"keys": schema_pb2.TemplateValue(string_val="x")}), r"keys|list|array"),
    ("a template value of nothing", delete("id in {keys}", expr_template_values={"keys": schema_pb2.TemplateValue()}), r"keys"),
    ("a condition that is a number", delete("id + 1"), r"bool|condition|predicate"),
    ("a condition on a vector", delete("v == 1"), r"\bv\b|vector"),
    ("text that ends in a string", delete("s == 'abc"), r"string|quote|expect|unexpected|closed"),
]

SEARCHES = [
    ("no placeholder", search(b""), r"placeholder|query|vector|nq"),
    ("placeholder of noise", search(b"\xff\xff\xff\xff"), r"placeholder"),
    ("placeholder without values", search(placeholders([])), r"placeholder|query|nq|vector"),
    ("placeholder of another type", search(placeholders([floats(1, 2, 3, 4)], kind=104)), r"\bv\b|type|sparse"),
    ("placeholder of an unknown type", search(placeholders([floats(1, 2, 3, 4)], kind=9999)), r"type|placeholder"),
    ("binary query for a float field", search(placeholders([b"\x01\x02"], kind=100)), r"\bv\b|type|binary"),
    ("query of another dim", search(placeholders([floats(1, 2, 3)])), r"dim"),
    ("queries of two dims", search(placeholders([floats(1, 2, 3, 4), floats(1, 2)]), nq=2), r"dim"),
    ("query with an odd byte", search(placeholders([b"\x00" * 15])), r"dim|length|byte"),
    ("NaN in the query", search(placeholders([floats(1, 2, NAN, 4)])), r"nan|finite"),
    ("infinity in the query", search(placeholders([floats(1, 2, INF, 4)])), r"inf|finite"),
    ("nq that contradicts the values", search(nq=5), r"nq|quer"),
    ("nq over the limit", search(placeholders([floats(1, 2, 3, 4)] * 16_385), nq=16_385), r"nq|16384"),
    ("limit zero", search(topk=0), r"topk|limit"),
    ("limit negative", search(topk=-1), r"topk|limit"),
    ("limit over the maximum", search(topk=16_385), r"topk|limit|16384"),
    ("limit over 64 bits", search(topk=10**30), r"topk|limit"),
    ("limit that is no number", search(topk="many"), r"topk|limit"),
    ("no limit", search(drop=["topk"]), r"topk|limit"),
    ("offset negative", search(offset=-1), r"offset"),
    ("offset over the maximum", search(offset=16_384), r"offset|16384"),
    ("offset that is no number", search(offset="x"), r"offset"),
    ("params that are no JSON", search(params="{ef"), r"params|json"),
    ("params that are a list", search(params="[1]"), r"params|object|json"),
    ("ef that is no number", search(params='{"ef": "many"}'), r"\bef\b"),
    ("ef negative", search(params='{"ef": -5}'), r"\bef\b"),
    ("radius that is no number", search(params='{"radius": "far"}'), r"radius"),
    ("range_filter without radius", search(params='{"range_filter": 1}'), r"radius|range_filter"),
    ("range_filter over radius", search(params='{"radius": 1, "range_filter": 2}'), r"radius|range_filter"),
    ("an unknown metric", search(metric_type="MANHATTAN"), r"metric"),
    ("another metric than the index", search(metric_type="IP"), r"metric"),
    ("an unknown vector field", search(anns_field="zz"), r"zz"),
    ("a scalar as vector field", search(anns_field="n"), r"\bn\b|vector"),
    ("no vector field where there are several", search(drop=["anns_field"]), r"anns_field|vector field"),
    ("round_decimal over six", search(round_decimal=7), r"round_decimal"),
    ("round_decimal that is no number", search(round_decimal="x"), r"round_decimal"),
    ("an unknown output field of a collection without dynamic fields", search(name=KEYED, output=["zz"]), r"zz"),
    ("grouping by an unknown field", search(name=KEYED, group_by_field="zz"), r"zz"),
    ("grouping by a vector", search(group_by_field="v"), r"\bv\b|group"),
    ("group size of a hundred", search(group_by_field="n", group_size=100), r"group_size|group size"),
    ("group size zero", search(group_by_field="n", group_size=0), r"group_size|group size"),
    ("grouping of a range search", search(group_by_field="n", params='{"radius": 5}'), r"group|range|radius"),
    ("an iterator token of noise", search(iterator="True", search_iter_v2="True", search_iter_batch_size=5, search_iter_id="not-a-uuid", search_iter_last_bound="0.5"), r"search_iter_id|token|uuid|iterator"),
    ("an iterator bound of noise", search(iterator="True", search_iter_v2="True", search_iter_batch_size=5, search_iter_id="6f1a5f0e-7c5d-4f0e-9a43-0123456789ab", search_iter_last_bound="far"), r"search_iter_last_bound|bound"),
    ("an iterator batch of zero", search(iterator="True", search_iter_v2="True", search_iter_batch_size=0), r"batch"),
    ("half a filter", search(dsl="n >"), r"expect|unexpected|parse"),
    ("a filter of ten thousand nots", search(dsl="not " * DEEP + "flag"), r"deep|depth|nest|long"),
    ("a filter on a vector", search(dsl="v == 1"), r"\bv\b|vector"),
    ("sparse query unsorted", search(placeholders([sparse_row((9, 1.0), (1, 1.0))], kind=104), anns_field="words", metric_type="IP"), r"sort|order|ascend"),
    ("sparse query of nine bytes", search(placeholders([b"\x00" * 9], kind=104), anns_field="words", metric_type="IP"), r"sparse|byte|length|words"),
    ("sparse query with NaN", search(placeholders([sparse_row((1, NAN))], kind=104), anns_field="words", metric_type="IP"), r"nan|finite"),
    ("sparse query with an index twice", search(placeholders([sparse_row((3, 1.0), (3, 1.0))], kind=104), anns_field="words", metric_type="IP"), r"sort|order|ascend|twice|duplicate"),
    ("binary query too short", search(placeholders([b"\x01"], kind=100), anns_field="bits", metric_type="HAMMING"), r"dim|bit|byte|length"),
    ("half query with NaN", search(placeholders([b"\x00\x7e" * 4], kind=102), anns_field="half"), r"nan|finite"),
    ("int8 query too long", search(placeholders([b"\x01" * 5], kind=105), anns_field="ints"), r"dim"),
    ("two placeholders", search(GOOD_QUERY + placeholders([floats(1, 2, 3, 4)], tag="$1"), nq=2), r"placeholder"),
    ("placeholder cut short", search(GOOD_QUERY[:-3]), r"placeholder"),
    ("nq negative", search(nq=-1), r"nq"),
    ("limit with a fraction", search(topk=1.5), r"topk|limit"),
    ("limit and offset together over the maximum", search(topk=16_000, offset=1_000), r"topk|limit|offset"),
    ("offset over 64 bits", search(offset=10**30), r"offset"),
    ("ef over 64 bits", search(params='{"ef": 1e30}'), r"\bef\b"),
    ("radius that is no finite number", search(params='{"radius": 1e999}'), r"radius|params"),
    ("params of ten thousand brackets", search(params='{"ef": ' + "[" * DEEP + "]" * DEEP + "}"), r"params|ef"),
    ("drop_ratio_search of two", search(placeholders([sparse_row((1, 1.0))], kind=104), anns_field="words", metric_type="IP", params='{"drop_ratio_search": 2}'), r"drop_ratio_search"),
    ("round_decimal under minus one", search(round_decimal=-2), r"round_decimal"),
    ("a setting given twice", (lambda r: (r.search_params.extend(kv(topk=4)), r)[1])(search()), r"topk"),
    ("a type mismatch", search(dsl="n == 'a'"), r"\bn\b|type|compare|number|string"),
    ("two comparisons without an and", search(dsl="n == 1 n == 2"), r"expect|unexpected"),
    ("a closing bracket too many", search(dsl="n == 1)"), r"expect|unexpected"),
    ("a modulo by zero", search(dsl="n % 0 == 1"), r"zero|modul|divi"),
    ("an array index that is negative", search(dsl="tags[-1] == 1"), r"index|expect|unexpected|negative"),
    ("like without a pattern", search(dsl="s like n"), r"like|pattern|string|expect"),
    ("like on a number", search(dsl="n like 'a%'"), r"like|\bn\b|string|type"),
    ("array_contains of another type", search(dsl="array_contains(tags, 'x')"), r"tags|type|element|array_contains"),
    ("json_contains on a number", search(dsl="json_contains(n, 1)"), r"\bn\b|json"),
    ("an escape that is not closed", search(dsl="s == 'a\\"), r"string|escape|expect|unexpected|closed"),
    ("lists nested forty deep in a template", search_template(nested(40)), r"\bx\b.*deep"),
    ("an unknown output field in a list", search(name=KEYED, output=["id", "zz"]), r"zz"),
    ("group by a list", search(group_by_field="tags"), r"tags|group"),
]

QUERIES = [
    ("no filter and no limit", query(""), r"limit|expr|filter|empty"),
    ("limit negative", query(limit=-1), r"limit"),
    ("limit that is no number", query(limit="x"), r"limit"),
    ("limit over the maximum", query(limit=16_385), r"limit|16384"),
    ("offset negative", query(limit=1, offset=-1), r"offset"),
    ("offset without a limit", query("id > 0", offset=5), r"limit|offset"),
    ("an unknown output field", query("id > 0", name=KEYED, output=["zz"]), r"zz"),
    ("count with a limit", query("id > 0", output=["count(*)"], limit=5), r"count|limit"),
    ("depth of brackets", query("n in " + "[" * DEEP + "]" * DEEP), r"deep|depth|nest|list|expect|unexpected|long"),
    ("a filter that is one huge word", query("x" * 2_000_000, name=KEYED), r"long|length|expression|bool|condition|field|exist"),
    ("a NUL byte", query("n == \x00"), r"expect|unexpected|token|char"),
    ("an integer of a hundred digits", query("n == " + "9" * 100), r"range|overflow|integer|large|big"),
    ("a path of ten thousand keys", query("doc" + "['a']" * DEEP + " == 1"), r"deep|depth|nest|long|path"),
    ("limit and offset together over the maximum", query(limit=16_000, offset=1_000), r"limit|offset"),
    ("limit over 64 bits", query(limit=10**30), r"limit"),
    ("limit zero", query(limit=0), r"limit"),
    ("a filter of nothing but blanks", query("   "), r"limit|expr|filter|empty"),
    ("a filter of two megabytes", query("n in [" + "1," * 1_000_000 + "1]"), r"long|length|bytes|filter|expression"),
    ("a control character", query("n == \x07"), r"expect|unexpected|token|char"),
    ("a number with two points", query("d == 1.2.3"), r"expect|unexpected|number"),
    ("a hexadecimal number without digits", query("n == 0x"), r"expect|unexpected|number|digit"),
    ("a missing template", query("n == {zz}"), r"zz|template"),
]

CREATIONS = [
    ("schema bytes of noise", create(raw=b"\xff\xff\xff"), r"schema"),
    ("no fields", create(schema()), r"field|primary"),
    ("no primary key", create(schema(field("id", T.Int64), V)), r"primary"),
    ("two primary keys", create(schema(ID, field("id2", T.Int64, is_primary_key=True), V)), r"primary"),
    ("float primary key", create(schema(field("id", T.Float, is_primary_key=True), V)), r"\bid\b|primary"),
    ("nullable primary key", create(schema(field("id", T.Int64, is_primary_key=True, nullable=True), V)), r"\bid\b|primary|null"),
    ("no vector field", create(schema(ID)), r"vector"),
    ("two fields of one name", create(schema(ID, V, field("v", T.Int64))), r"\bv\b|duplicat"),
    ("vector without dim", create(schema(ID, field("v", T.FloatVector))), r"dim"),
    ("dim zero", create(schema(ID, field("v", T.FloatVector, params={"dim": 0}))), r"dim"),
    ("dim one too many", create(schema(ID, field("v", T.FloatVector, params={"dim": 32_769}))), r"dim|32768"),
    ("dim that is no number", create(schema(ID, field("v", T.FloatVector, params={"dim": "wide"}))), r"dim"),
    ("binary dim not of whole bytes", create(schema(ID, field("v", T.BinaryVector, params={"dim": 12}))), r"dim|8"),
    ("sparse field with a dim", create(schema(ID, field("v", T.SparseFloatVector, params={"dim": 8}))), r"dim|sparse"),
    ("string without max_length", create(schema(ID, V, field("s", T.VarChar))), r"max_length"),
    ("max_length zero", create(schema(ID, V, field("s", T.VarChar, params={"max_length": 0}))), r"max_length|length"),
    ("max_length too large", create(schema(ID, V, field("s", T.VarChar, params={"max_length": 65_536}))), r"max_length|length|65535"),
    ("array without capacity", create(schema(ID, V, field("a", T.Array, element_type=T.Int64))), r"max_capacity|capacity"),
    ("array capacity too large", create(schema(ID, V, field("a", T.Array, element_type=T.Int64, params={"max_capacity": 4_097}))), r"capacity|4096"),
    ("array of arrays", create(schema(ID, V, field("a", T.Array, element_type=T.Array, params={"max_capacity": 4}))), r"element|array|\ba\b"),
    ("array of JSON", create(schema(ID, V, field("a", T.Array, element_type=T.JSON, params={"max_capacity": 4}))), r"element|json|\ba\b"),
    ("a type that does not exist", create(schema(ID, V, field("x", 77))), r"\bx\b|type"),
    ("no type", create(schema(ID, V, field("x", T.Value("None")))), r"\bx\b|type"),
    ("default of another type", create(schema(ID, V, default(T.Int64, string_data="x"))), r"\bx\b|default"),
    ("default on the primary key", create(schema(field("id", T.Int64, is_primary_key=True, default_value=schema_pb2.ValueField(long_data=1)), V)), r"\bid\b|default|primary"),
    ("default over the range of int8", create(schema(ID, V, default(T.Int8, int_data=300))), r"\bx\b|default|range"),
    ("default over max_length", create(schema(ID, V, field("x", T.VarChar, params={"max_length": 2}, default_value=schema_pb2.ValueField(string_data="long")))), r"\bx\b|default|length"),
    ("two partition keys", create(schema(ID, V, field("a", T.Int64, is_partition_key=True), field("b", T.Int64, is_partition_key=True))), r"partition key"),
    ("float partition key", create(schema(ID, V, field("a", T.Float, is_partition_key=True))), r"partition key|\ba\b"),
    ("field name with a space", create(schema(ID, V, field("a b", T.Int64))), r"name|a b"),
    ("field name $meta", create(schema(ID, V, field("$meta", T.JSON))), r"\$meta|name"),
    ("field name too long", create(schema(ID, V, field(LONG_NAME, T.Int64))), r"name|length|255"),
    ("sixty-five fields", create(schema(ID, V, *[field(f"f{i}", T.Int64) for i in range(63)])), r"field|64"),
    ("eleven vectors", create(schema(ID, *[field(f"v{i}", T.FloatVector, params={"dim": 4}) for i in range(11)])), r"vector|10"),
    ("shard number huge", create(schema(ID, V), shards_num=1_000_000), r"shard"),
    ("shard number negative", create(schema(ID, V), shards_num=-1), r"shard"),
    ("partition number without a key", create(schema(ID, V), num_partitions=8), r"partition"),
    ("partition number huge", create(schema(ID, V, field("k", T.Int64, is_partition_key=True)), num_partitions=2**40), r"partition"),
    ("collection name ..", create(schema(ID, V, name=".."), name=".."), r"name"),
    ("collection name /", create(schema(ID, V, name="/etc/passwd"), name="/etc/passwd"), r"name"),
    ("collection name of nothing", create(schema(ID, V, name=""), name=""), r"name"),
    ("collection name with a NUL", create(schema(ID, V, name="a\x00b"), name="a\x00b"), r"name"),
    ("collection name too long", create(schema(ID, V, name=LONG_NAME), name=LONG_NAME), r"name|length|255"),
    ("TTL that is no number", create(schema(ID, V), properties=kv(**{"collection.ttl.seconds": "soon"})), r"ttl"),
    ("TTL negative", create(schema(ID, V), properties=kv(**{"collection.ttl.seconds": "-5"})), r"ttl"),
    ("consistency level that does not exist", create(schema(ID, V), consistency_level=42), r"consistency"),
    ("no schema", create(raw=b""), r"schema|field|primary"),
    ("string key without max_length", create(schema(field("id", T.VarChar, is_primary_key=True), V)), r"max_length"),
    ("made keys for a field that is no key", create(schema(ID, V, field("x", T.Int64, autoID=True))), r"\bx\b|auto"),
    ("nullable partition key", create(schema(ID, V, field("k", T.Int64, is_partition_key=True, nullable=True))), r"\bk\b|null"),
    ("primary key as partition key", create(schema(field("id", T.Int64, is_primary_key=True, is_partition_key=True), V)), r"\bid\b|partition key"),
    ("array of strings without max_length", create(schema(ID, V, field("a", T.Array, element_type=T.VarChar, params={"max_capacity": 4}))), r"max_length|\ba\b"),
    ("array without an element type", create(schema(ID, V, field("a", T.Array, params={"max_capacity": 4}))), r"element|\ba\b"),
    ("array of vectors", create(schema(ID, V, field("a", T.Array, element_type=T.FloatVector, params={"max_capacity": 4}))), r"element|\ba\b|vector"),
    ("dim negative", create(schema(ID, field("v", T.FloatVector, params={"dim": -4}))), r"dim"),
    ("dim over 64 bits", create(schema(ID, field("v", T.FloatVector, params={"dim": 10**30}))), r"dim"),
    ("default NaN", create(schema(ID, V, default(T.Double, double_data=NAN))), r"\bx\b|default|nan"),
    ("default of a vector", create(schema(ID, field("v", T.FloatVector, params={"dim": 4}, default_value=schema_pb2.ValueField(bytes_data=b"x")))), r"\bv\b|default"),
    ("field name of nothing", create(schema(ID, V, field("", T.Int64))), r"name"),
    ("field name with a digit first", create(schema(ID, V, field("1a", T.Int64))), r"name|1a"),
    ("collection name with a digit first", create(schema(ID, V, name="1a"), name="1a"), r"name"),
    ("partition number negative", create(schema(ID, V, field("k", T.Int64, is_partition_key=True)), num_partitions=-1), r"partition"),
    ("TTL over its range", create(schema(ID, V), properties=kv(**{"collection.ttl.seconds": str(10**30)})), r"ttl"),
]

INDEXES = [
    ("M too small", index("plain", index_type="HNSW", metric_type="L2", params='{"M": 1, "efConstruction": 10}'), r"\bM\b"),
    ("M that is no number", index("plain", index_type="HNSW", metric_type="L2", params='{"M": "x", "efConstruction": 10}'), r"\bM\b"),
    ("params that are no JSON", index("plain", index_type="HNSW", metric_type="L2", params="{M"), r"params|json"),
    ("an unknown kind", index("plain", index_type="MAGIC", metric_type="L2"), r"MAGIC|index.?type"),
    ("a metric for another type", index("plain", index_type="FLAT", metric_type="JACCARD"), r"metric"),
    ("an unknown field", index("zz", index_type="FLAT", metric_type="L2"), r"zz"),
    ("an index name with a slash", index("plain", index_name="../x", index_type="FLAT", metric_type="L2"), r"name"),
    ("M too large", index("plain", index_type="HNSW", metric_type="L2", params='{"M": 5000, "efConstruction": 10}'), r"\bM\b"),
    ("efConstruction zero", index("plain", index_type="HNSW", metric_type="L2", params='{"M": 8, "efConstruction": 0}'), r"efConstruction"),
    ("efConstruction over 64 bits", index("plain", index_type="HNSW", metric_type="L2", params='{"M": 8, "efConstruction": 1e30}'), r"efConstruction"),
    ("a scalar index on a vector", index("plain", index_type="INVERTED"), r"INVERTED|index.?type|vector"),
    ("a sparse index on a dense vector", index("plain", index_type="SPARSE_INVERTED_INDEX", metric_type="IP"), r"SPARSE_INVERTED_INDEX|index.?type"),
    ("a vector index on a key", index("id", index_type="HNSW", metric_type="L2", params='{"M": 8, "efConstruction": 10}'), r"\bid\b|HNSW|index.?type"),
    ("no field", index("", index_type="FLAT", metric_type="L2"), r"field"),
]

HYBRIDS = [
    ("no sub-requests", hybrid([]), r"request|empty"),
    ("an unknown ranker", hybrid([search()], strategy="magic"), r"magic|rank|strategy"),
    ("k zero", hybrid([search()], params='{"k": 0}'), r"\bk\b"),
    ("k that is no number", hybrid([search()], params='{"k": "x"}'), r"\bk\b"),
    ("rank params that are no JSON", hybrid([search()], params="{k"), r"params|json"),
    ("a weight over one", hybrid([search()], strategy="weighted", params='{"weights": [2.0]}'), r"weight"),
    ("too few weights", hybrid([search(), search()], strategy="weighted", params='{"weights": [0.5]}'), r"weight"),
    ("limit zero", hybrid([search()], limit=0), r"limit"),
    ("different numbers of queries", hybrid([search(), search(placeholders([floats(1, 2, 3, 4)] * 2), nq=2)]), r"nq|quer"),
    ("a spoiled sub-request", hybrid([search(), search(placeholders([floats(1, 2)]))]), r"dim"),
    ("a weight under zero", hybrid([search()], strategy="weighted", params='{"weights": [-0.1]}'), r"weight"),
    ("weights that are no list", hybrid([search()], strategy="weighted", params='{"weights": "x"}'), r"weight"),
    ("no weights", hybrid([search()], strategy="weighted", params="{}"), r"weight"),
    ("k over its range", hybrid([search()], params='{"k": 20000}'), r"\bk\b"),
    ("limit over the maximum", hybrid([search()], limit=16_385), r"limit|16384"),
    ("offset negative", hybrid([search()], offset=-1), r"offset"),
    ("round_decimal over six", hybrid([search()], round_decimal=7), r"round_decimal"),
    ("a sub-request on an unknown field", hybrid([search(), search(anns_field="zz")]), r"zz"),
    ("a sub-request with half a filter", hybrid([search(), search(dsl="n >")]), r"expect|unexpected"),
]

TABLE = [
    *(("Insert", i, r, (PARAMETER,), p) for i, r, p in INSERTS),
    *(("Upsert", i, r, (PARAMETER,), p) for i, r, p in UPSERTS),
    *(("Delete", i, r, (PARAMETER,), p) for i, r, p in DELETES),
    *(("Search", i, r, (PARAMETER,), p) for i, r, p in SEARCHES),
    *(("Query", i, r, (PARAMETER,), p) for i, r, p in QUERIES),
    *(("CreateCollection", i, r, (PARAMETER,), p) for i, r, p in CREATIONS),
    *(("CreateIndex", i, r, (PARAMETER,), p) for i, r, p in INDEXES),
    *(("HybridSearch", i, r, (PARAMETER,), p) for i, r, p in HYBRIDS),
    ("Insert", "a missing collection", insert(lambda r: setattr(r, "collection_name", "not_there")), (COLLECTION_NOT_FOUND,), "not_there"),
    ("Insert", "no collection name", insert(lambda r: setattr(r, "collection_name", "")), (PARAMETER, COLLECTION_NOT_FOUND), "collection"),
    ("Insert", "a path as collection", insert(lambda r: setattr(r, "collection_name", "../../etc")), (PARAMETER, COLLECTION_NOT_FOUND), "collection"),
    ("Insert", "a missing partition", insert(lambda r: setattr(r, "partition_name", "nope")), (PARTITION_NOT_FOUND,), "nope"),
    ("Insert", "a missing database", insert(lambda r: setattr(r, "db_name", "nodb")), (DATABASE_NOT_FOUND,), "nodb"),
    ("Insert", "an old schema", insert(schema_timestamp=5), (109,), "schema"),
    ("Insert", "a key where the server makes keys", insert(only_vector_of_auto), (PARAMETER,), r"(?i)auto|\bid\b"),
    ("Search", "a missing partition", search(partitions=["nope"]), (PARTITION_NOT_FOUND,), "nope"),
    ("Search", "a partition of a partition-key collection", search(name=KEYED, partitions=["_default_0"]), (PARAMETER,), "partition key"),
    ("CreatePartition", "name with a slash", milvus_pb2.CreatePartitionRequest(collection_name=GOOD, partition_name="a/b"), (PARAMETER,), "name"),
    ("CreatePartition", "name of dots", milvus_pb2.CreatePartitionRequest(collection_name=GOOD, partition_name=".."), (PARAMETER,), "name"),
    ("CreatePartition", "no name", milvus_pb2.CreatePartitionRequest(collection_name=GOOD), (PARAMETER,), "name"),
    ("CreateAlias", "name with a slash", milvus_pb2.CreateAliasRequest(collection_name=GOOD, alias="../x"), (PARAMETER,), "alias|name"),
    ("CreateAlias", "no name", milvus_pb2.CreateAliasRequest(collection_name=GOOD), (PARAMETER,), "alias|name"),
    ("CreateDatabase", "name of dots", milvus_pb2.CreateDatabaseRequest(db_name=".."), (PARAMETER, 802), "name"),
    ("CreateDatabase", "name with a slash", milvus_pb2.CreateDatabaseRequest(db_name="a/b"), (PARAMETER, 802), "name"),
    ("CreateDatabase", "no name", milvus_pb2.CreateDatabaseRequest(), (PARAMETER, 802), "name"),
    ("RenameCollection", "to a path", milvus_pb2.RenameCollectionRequest(oldName=GOOD, newName="../x"), (PARAMETER,), "name"),
    ("RenameCollection", "to nothing", milvus_pb2.RenameCollectionRequest(oldName=GOOD, newName=""), (PARAMETER,), "name"),
    ("AlterCollection", "TTL that is no number", milvus_pb2.AlterCollectionRequest(collection_name=GOOD, properties=kv(**{"collection.ttl.seconds": "x"})), (PARAMETER,), "ttl"),
    ("DescribeCollection", "no name", milvus_pb2.DescribeCollectionRequest(), (PARAMETER, COLLECTION_NOT_FOUND), "collection"),
    ("Flush", "no names", milvus_pb2.FlushRequest(), (PARAMETER,), "collection"),
    ("LoadPartitions", "no names", milvus_pb2.LoadPartitionsRequest(collection_name=GOOD), (PARAMETER,), "partition"),
    ("AddCollectionField", "schema of noise", milvus_pb2.AddCollectionFieldRequest(collection_name=GOOD, schema=b"\xff\xff"), (PARAMETER,), "schema|field"),
    ("AddCollectionField", "a field that is not nullable", milvus_pb2.AddCollectionFieldRequest(collection_name=GOOD, schema=field("later", T.Int64).SerializeToString()), (PARAMETER,), "null"),
    ("AddCollectionField", "a name that is taken", milvus_pb2.AddCollectionFieldRequest(collection_name=GOOD, schema=field("n", T.Int64, nullable=True).SerializeToString()), (PARAMETER,), r"\bn\b|duplicat|exist"),
    ("AddCollectionField", "no name", milvus_pb2.AddCollectionFieldRequest(collection_name=GOOD, schema=field("", T.Int64, nullable=True).SerializeToString()), (PARAMETER,), r"name"),
    ("AddCollectionField", "a second primary key", milvus_pb2.AddCollectionFieldRequest(collection_name=GOOD, schema=field("later", T.Int64, is_primary_key=True).SerializeToString()), (PARAMETER,), r"primary|later"),
    ("Search", "a missing collection", search(name="not_there"), (COLLECTION_NOT_FOUND,), "not_there"),
    ("Search", "a template of bytes", search_template(schema_pb2.TemplateValue(bytes_val=b"\x00")), (UNSUPPORTED,), r"\bx\b.*bytes"),
    ("Query", "another aggregate than count(*)", query("id > 0", output=["count(n)"]), (UNSUPPORTED,), r"count\(n\)"),
    ("Query", "a missing partition", query(partitions=["nope"]), (PARTITION_NOT_FOUND,), "nope"),
    ("Delete", "a missing collection", delete("id in [1]", name="not_there"), (COLLECTION_NOT_FOUND,), "not_there"),
    ("Delete", "a missing partition", delete("id in [1]", partition_name="nope"), (PARTITION_NOT_FOUND,), "nope"),
    ("Upsert", "a missing partition", upsert(lambda r: setattr(r, "partition_name", "nope")), (PARTITION_NOT_FOUND,), "nope"),
    ("CreateCollection", "a missing database", create(schema(ID, V), db_name="nodb"), (DATABASE_NOT_FOUND,), "nodb"),
    ("DropPartition", "the default partition", milvus_pb2.DropPartitionRequest(collection_name=GOOD, partition_name="_default"), (PARAMETER,), "_default|default partition"),
    ("DropDatabase", "the default database", milvus_pb2.DropDatabaseRequest(db_name="default"), (PARAMETER,), "default"),
    ("DropCollection", "no name", milvus_pb2.DropCollectionRequest(), (PARAMETER,), "collection"),
    ("CreateAlias", "the name of a collection", milvus_pb2.CreateAliasRequest(collection_name=GOOD, alias=AUTO), (1601, PARAMETER), AUTO),
    ("AlterAlias", "an alias that is not there", milvus_pb2.AlterAliasRequest(collection_name=GOOD, alias="nope"), (1600,), "nope"),
    ("DescribeIndex", "an index that is not there", milvus_pb2.DescribeIndexRequest(collection_name=GOOD, index_name="nope"), (700,), "nope"),
    ("ReleasePartitions", "no names", milvus_pb2.ReleasePartitionsRequest(collection_name=GOOD), (PARAMETER,), "partition"),
    ("LoadCollection", "a missing collection", milvus_pb2.LoadCollectionRequest(collection_name="not_there"), (COLLECTION_NOT_FOUND,), "not_there"),
    ("LoadCollection", "a hundred replicas", milvus_pb2.LoadCollectionRequest(collection_name=GOOD, replica_number=100), (PARAMETER,), "replica"),
    ("GetCollectionStatistics", "a missing collection", milvus_pb2.GetCollectionStatisticsRequest(collection_name="not_there"), (COLLECTION_NOT_FOUND,), "not_there"),
    ("Flush", "a missing collection", milvus_pb2.FlushRequest(collection_names=["not_there"]), (COLLECTION_NOT_FOUND,), "not_there"),
]  # fmt: skip

#: id, method, bytes on the wire, what the text must say. What is no message cannot be answered with a Status.
BYTES = [
    ("noise", "Insert", b"\xff" * 64, "varint"),
    ("truncated insert", "Insert", insert().SerializeToString()[:-5], r"InsertRequest.fields_data"),
    ("truncated search", "Search", search().SerializeToString()[:-3], r"SearchRequest.search_params"),
    ("truncated upsert", "Upsert", upsert().SerializeToString()[:-1], r"UpsertRequest"),
    ("truncated creation", "CreateCollection", create(schema(ID, V)).SerializeToString()[:-1], r"CreateCollectionRequest.schema"),
    ("a length beyond the end", "Query", b"\x1a\xff\xff\xff\xff\x0f", r"QueryRequest.collection_name"),
    ("a length of 2^64 - 1", "Query", b"\x1a" + b"\xff" * 9 + b"\x01", r"QueryRequest.collection_name"),
    ("a varint without end", "Query", b"\x08" + b"\xff" * 20, r"QueryRequest|varint"),
    ("field number zero", "Query", b"\x02\x00", r"tag|field"),
    ("a name that is not UTF-8", "DescribeCollection", b"\x1a\x02\xff\xfe", r"collection_name.*UTF-8"),
    ("a string value that is not UTF-8", "Insert", None, r"FieldData.*UTF-8"),
    ("a field of another wire type", "Search", b"\x18\x05", r"SearchRequest.*wire type"),
    ("groups nested a thousand deep", "Search", b"\x0b" * 1000, r"wire type|recursion|group"),
    ("unknown groups nested a thousand deep", "Search", b"\xfb\x3f" * 1000, r"recursion|group"),
    ("lists nested a thousand deep in a template", "Search", search_template(nested(1000)).SerializeToString(), r"recursion"),
    ("a message over the limit", "Insert", b"\x22" + b"\xe0\x80\x80\x41" + b"x" * (130 << 20), r"limit is: 134217728"),
]
# fmt: on


def invalid_utf8_insert():
    """A good insert whose strings are then no UTF-8. protobuf refuses to build it, so bytes are swapped."""
    built = insert(at("s", put("scalars.string_data.data", "QQQQ", "QQQQ"))).SerializeToString()
    assert built.count(b"QQQQ") == 2
    return built.replace(b"QQQQ", b"\xff\xfe\xfd\xfc")


# --- the tests ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stub(server, shared_client):
    """A raw stub, with the three collections in place."""
    client = shared_client
    for name in (GOOD, AUTO, KEYED, BARE, "malformed_new"):
        if client.has_collection(name):
            client.drop_collection(name)
    built = client.create_schema(enable_dynamic_field=True)
    built.add_field("id", DataType.INT64, is_primary=True)
    built.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    built.add_field("bits", DataType.BINARY_VECTOR, dim=16)
    built.add_field("half", DataType.FLOAT16_VECTOR, dim=DIM)
    built.add_field("ints", DataType.INT8_VECTOR, dim=DIM)
    built.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    built.add_field("s", DataType.VARCHAR, max_length=8)
    built.add_field("small", DataType.INT8)
    built.add_field("n", DataType.INT32)
    built.add_field("flag", DataType.BOOL)
    built.add_field("f", DataType.FLOAT)
    built.add_field("d", DataType.DOUBLE)
    built.add_field("doc", DataType.JSON)
    built.add_field("tags", DataType.ARRAY, element_type=DataType.INT32, max_capacity=4)
    wanted = client.prepare_index_params()
    wanted.add_index("v", index_type="FLAT", metric_type="L2")
    wanted.add_index("bits", index_type="BIN_FLAT", metric_type="HAMMING")
    wanted.add_index("half", index_type="FLAT", metric_type="L2")
    wanted.add_index("ints", index_type="FLAT", metric_type="L2")
    wanted.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection(GOOD, schema=built, index_params=wanted, consistency_level="Strong")
    bare = client.create_schema()
    bare.add_field("id", DataType.INT64, is_primary=True)
    bare.add_field("plain", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(BARE, schema=bare)
    client.create_collection(AUTO, dimension=DIM, auto_id=True, vector_field_name="v")
    keyed = client.create_schema()
    keyed.add_field("id", DataType.INT64, is_primary=True)
    keyed.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    keyed.add_field("k", DataType.INT64, is_partition_key=True)
    key_index = client.prepare_index_params()
    key_index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(KEYED, schema=keyed, index_params=key_index, consistency_level="Strong")
    with grpc.insecure_channel(server.grpc_address, options=[("grpc.max_send_message_length", -1)]) as channel:
        raw = milvus_pb2_grpc.MilvusServiceStub(channel)
        raw.channel = channel
        stored = raw.Insert(insert(at("id", put("scalars.long_data.data", *range(ROWS))), rows=ROWS), timeout=30)
        assert stored.status.code == 0, stored.status.reason
        assert stored.insert_cnt == ROWS
        yield raw
    for name in (GOOD, AUTO, KEYED, BARE):
        client.drop_collection(name)


def assert_unharmed(raw):
    """The server answers a good search, and holds what it held."""
    found = raw.Search(search(), timeout=30)
    assert found.status.code == 0, found.status.reason
    assert list(found.results.topks) == [3]
    counted = raw.Query(query("", output=["count(*)"]), timeout=30)
    assert counted.fields_data[0].scalars.long_data.data[0] == ROWS
    shown = raw.ShowCollections(milvus_pb2.ShowCollectionsRequest(), timeout=30)
    assert "malformed_new" not in shown.collection_names


def test_the_good_requests_are_good(stub):
    # Without this the table would prove nothing: a request must be refused for its one flaw.
    assert_unharmed(stub)
    answer = stub.Upsert(upsert(at("id", put("scalars.long_data.data", 0, 1))), timeout=30)
    assert answer.status.code == 0, answer.status.reason
    answer = stub.HybridSearch(hybrid([search(), search()]), timeout=30)
    assert answer.status.code == 0, answer.status.reason
    answer = stub.CreateCollection(create(schema(ID, V)), timeout=30)
    assert answer.code == 0, answer.reason
    stub.DropCollection(milvus_pb2.DropCollectionRequest(collection_name="malformed_new"), timeout=30)
    assert_unharmed(stub)


@pytest.mark.parametrize(
    ("method", "request_", "codes", "pattern"),
    [row[:1] + row[2:] for row in TABLE],
    ids=[f"{row[0]}: {row[1]}" for row in TABLE],
)
def test_a_malformed_request_is_refused_with_a_reason(stub, method, request_, codes, pattern):
    answer = getattr(stub, method)(request_, timeout=60)
    status = answer if isinstance(answer, common_pb2.Status) else answer.status
    assert status.code in codes, f"code {status.code}, not one of {codes}: {status.reason!r}"
    assert status.error_code != 0, "old clients look at the legacy code only"
    assert re.search(pattern, status.reason, re.IGNORECASE | re.DOTALL), f"{status.reason!r} does not match {pattern!r}"
    assert len(status.reason) < 4_000, "a refusal does not echo a huge request"
    assert not re.search(r"panic|\.rs:\d|unwrap|thread '", status.reason), status.reason
    assert_unharmed(stub)


@pytest.mark.parametrize(("method", "payload", "pattern"), [row[1:] for row in BYTES], ids=[row[0] for row in BYTES])
def test_bytes_that_are_no_message_are_refused(stub, method, payload, pattern):
    call = stub.channel.unary_unary(
        f"/milvus.proto.milvus.MilvusService/{method}",
        request_serializer=lambda b: b,
        response_deserializer=lambda b: b,
    )
    with pytest.raises(grpc.RpcError) as caught:
        call(payload if payload is not None else invalid_utf8_insert(), timeout=60)
    assert caught.value.code() in NO_MESSAGE, caught.value
    assert re.search(pattern, caught.value.details(), re.IGNORECASE | re.DOTALL), caught.value
    assert_unharmed(stub)


def test_there_are_enough_of_them():
    assert len(TABLE) + len(BYTES) >= 350
    names = [(row[0], row[1]) for row in TABLE]
    assert len(names) == len(set(names))
