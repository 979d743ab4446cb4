//! What each filter means: its typed tree, as text.

use super::{dynamic_schema, parse, parsed, schema};
use crate::{Operand, PathStep, Predicate};

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let schema = dynamic_schema();
    for (text, expected) in cases {
        match parse(text) {
            Ok(predicate) => {
                assert_eq!(predicate.to_text(&schema).to_string(), *expected, "{text}");
            }
            Err(error) => panic!("{text}: {error}"),
        }
    }
}

#[test]
fn blank_text_holds_of_every_row() {
    check(&[("", "true"), (" \t\r\n ", "true")]);
    assert!(parsed("").is_always_true());
}

#[test]
fn literals_stand_on_the_right() {
    check(&[
        ("i64 > 5", "i64 > 5"),
        ("5 < i64", "i64 > 5"),
        ("5 >= i64", "i64 <= 5"),
        ("5 == i64", "i64 == 5"),
        ("5 != i64 + 1", "(i64 + 1) != 5"),
        ("\"a\" < s", "s > \"a\""),
        ("i8 == 1000", "i8 == 1000"),
        ("b == true", "b == true"),
        ("false != b", "b != false"),
        ("ints == [1, 2]", "ints == [1, 2]"),
        ("floats != [1]", "floats != [1.0]"),
    ]);
}

#[test]
fn numbers_take_the_type_of_the_field() {
    check(&[
        ("d == 2", "d == 2.0"),
        ("d in [1, 2.5]", "d in [1.0, 2.5]"),
        // 0.1 as the nearest 32-bit float, which is what the field holds.
        ("f == 0.1", "f == 0.10000000149011612"),
        ("f < 1e300", "f < 1e300"),
        ("i32 == 4.0", "i32 == 4"),
        ("i32 == 4.5", "i32 == 4.5"),
        ("i32 < 4.5", "i32 <= 4"),
        ("i32 <= -4.5", "i32 <= -5"),
        ("i32 > 4.5", "i32 >= 5"),
        ("i32 >= -4.5", "i32 >= -4"),
        ("i64 < 1e30", "i64 < 1e30"),
        ("1.0 < i32 < 2.5", "i32 > 1 and i32 <= 2"),
        ("json[\"a\"] == 2", "json[\"a\"] == 2"),
    ]);
}

#[test]
fn number_literals_have_the_forms_of_c() {
    check(&[
        ("i64 == 0x1F", "i64 == 31"),
        ("i64 == 0b101", "i64 == 5"),
        ("i64 == 017", "i64 == 15"),
        ("i64 == 0", "i64 == 0"),
        ("i64 == 9223372036854775807", "i64 == 9223372036854775807"),
        ("i64 == -9223372036854775808", "i64 == -9223372036854775808"),
        (
            "i64 in [-9223372036854775808, -1]",
            "i64 in [-9223372036854775808, -1]",
        ),
        ("d == .5", "d == 0.5"),
        ("d == 5.", "d == 5.0"),
        ("d == 1.5E-3", "d == 0.0015"),
        ("d == 1e3", "d == 1000.0"),
        ("d == 00.5", "d == 0.5"),
        ("i64 == - -5", "i64 == 5"),
        ("i64 == +5", "i64 == 5"),
        ("+i64 == 5", "i64 == 5"),
    ]);
}

#[test]
fn strings_unescape() {
    check(&[
        (r#"s == "a'b""#, r#"s == "a'b""#),
        (r#"s == 'a"b'"#, r#"s == "a\"b""#),
        (r"s == 'a\'b'", r#"s == "a'b""#),
        (r#"s == "\n\t\\\"""#, r#"s == "\n\t\\\"""#),
        (r#"s == "\u4f60\u597d""#, "s == \"你好\""),
        (r#"s == "\ud83d\ude00""#, "s == \"😀\""),
        (r#"s == "\U0001F600""#, "s == \"😀\""),
        (r#"s == "\x41\101\0""#, "s == \"AA\\u0000\""),
        (r#"s == "\xe4\xbd\xa0""#, "s == \"你\""),
        (r#"s == "\?\a\v""#, "s == \"?\\u0007\\u000b\""),
        (r#"s == "50\%""#, r#"s == "50\\%""#),
        (r#"s == r"a\nb\"c""#, r#"s == "a\\nb\\\"c""#),
        (r#"s == u8"x""#, "s == \"x\""),
        ("s == 'a\\\nb'", "s == \"ab\""),
        ("s == '你好'", "s == \"你好\""),
        ("s == ''", "s == \"\""),
    ]);
}

#[test]
fn operators_bind_as_in_milvus() {
    check(&[
        (
            "b or b2 and i64 > 1",
            "b or (b and b2)"
                .replace("b and b2", "b2 and i64 > 1")
                .as_str(),
        ),
        ("i64 + 2 * 3 == 7", "(i64 + 6) == 7"),
        ("i64 * 2 + 3 == 7", "((i64 * 2) + 3) == 7"),
        ("i64 - 1 - 2 == 0", "((i64 - 1) - 2) == 0"),
        ("i64 == 2 ** 3 ** 2", "i64 == 64"),
        ("i64 == -2 ** 2", "i64 == -4"),
        ("d == 2 ** -1", "d == 0.5"),
        ("i64 % 4 == 1", "(i64 % 4) == 1"),
        ("i64 in [1 + 1, 2 * 3]", "i64 in [2, 6]"),
        ("not b and b2", "not (b) and b2"),
        ("not s like 'a%'", "not (s like \"a%\")"),
        ("not (i64 > 5)", "not (i64 > 5)"),
        ("!(i64 > 5)", "not (i64 > 5)"),
        ("not exists json['a']", "not (exists json[\"a\"])"),
        ("not i64 is null", "not (i64 is null)"),
        ("exists json['a'] && b", "exists json[\"a\"] and b"),
        ("b || b2 && b", "b or (b2 and b)"),
        ("(b or b2) and b", "(b or b2) and b"),
        ("b AND b2 OR NOT b", "(b and b2) or not (b)"),
        ("true == (1 < 2)", "true"),
    ]);
}

#[test]
fn ranges_become_two_comparisons() {
    check(&[
        ("1 < i64 <= 5", "i64 > 1 and i64 <= 5"),
        ("5 >= i64 > 1", "i64 <= 5 and i64 > 1"),
        ("'a' <= s < 'b'", "s >= \"a\" and s < \"b\""),
        ("1 < json['a'] < 2", "json[\"a\"] > 1 and json[\"a\"] < 2"),
        ("1 < ints[0] < 1 + 2", "ints[0] > 1 and ints[0] < 3"),
        ("2 <= i64 <= 2", "i64 >= 2 and i64 <= 2"),
        ("b and 1 < i64 < 5", "b and i64 > 1 and i64 < 5"),
        ("not (1 < i64 < 5)", "not (i64 > 1 and i64 < 5)"),
        ("1 < i64", "i64 > 1"),
    ]);
}

#[test]
fn lists_are_sets() {
    check(&[
        ("i64 in [3, 1, 2, 3, ]", "i64 in [1, 2, 3]"),
        ("i64 not in [1]", "not (i64 in [1])"),
        ("i64 NOT IN [1]", "not (i64 in [1])"),
        ("i64 in []", "i64 in []"),
        ("i64 in [ \n ]", "i64 in []"),
        ("s in ['b', \"a\"]", "s in [\"a\", \"b\"]"),
        ("b in [true, false]", "b in [false, true]"),
        (
            "json['a'] in ['1', 2, 'x', 2.5, true]",
            "json[\"a\"] in [true, 2, 2.5, \"1\", \"x\"]",
        ),
        ("i64 + 1 in [2]", "(i64 + 1) in [2]"),
        (
            "array_length(ints) in [0, 1]",
            "array_length(ints) in [0, 1]",
        ),
        ("ints[1] in [7]", "ints[1] in [7]"),
    ]);
}

#[test]
fn json_and_dynamic_keys_are_paths() {
    check(&[
        ("json['a']['b'][0] == 1", "json[\"a\"][\"b\"][0] == 1"),
        ("color == 'red'", "$meta[\"color\"] == \"red\""),
        ("$meta['color'] == 'red'", "$meta[\"color\"] == \"red\""),
        ("color['x'][2] > 1", "$meta[\"color\"][\"x\"][2] > 1"),
        ("größe > 1", "$meta[\"größe\"] > 1"),
        ("json['a'] == [1, 'x']", "json[\"a\"] == [1, \"x\"]"),
        ("json['a'] == true", "json[\"a\"] == true"),
        ("json['a'] % 2 == 1", "(json[\"a\"] % 2) == 1"),
        ("json['a'] + 1 > i64", "(json[\"a\"] + 1) > i64"),
        ("json == 5", "json == 5"),
        ("json['a'] like '%x'", "json[\"a\"] like \"%x\""),
        (
            "json['flag'] and not on",
            "json[\"flag\"] and not ($meta[\"on\"])",
        ),
        ("exists color", "exists $meta[\"color\"]"),
        ("EXISTS json['a']", "exists json[\"a\"]"),
        // Only followed by a bracket is it a function.
        ("json_contains == 1", "$meta[\"json_contains\"] == 1"),
        ("st_within > 1", "$meta[\"st_within\"] > 1"),
    ]);
}

#[test]
fn null_tests_in_any_case() {
    check(&[
        ("i64 is null", "i64 is null"),
        ("i64 IS NOT NULL", "not (i64 is null)"),
        ("json['a'] Is Null", "json[\"a\"] is null"),
        ("color is  not\nnull", "not ($meta[\"color\"] is null)"),
        ("ints is null", "ints is null"),
    ]);
}

#[test]
fn arrays_contain() {
    check(&[
        ("array_contains(ints, 1)", "array_contains(ints, 1)"),
        (
            "ARRAY_CONTAINS_ALL(words, ['a', 'b'])",
            "array_contains_all(words, [\"a\", \"b\"])",
        ),
        (
            "json_contains_any(floats, [1, 2.5])",
            "array_contains_any(floats, [1.0, 2.5])",
        ),
        (
            "JSON_CONTAINS(json['a'], 'x')",
            "json_contains(json[\"a\"], \"x\")",
        ),
        (
            "json_contains(json['a'], [1, [2]])",
            "json_contains(json[\"a\"], [1, [2]])",
        ),
        (
            "json_contains_all(tags, [1, 'x', true])",
            "json_contains_all($meta[\"tags\"], [1, \"x\", true])",
        ),
        ("json_contains(json, 1)", "json_contains(json, 1)"),
        (
            "array_contains_any(ints, [])",
            "array_contains_any(ints, [])",
        ),
        ("array_length(ints) == 3", "array_length(ints) == 3"),
        (
            "ARRAY_LENGTH(json['a']) > 0",
            "array_length(json[\"a\"]) > 0",
        ),
        ("ints[0] > 1", "ints[0] > 1"),
        ("words[0] like 'a%'", "words[0] like \"a%\""),
        ("flags[3]", "flags[3]"),
    ]);
}

#[test]
fn columns_compare_with_columns() {
    check(&[
        ("i8 < i64", "i8 < i64"),
        ("i64 >= f", "i64 >= f"),
        ("s != tenant", "s != tenant"),
        ("b == b2", "b == b2"),
        ("i64 + i32 > d * 2", "(i64 + i32) > (d * 2)"),
        ("ints[0] == i64", "ints[0] == i64"),
    ]);
}

#[test]
fn constants_fold() {
    check(&[
        ("1 < 2", "true"),
        ("1 == 1.0", "true"),
        ("9007199254740993 == 9007199254740992.0", "false"),
        ("'a' > 'b'", "false"),
        ("true != false", "true"),
        ("7 / 2 == 3 and 7 % 4 == 3 and 7 / 2.0 == 3.5", "true"),
        ("i64 > 1 and true", "i64 > 1"),
        ("i64 > 1 and 1 > 2", "false"),
        ("i64 > 1 or true", "true"),
        ("i64 > 1 or false", "i64 > 1"),
        ("not not (i64 > 1)", "i64 > 1"),
        ("not true", "false"),
        ("b and (b2 and i64 == 1)", "b and b2 and i64 == 1"),
    ]);
}

#[test]
fn templates_are_taken_by_value() {
    check(&[
        ("i64 == {n}", "i64 == 5"),
        ("{n} < i64", "i64 > 5"),
        ("{n} < i64 < {n} + 1", "i64 > 5 and i64 < 6"),
        ("id in {ids}", "id in [1, 3]"),
        ("i64 in [{n}, 7]", "i64 in [5, 7]"),
        ("s == {name}", "s == \"it's\""),
        ("s like {name}", "s like \"it's\""),
        ("d > { x }", "d > 2.5"),
        (
            "json_contains_any(json['a'], {ids})",
            "json_contains_any(json[\"a\"], [3, 1, 3])",
        ),
        ("b == {yes}", "b == true"),
    ]);
}

#[test]
fn declared_fields_win_over_dynamic_keys() {
    let Predicate::Truth(access) = parsed("b") else {
        panic!("a bool field is a condition");
    };
    assert!(access.path.is_empty());
    let Predicate::Compare {
        left: Operand::Column(access),
        ..
    } = parsed("x == 1")
    else {
        panic!("a comparison");
    };
    assert_eq!(access.path, [PathStep::Key("x".into())]);
}

#[test]
fn paths_are_read_alone() {
    let path = |text| crate::parse_json_path(text, &dynamic_schema());
    let access = path("json[\"a\"][0]").expect("a path");
    assert_eq!(access.path, [PathStep::Key("a".into()), PathStep::Index(0)]);
    assert_eq!(access.result_type(), None);
    assert_eq!(
        path("color").expect("a key").path,
        [PathStep::Key("color".into())]
    );
    assert!(path("i64").expect("a column").path.is_empty());
    for wrong in [
        "",
        "json[",
        "json['a'] == 1",
        "i64[0]",
        "1",
        "json['a'",
        "vector",
    ] {
        assert!(path(wrong).is_err(), "{wrong}");
    }
    assert!(crate::parse_json_path("color", &schema()).is_err());
}
