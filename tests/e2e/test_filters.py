"""The filter language: each expression against a Python evaluation of the same rows.

A null operand makes a comparison unknown, `not unknown` is unknown, and a row passes only when the whole
is true. Each case is checked while rows are growing, after a flush, and with scalar indexes.
"""

import re
from types import SimpleNamespace

import pytest
from expect import PARAMETER
from pymilvus import DataType, MilvusException

ROWS = 240


def make_row(i):
    """Row i. Every kind of value repeats with its own period, so that conditions overlap in all ways."""
    return {
        "id": i,
        "n": None if i % 11 == 0 else i % 13,
        "small": i % 7 - 3,
        "big": 2**53 + i,
        "f": (i % 9) / 2,
        "d": None if i % 10 == 0 else (i % 20) * 0.25,
        "flag": i % 2 == 0,
        "s": None
        if i % 12 == 0
        else ["apple", "apricot", "Banana", "a_b", "100%", 'q"uote', "back\\slash", "ünï", ""][i % 9],
        "tags": [] if i % 5 == 0 else [i % 3, i % 4, i % 6],
        "words": [f"w{i % 3}", f"x{i % 4}"],
        "doc": None
        if i % 8 == 0
        else {
            "a": i % 6,
            "f": (i % 6) / 2,
            "s": f"s{i % 4}",
            "b": i % 3 == 0,
            "list": [i % 4, i % 5, "t"],
            "deep": {"er": {"x": i % 3}},
            **({"sometimes": i % 5} if i % 2 else {}),
        },
        "dyn": i % 10,
        **({"rare": f"r{i % 3}"} if i % 4 == 0 else {}),
        "obj": {"k": i % 3, "l": [i % 2]},
        "maybe": None if i % 3 == 1 else [float(i), 1.0],
    }


DATA = [make_row(i) for i in range(ROWS)]
FIELDS = {k for row in DATA for k in row}
OBJECTS = [SimpleNamespace(**{k: row.get(k) for k in FIELDS}) for row in DATA]


def has(value):
    return value is not None


#: expression, Python condition (True = passes)
CASES = [
    # comparisons
    ("n == 3", lambda r: r.n == 3),
    ("n != 3", lambda r: has(r.n) and r.n != 3),
    ("n > 5", lambda r: has(r.n) and r.n > 5),
    ("n >= 5", lambda r: has(r.n) and r.n >= 5),
    ("n < 5", lambda r: has(r.n) and r.n < 5),
    ("n <= 5", lambda r: has(r.n) and r.n <= 5),
    ("5 < n", lambda r: has(r.n) and r.n > 5),
    ("5 == n", lambda r: r.n == 5),
    ("n>5", lambda r: has(r.n) and r.n > 5),
    ("  ( ( n > 5 ) )  ", lambda r: has(r.n) and r.n > 5),
    ("n > 4.5", lambda r: has(r.n) and r.n > 4.5),
    ("small == -3", lambda r: r.small == -3),
    ("small > -2", lambda r: r.small > -2),
    ("small < 1000000", lambda r: True),
    ("small > 300", lambda r: False),
    ("big == 9007199254740993", lambda r: r.big == 2**53 + 1),
    ("big > 9007199254741100", lambda r: r.big > 9007199254741100),
    ("f == 1.5", lambda r: r.f == 1.5),
    ("f >= 2", lambda r: r.f >= 2),
    ("d < 1.25", lambda r: has(r.d) and r.d < 1.25),
    ("d == 1e0", lambda r: r.d == 1.0),
    ("flag == true", lambda r: r.flag),
    ("flag == True", lambda r: r.flag),
    ("flag != true", lambda r: not r.flag),
    ("flag == false", lambda r: not r.flag),
    ("flag", lambda r: r.flag),
    ("not flag", lambda r: not r.flag),
    ("n < 0x0a", lambda r: has(r.n) and r.n < 10),
    ("id == 9223372036854775807", lambda r: False),
    ("id >= -9223372036854775808", lambda r: True),
    # column against column
    ("id == n", lambda r: r.id == r.n),
    ("small < n", lambda r: has(r.n) and r.small < r.n),
    ("f < d", lambda r: has(r.d) and r.f < r.d),
    # ranges
    ("2 < n < 6", lambda r: has(r.n) and 2 < r.n < 6),
    ("2 <= n <= 6", lambda r: has(r.n) and 2 <= r.n <= 6),
    ("6 > n > 2", lambda r: has(r.n) and 2 < r.n < 6),
    ("1.0 <= f < 3.5", lambda r: 1.0 <= r.f < 3.5),
    ('"apple" <= s < "b"', lambda r: has(r.s) and "apple" <= r.s < "b"),
    # arithmetic
    ("n + 1 == 5", lambda r: has(r.n) and r.n + 1 == 5),
    ("n - 3 > 4", lambda r: has(r.n) and r.n - 3 > 4),
    ("n * 2 == 8", lambda r: has(r.n) and r.n * 2 == 8),
    ("id / 2 == 60", lambda r: r.id // 2 == 60),
    ("id % 7 == 3", lambda r: r.id % 7 == 3),
    ("id % 7 != 3", lambda r: r.id % 7 != 3),
    ("f * 2 >= 3", lambda r: r.f * 2 >= 3),
    ("d + 0.5 < 2", lambda r: has(r.d) and r.d + 0.5 < 2),
    ("n > 2 + 3 * 2", lambda r: has(r.n) and r.n > 8),
    ("n > (2 + 3) * 2", lambda r: has(r.n) and r.n > 10),
    ("n == 2 ** 3", lambda r: r.n == 8),
    ("n < -(-3)", lambda r: has(r.n) and r.n < 3),
    ("n == 17 % 5", lambda r: r.n == 2),
    # in
    ("n in [1, 3, 5]", lambda r: r.n in (1, 3, 5)),
    ("n in [1, 3, 5,]", lambda r: r.n in (1, 3, 5)),
    ("n not in [1, 3, 5]", lambda r: has(r.n) and r.n not in (1, 3, 5)),
    ("n in []", lambda r: False),
    ("n not in []", lambda r: has(r.n)),
    ("n IN [7]", lambda r: r.n == 7),
    ("not (n in [1, 3])", lambda r: has(r.n) and r.n not in (1, 3)),
    ('s in ["apple", "ünï"]', lambda r: r.s in ("apple", "ünï")),
    ("s in ['apple', 'a_b']", lambda r: r.s in ("apple", "a_b")),
    ("f in [0.5, 1.5]", lambda r: r.f in (0.5, 1.5)),
    ("flag in [true]", lambda r: r.flag),
    (f"id in [{', '.join(str(i) for i in range(0, 10000, 3))}]", lambda r: r.id % 3 == 0),
    # text
    ('s == "apple"', lambda r: r.s == "apple"),
    ("s == 'apple'", lambda r: r.s == "apple"),
    ('s != "apple"', lambda r: has(r.s) and r.s != "apple"),
    ('s > "b"', lambda r: has(r.s) and r.s.encode() > b"b"),
    ('s == ""', lambda r: r.s == ""),
    (r's == "q\"uote"', lambda r: r.s == 'q"uote'),
    ("s == 'q\"uote'", lambda r: r.s == 'q"uote'),
    (r's == "back\\slash"', lambda r: r.s == "back\\slash"),
    ('s == "ünï"', lambda r: r.s == "ünï"),
    ('s like "ap%"', lambda r: has(r.s) and r.s.startswith("ap")),
    ('s like "%e"', lambda r: has(r.s) and r.s.endswith("e")),
    ('s like "%an%"', lambda r: has(r.s) and "an" in r.s),
    ('s like "a%e"', lambda r: has(r.s) and re.fullmatch("a.*e", r.s)),
    ('s like "a_b"', lambda r: has(r.s) and re.fullmatch("a.b", r.s)),
    (r's like "a\\_b"', lambda r: r.s == "a_b"),
    (r's like "%\\%"', lambda r: has(r.s) and r.s.endswith("%")),
    ('s like "%"', lambda r: has(r.s)),
    ('s like "apple"', lambda r: r.s == "apple"),
    ('s LIKE "Ban%"', lambda r: has(r.s) and r.s.startswith("Ban")),
    ('not (s like "a%")', lambda r: has(r.s) and not r.s.startswith("a")),
    # null
    ("n is null", lambda r: r.n is None),
    ("n is not null", lambda r: has(r.n)),
    ("n IS NULL", lambda r: r.n is None),
    ("s is null or s == 'apple'", lambda r: r.s is None or r.s == "apple"),
    ("doc is null", lambda r: r.doc is None),
    ("doc is not null", lambda r: has(r.doc)),
    ("not (n is null)", lambda r: has(r.n)),
    # vectors: whether there is one
    ("maybe is null", lambda r: r.maybe is None),
    ("maybe is not null", lambda r: has(r.maybe)),
    ("v is null", lambda r: False),
    ("v is not null and small > 0", lambda r: r.small > 0),
    ("maybe is null or n == 3", lambda r: r.maybe is None or r.n == 3),
    ("not (maybe is null) and s is null", lambda r: has(r.maybe) and r.s is None),
    ("not (n > 5)", lambda r: has(r.n) and r.n <= 5),
    ("not (n > 5 and flag)", lambda r: not r.flag or (has(r.n) and r.n <= 5)),
    ("not (n > 5 or flag)", lambda r: has(r.n) and r.n <= 5 and not r.flag),
    ("n > 5 or n <= 5", lambda r: has(r.n)),
    ("n > 5 or id >= 0", lambda r: True),
    ("not (n == 1 or s == 'apple')", lambda r: has(r.n) and r.n != 1 and has(r.s) and r.s != "apple"),
    # boolean algebra and precedence: not, then and, then or
    ("n == 1 or n == 2 and flag", lambda r: r.n == 1 or (r.n == 2 and r.flag)),
    ("(n == 1 or n == 2) and flag", lambda r: r.n in (1, 2) and r.flag),
    ("n == 2 and flag or n == 1", lambda r: (r.n == 2 and r.flag) or r.n == 1),
    ("n > 1 && n < 5 || flag == true && n == 7", lambda r: (has(r.n) and (1 < r.n < 5)) or (r.flag and r.n == 7)),
    ("not flag and n == 3", lambda r: not r.flag and r.n == 3),
    ("!(n == 3) and flag", lambda r: has(r.n) and r.n != 3 and r.flag),
    ("not not flag", lambda r: r.flag),
    ("NOT (n > 3) AND flag OR n == 12", lambda r: (has(r.n) and r.n <= 3 and r.flag) or r.n == 12),
    ("n + 1 > 3 and n * 2 < 20", lambda r: has(r.n) and r.n + 1 > 3 and r.n * 2 < 20),
    (" or ".join(f"id == {i}" for i in range(0, 600, 2)), lambda r: r.id % 2 == 0),
    (" and ".join(f"id != {i}" for i in range(0, 600, 2)), lambda r: r.id % 2 == 1),
    ("(" * 50 + "n == 4" + ")" * 50, lambda r: r.n == 4),
    # arrays
    ("tags[0] == 2", lambda r: r.tags[:1] == [2]),
    ("tags[2] > 3", lambda r: len(r.tags) > 2 and r.tags[2] > 3),
    ("tags[7] == 1", lambda r: False),
    ("array_length(tags) == 0", lambda r: not r.tags),
    ("array_length(tags) > 1", lambda r: len(r.tags) > 1),
    ("ARRAY_LENGTH(tags) == 3", lambda r: len(r.tags) == 3),
    ("array_contains(tags, 5)", lambda r: 5 in r.tags),
    ("ARRAY_CONTAINS(tags, 5)", lambda r: 5 in r.tags),
    ("array_contains_all(tags, [1, 3])", lambda r: {1, 3} <= set(r.tags)),
    ("array_contains_any(tags, [4, 5])", lambda r: {4, 5} & set(r.tags)),
    ("not array_contains(tags, 5)", lambda r: 5 not in r.tags),
    ('words[0] == "w1"', lambda r: r.words[0] == "w1"),
    ('array_contains(words, "x3")', lambda r: "x3" in r.words),
    ('array_contains_any(words, ["x3", "w0"])', lambda r: {"x3", "w0"} & set(r.words)),
    ('words[1] like "x%"', lambda r: True),
    # JSON
    ('doc["a"] == 3', lambda r: has(r.doc) and r.doc["a"] == 3),
    ("doc['a'] == 3", lambda r: has(r.doc) and r.doc["a"] == 3),
    ('doc["a"] == 3.0', lambda r: has(r.doc) and r.doc["a"] == 3),
    ('doc["a"] > 2', lambda r: has(r.doc) and r.doc["a"] > 2),
    ('doc["a"] > 2.5', lambda r: has(r.doc) and r.doc["a"] > 2.5),
    ('1 < doc["a"] <= 4', lambda r: has(r.doc) and 1 < r.doc["a"] <= 4),
    ('doc["f"] == 1.5', lambda r: has(r.doc) and r.doc["f"] == 1.5),
    ('doc["f"] >= 1', lambda r: has(r.doc) and r.doc["f"] >= 1),
    ('doc["s"] == "s2"', lambda r: has(r.doc) and r.doc["s"] == "s2"),
    ('doc["s"] like "s%"', lambda r: has(r.doc)),
    ('doc["s"] > "s1"', lambda r: has(r.doc) and r.doc["s"] > "s1"),
    ('doc["b"] == true', lambda r: has(r.doc) and r.doc["b"]),
    ('doc["a"] in [1, 2]', lambda r: has(r.doc) and r.doc["a"] in (1, 2)),
    ('doc["s"] in ["s0", "s3"]', lambda r: has(r.doc) and r.doc["s"] in ("s0", "s3")),
    ('doc["deep"]["er"]["x"] == 2', lambda r: has(r.doc) and r.doc["deep"]["er"]["x"] == 2),
    ('doc["list"][0] == 3', lambda r: has(r.doc) and r.doc["list"][0] == 3),
    ('doc["list"][2] == "t"', lambda r: has(r.doc)),
    ('doc["list"][9] == 1', lambda r: False),
    ('doc["sometimes"] == 2', lambda r: has(r.doc) and r.doc.get("sometimes") == 2),
    ('doc["never"] == 2', lambda r: False),
    ('doc["s"] == 2', lambda r: False),
    ('exists doc["sometimes"]', lambda r: has(r.doc) and "sometimes" in r.doc),
    ('EXISTS doc["a"]', lambda r: has(r.doc)),
    ('not exists doc["sometimes"] and doc is not null', lambda r: has(r.doc) and "sometimes" not in r.doc),
    ('doc["a"] + 1 == 3', lambda r: has(r.doc) and r.doc["a"] + 1 == 3),
    ('json_contains(doc["list"], 3)', lambda r: has(r.doc) and 3 in r.doc["list"]),
    ('JSON_CONTAINS(doc["list"], "t")', lambda r: has(r.doc)),
    ('json_contains_all(doc["list"], [1, "t"])', lambda r: has(r.doc) and 1 in r.doc["list"]),
    ('json_contains_any(doc["list"], [3, 4])', lambda r: has(r.doc) and {3, 4} & set(r.doc["list"])),
    ('array_contains(doc["list"], 3)', lambda r: has(r.doc) and 3 in r.doc["list"]),
    ('array_length(doc["list"]) == 3', lambda r: has(r.doc)),
    # dynamic fields
    ("dyn == 4", lambda r: r.dyn == 4),
    ("dyn in [1, 2] and n > 3", lambda r: r.dyn in (1, 2) and has(r.n) and r.n > 3),
    ('$meta["dyn"] == 4', lambda r: r.dyn == 4),
    ('rare == "r1"', lambda r: r.rare == "r1"),
    ('rare like "r%"', lambda r: has(r.rare)),
    ("exists rare", lambda r: has(r.rare)),
    ("not exists rare", lambda r: not has(r.rare)),
    ('obj["k"] == 1', lambda r: r.obj["k"] == 1),
    ('obj["l"][0] == 1', lambda r: r.obj["l"][0] == 1),
    ('json_contains(obj["l"], 0)', lambda r: 0 in r.obj["l"]),
    ("never_seen == 1", lambda r: False),
]

#: expression, template values, Python condition
TEMPLATES = [
    ("n == {x}", {"x": 3}, lambda r: r.n == 3),
    ("n > {low} and n < {high}", {"low": 2, "high": 6}, lambda r: has(r.n) and 2 < r.n < 6),
    ("{low} < n < {high}", {"low": 2, "high": 6}, lambda r: has(r.n) and 2 < r.n < 6),
    ("n in {list}", {"list": [1, 3]}, lambda r: r.n in (1, 3)),
    ("n not in {list}", {"list": [1, 3]}, lambda r: has(r.n) and r.n not in (1, 3)),
    ("id in {list}", {"list": list(range(0, 20000, 2))}, lambda r: r.id % 2 == 0),
    ("s == {x}", {"x": 'q"uote'}, lambda r: r.s == 'q"uote'),
    ("s == {x}", {"x": "back\\slash"}, lambda r: r.s == "back\\slash"),
    ("s in {x}", {"x": ["apple", "' or id >= 0 or s == '"]}, lambda r: r.s == "apple"),
    ("f >= {x}", {"x": 1.5}, lambda r: r.f >= 1.5),
    ("d < {x}", {"x": 1}, lambda r: has(r.d) and r.d < 1),
    ("flag == {x}", {"x": False}, lambda r: not r.flag),
    ('doc["a"] == {x}', {"x": 2}, lambda r: has(r.doc) and r.doc["a"] == 2),
    ('doc["s"] in {x}', {"x": ["s1"]}, lambda r: has(r.doc) and r.doc["s"] == "s1"),
    ("dyn > {x}", {"x": 7}, lambda r: r.dyn > 7),
    ("array_contains_any(tags, {x})", {"x": [4, 5]}, lambda r: {4, 5} & set(r.tags)),
    ("array_contains(tags, {x})", {"x": 5}, lambda r: 5 in r.tags),
    ('json_contains_all(doc["list"], {x})', {"x": [1, 2]}, lambda r: has(r.doc) and {1, 2} <= set(r.doc["list"])),
    ("n + 1 == {x}", {"x": 4}, lambda r: r.n == 3),
]

#: expression, what the refusal must say (any case)
WRONG = [
    ("n ==", "expect|unexpected|end"),
    ("n == 1 and", "expect|unexpected|end"),
    ("== 3", "expect|unexpected"),
    ("n = 3", "expect|unexpected|=="),
    ("n == 3)", r"expect|unexpected|\)"),
    ("(n == 3", r"expect|unexpected|\)"),
    ("n == 3 4", "expect|unexpected"),
    ("n in 3", "list|array|expect|unexpected"),
    ("n in [1, ", "expect|unexpected|end"),
    ("n in ['a']", "n|type|int"),
    ("n == 'text'", "n|type|compar|int"),
    ("s == 5", "s|type|compar|varchar|string"),
    ("s > 1.5", "s|type|compar"),
    ("flag == 1", "flag|bool|type"),
    ("flag > true", "flag|bool|compar|order"),
    ("s + 1 == 2", "s|type|arith|numeric"),
    ("n like 'a%'", "n|like|varchar|string"),
    ("s like 5", "expect|unexpected|string|pattern"),
    ("s == 'unfinished", "expect|unexpected|quote|string|end|token"),
    ("array_contains(n, 1)", "n|array|json"),
    ("array_contains(tags, 'x')", "tags|type|element"),
    ("array_contains(tags)", "argument|expect|unexpected"),
    ("array_length(n) == 1", "n|array"),
    ("tags == 1", "tags|array|type|index"),
    ("n[0] == 1", "n|array|json|index"),
    ("tags['a'] == 1", "tags|index|array|int"),
    ("v == 1", "v|vector|type"),
    ("maybe[0] is null", "maybe|vector|part"),
    ("no_such_function(n)", "no_such_function|function|expect|unexpected"),
    ("n", "bool|condition|n"),
    ("n + 1", "bool|condition|predicate|arith"),
    ("5", "bool|condition|constant|predicate"),
    ("n / 0 == 1", "zero|division"),
    ("n % 0 == 1", "zero|modulo|division"),
    ("n == 99999999999999999999999", "range|overflow|integer|int64|large|big"),
    ("n == {x}", "x|template|param|value"),
    ("n == @", "expect|unexpected|token|@"),
    ("n == 1 ; drop", "expect|unexpected|token|;"),
    ("exists n", "exists|json"),
]


@pytest.fixture(scope="module")
def loaded(shared_client, module_collection):
    client, name = shared_client, module_collection
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("n", DataType.INT64, nullable=True)
    schema.add_field("small", DataType.INT8)
    schema.add_field("big", DataType.INT64)
    schema.add_field("f", DataType.FLOAT)
    schema.add_field("d", DataType.DOUBLE, nullable=True)
    schema.add_field("flag", DataType.BOOL)
    schema.add_field("s", DataType.VARCHAR, max_length=64, nullable=True)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT32, max_capacity=8)
    schema.add_field("words", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=8, max_length=8)
    schema.add_field("doc", DataType.JSON, nullable=True)
    schema.add_field("maybe", DataType.FLOAT_VECTOR, dim=2, nullable=True)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    index.add_index("maybe", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [{**row, "v": [float(row["id"]), 0.0]} for row in DATA])
    return name


@pytest.fixture(scope="module", params=["growing", "flushed", "indexed"])
def stage(request, shared_client, loaded):
    """The same rows in the three states in which they can be filtered."""
    if request.param == "flushed":
        shared_client.flush(loaded)
    if request.param == "indexed":
        index = shared_client.prepare_index_params()
        for field, kind in (
            ("n", "STL_SORT"), ("small", "BITMAP"), ("big", "INVERTED"), ("f", "STL_SORT"), ("d", "INVERTED"),
            ("flag", "BITMAP"), ("s", "INVERTED"), ("tags", "INVERTED"), ("words", "BITMAP"),
        ):  # fmt: skip
            index.add_index(field, index_type=kind)
        shared_client.create_index(loaded, index)
        shared_client.flush(loaded)
        shared_client.refresh_load(loaded)
    return loaded


def check(client, name, expression, want, params=None):
    options = {"filter_params": params} if params else {}
    found = client.query(name, filter=expression, output_fields=["id"], limit=1000, **options)
    got = {r["id"] for r in found}
    extra, missing = sorted(got - want), sorted(want - got)
    assert not extra and not missing, (
        f"{expression[:200]}: rows {extra[:5]} must not pass, rows {missing[:5]} must; "
        f"for example {DATA[(extra or missing)[0]]}"
    )
    # A search under the same filter agrees with the query.
    hits = client.search(name, [[0.0, 0.0]], anns_field="v", filter=expression, limit=1000, **options)[0]
    assert {h["id"] for h in hits} == want, f"search disagrees with query: {expression[:200]}"


def name_of(text):
    return re.sub(r"\s+", " ", text)[:70]


@pytest.mark.parametrize(("expression", "passes"), CASES, ids=[name_of(e) for e, _ in CASES])
def test_an_expression_means_what_python_says(shared_client, stage, expression, passes):
    check(shared_client, stage, expression, {r.id for r in OBJECTS if passes(r)})


@pytest.mark.parametrize(
    ("expression", "params", "passes"), TEMPLATES, ids=[f"{name_of(e)}-{i}" for i, (e, _, _) in enumerate(TEMPLATES)]
)
def test_template_values_are_values_not_text(shared_client, stage, expression, params, passes):
    check(shared_client, stage, expression, {r.id for r in OBJECTS if passes(r)}, params)


@pytest.mark.parametrize(("expression", "pattern"), WRONG, ids=[name_of(e) for e, _ in WRONG])
def test_a_wrong_expression_is_refused_with_a_reason(shared_client, loaded, expression, pattern):
    for call in (
        lambda: shared_client.query(loaded, filter=expression),
        lambda: shared_client.search(loaded, [[0.0, 0.0]], anns_field="v", filter=expression),
        lambda: shared_client.delete(loaded, filter=expression),
    ):
        with pytest.raises(MilvusException) as caught:
            call()
        assert caught.value.code == PARAMETER, caught.value
        assert re.search(pattern, caught.value.message, re.IGNORECASE), caught.value.message
    assert shared_client.query(loaded, filter="", output_fields=["count(*)"])[0]["count(*)"] == ROWS


def test_a_syntax_error_names_the_position(shared_client, loaded):
    with pytest.raises(MilvusException) as caught:
        shared_client.query(loaded, filter="n == 3 and and f > 1")
    assert re.search(r"\b1[12]\b", caught.value.message), f"no position in {caught.value.message!r}"


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 10_000 + "n == 1" + ")" * 10_000,
        "not " * 10_000 + "flag",
        "-" * 10_001 + "1 == n",
        "doc" + '["a"]' * 10_000 + " == 1",
        "n == " + "[" * 10_000 + "]" * 10_000,
        "n == 1 + " + "(1 + " * 10_000 + "1" + ")" * 10_000,
    ],
    ids=["parentheses", "not", "minus", "path", "lists", "arithmetic"],
)
def test_depth_of_ten_thousand_is_an_error_not_a_crash(shared_client, loaded, expression):
    with pytest.raises(MilvusException, match="(?i)deep|depth|nest|long|limit|more than|expect|unexpected") as caught:
        shared_client.query(loaded, filter=expression)
    assert caught.value.code == PARAMETER
    assert len(caught.value.message) < 4_000, "a refusal does not echo a huge expression whole"


@pytest.mark.parametrize(
    "expression",
    [" or ".join(["id == 1"] * 300_000), f"id in [{','.join(str(i) for i in range(1, 2_000_000))}]"],
    ids=["a chain of 300 000 terms", "a list of 2 000 000 keys"],
)
def test_a_huge_flat_expression_is_answered_or_refused_but_never_fatal(shared_client, loaded, expression):
    try:
        rows = shared_client.query(loaded, filter=expression, output_fields=["id"], timeout=60)
    except MilvusException as refusal:
        assert re.search("(?i)long|length|limit|many|large|more than", refusal.message), refusal.message
    else:
        assert 1 in {r["id"] for r in rows}
    assert shared_client.query(loaded, filter="id == 1", output_fields=["id"]) == [{"id": 1}]
