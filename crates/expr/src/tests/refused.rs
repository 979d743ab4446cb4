//! What each mistake is told, and where it is.

use holdfast_types::{Code, Coded};

use super::{params, parse, schema};

#[track_caller]
fn check(cases: &[(&str, usize, &str)]) {
    for (text, position, message) in cases {
        match parse(text) {
            Ok(predicate) => panic!("{text} was accepted as {predicate}"),
            Err(error) => {
                assert!(error.message.contains(message), "{text}: {}", error.message);
                assert_eq!(error.position, *position, "{text}: {}", error.message);
                assert_eq!(
                    error.code(),
                    Code::InvalidArgument,
                    "{text}: {}",
                    error.message
                );
            }
        }
    }
}

#[test]
fn text_that_does_not_parse() {
    check(&[
        (
            "i64 >",
            5,
            "expected a value or a field, found the end of the expression",
        ),
        ("> 5", 0, "expected a value or a field, found `>`"),
        ("i64 = 5", 4, "equality is `==`"),
        (
            "i64 5",
            4,
            "expected an operator or the end of the expression, found 5",
        ),
        ("invalid expression", 8, "found \"expression\""),
        ("(i64 > 5", 8, "expected `)`"),
        ("i64 > 5)", 7, "found `)`"),
        ("i64 in [1, 2", 12, "expected `,` or `]`"),
        ("i64 in [,]", 8, "expected a value or a field"),
        ("i64 in [1 2]", 10, "expected `,` or `]`, found 2"),
        ("i64 not 5", 8, "expected `in` after `not`"),
        ("i64 is 5", 7, "expected `null` after `is`"),
        ("(i64) is null", 6, "follow a field or a JSON path only"),
        ("s == 'abc", 5, "no closing '"),
        ("s == \"abc'", 5, "no closing \""),
        ("s == '\\u12'", 5, "\\u of the string needs 4"),
        ("s == '\\xff'", 5, "not UTF-8"),
        ("s == '\\ud800'", 5, "\\u"),
        ("s == '\\777'", 5, "octal"),
        ("i64 == 12abc", 7, "\"12abc\" is not a number"),
        ("i64 == 1.2.3", 7, "\"1.2.3\" is not a number"),
        ("i64 == 0b2", 7, "not a binary number"),
        ("i64 == 09", 7, "octal"),
        ("i64 == 9223372036854775808", 7, "does not fit"),
        ("i64 == 99999999999999999999", 7, "does not fit"),
        ("d == 1e999", 5, "does not fit a 64-bit float"),
        ("i64 == #", 7, "\"#\" has no meaning"),
        ("$foo == 1", 0, "only `$meta` starts with `$`"),
        ("json[] == 1", 5, "expected a quoted key or an index"),
        ("json[-1] == 1", 5, "expected a quoted key or an index"),
        ("json[''] == 1", 5, "not empty"),
        ("and b", 0, "expected a value or a field, found \"and\""),
        ("b and", 5, "expected a value or a field"),
        ("{}", 1, "expected the name of a template value"),
        (
            "i64 == {absent}",
            7,
            "no value is given for the template \"absent\"",
        ),
        ("array_length(ints, 1)", 17, "expected `)`"),
        ("json_contains(json)", 18, "expected `,`"),
    ]);
}

#[test]
fn names_that_do_not_exist() {
    let error = crate::parse("i64 > 1 and x > 5", &schema(), &params()).expect_err("no such field");
    assert_eq!(
        error.to_string(),
        "cannot parse expression: position 12: field \"x\" does not exist; declared fields are id, tenant, i8, \
         i32, i64, f, d, b, ..."
    );
    check(&[
        (
            "vector == 1",
            0,
            "is a FloatVector; of a vector, filters only ask `is null` and `is not null`",
        ),
        ("vector[0] is null", 0, "which has no parts"),
        ("exists vector", 7, "FloatVector"),
        ("i64 == null", 7, "write `field is null`"),
        (
            "i64['a'] == 1",
            0,
            "field \"i64\" is an Int64, which has no parts",
        ),
        ("ints['a'] == 1", 0, "takes one integer index"),
        ("ints[0][1] == 1", 0, "takes one integer index"),
    ]);
}

#[test]
fn types_that_do_not_meet() {
    check(&[
        (
            "i64 == 'a'",
            4,
            "field \"i64\" (Int64) cannot be compared with the string \"a\" by `==`; write a number",
        ),
        (
            "s == 1",
            2,
            "field \"s\" (VarChar) cannot be compared with 1 by `==`; write a string",
        ),
        ("b > true", 2, "cannot be compared with true by `>`"),
        ("b == 1", 2, "`== true` or `== false`"),
        ("d == true", 2, "write a number"),
        ("s != d", 2, "cannot be compared by `!=`"),
        ("b < b2", 2, "cannot be compared"),
        (
            "json['a'] == i64",
            10,
            "JSON path json[\"a\"] (a JSON) and field \"i64\" (Int64) cannot be compared",
        ),
        ("json['a'] > true", 10, "cannot be compared with true"),
        (
            "json['a'] + 1 == 'x'",
            14,
            "a computed number cannot be compared",
        ),
        (
            "ints > 2",
            5,
            "field \"ints\" (an Array of Int32) cannot be compared with 2",
        ),
        ("ints == ['a']", 5, "cannot be compared"),
        ("ints == ints", 5, "cannot be compared"),
        ("i64 == [1, 2]", 4, "a list of 2"),
        (
            "true == 'a'",
            5,
            "true and the string \"a\" cannot be compared",
        ),
        ("true < false", 5, "cannot be compared"),
        ("[1] == [1]", 4, "cannot be compared"),
        (
            "i64 in [4.0]",
            7,
            "the list has 4.0, which field \"i64\" (Int64) is never equal to",
        ),
        ("s in ['a', 1]", 5, "the list has 1"),
        ("d in [5, 6.0, true]", 5, "the list has true"),
        ("json['a'] in [[1]]", 13, "a list of 1"),
        ("i64 in 5", 7, "a list of constants"),
        ("i64 in s", 7, "a list of constants"),
        ("i8 in [i32]", 7, "a list holds constants only"),
        ("1 in [1, 2]", 0, "the left side of `in` is a field"),
        ("ints in [1]", 0, "use array_contains_any"),
        ("i64 == {nothing}", 7, "is null"),
        ("d == {nan}", 5, "not a finite number"),
        ("s == {n}", 2, "cannot be compared with 5"),
    ]);
}

#[test]
fn arithmetic_on_what_has_none() {
    check(&[
        (
            "s + 1 == 2",
            2,
            "`+` needs numbers, not field \"s\" (VarChar)",
        ),
        ("i64 + 'a' == 2", 4, "not the string \"a\""),
        ("(b and b2) + 1 == 2", 11, "not conditions"),
        ("true + 1 == 2", 5, "`+` needs numbers, not true"),
        ("d % 2 == 1", 2, "`%` needs integers"),
        ("i64 % 2.0 == 1", 4, "`%` needs integers"),
        ("5.0 % 2 == 1", 4, "`%` needs integers"),
        ("i64 / 0 == 1", 4, "divisor of zero"),
        ("i64 % 0 == 1", 4, "divisor of zero"),
        ("2 / 0 == 1", 2, "divisor of zero"),
        ("d / 0.0 == 1", 2, "divisor of zero"),
        ("i64 == 9223372036854775807 + 1", 27, "too large"),
        ("d == 10.0 ** 400", 10, "too large"),
        ("i64 ** 2 == 4", 4, "`**` is for constants only"),
        ("-i64 == 4", 0, "write `0 - field`"),
        ("-true", 0, "`-` needs a number"),
        ("+s == 'a'", 0, "`+` needs a number"),
        ("ints + 1 == 2", 5, "needs numbers"),
    ]);
}

#[test]
fn conditions_and_values_in_each_others_place() {
    check(&[
        (
            "i64",
            0,
            "field \"i64\" (Int64) is not a condition; compare it",
        ),
        ("5", 0, "5 is not a condition"),
        ("'text'", 0, "the string \"text\" is not a condition"),
        ("b and i64", 6, "field \"i64\" (Int64) is not a condition"),
        (
            "array_length(ints)",
            0,
            "an array length is not a condition",
        ),
        ("i64 + 1", 4, "a computed number is not a condition"),
        (
            "not i64 > 5",
            0,
            "`not` needs a condition, not field \"i64\" (Int64); it binds tighter",
        ),
        ("not b == b2", 6, "`not` binds tighter than `==`"),
        ("not i64 in [1]", 0, "binds tighter"),
        ("not b in [true]", 0, "the left side of `in` is a field"),
        ("!'a'", 1, "`not` needs a condition, not the string"),
        ("(b and b2) == true", 11, "a condition cannot be compared"),
        ("i64 == 1 == 2", 9, "a condition cannot be compared"),
        ("1 < i64 > 0", 8, "a condition cannot be compared"),
    ]);
}

#[test]
fn ranges_that_hold_nothing() {
    check(&[
        ("1 < 3 < 5", 4, "a field or JSON path in the middle"),
        ("1 < i64 + 1 < 5", 8, "a field or JSON path in the middle"),
        ("5 < i64 < 1", 0, "the range is empty"),
        ("5 < i64 < 5", 0, "the range is empty"),
        ("5 < i64 <= 5", 0, "the range is empty"),
        ("1 > i64 > 5", 0, "the range is empty"),
        (
            "1 < s < 2",
            2,
            "field \"s\" (VarChar) cannot be compared with 1",
        ),
        ("1 < i64 < 'a'", 0, "not the ends of one range"),
        ("true < b < false", 0, "not the ends of one range"),
        ("i32 < i64 < 5", 4, "the ends of a range are constants"),
        ("1 < ints < 3", 2, "one element as in `field[0]`"),
    ]);
}

#[test]
fn functions_of_the_wrong_thing() {
    check(&[
        ("exists i64", 7, "`exists` is for a key of a JSON field"),
        ("exists json", 7, "`exists` is for a key of a JSON field"),
        (
            "exists json['a'] == 1",
            17,
            "a condition cannot be compared",
        ),
        ("ints[0] is null", 0, "an array element is never null"),
        (
            "array_contains(i64, 1)",
            15,
            "needs an array or JSON field, not field \"i64\" (Int64)",
        ),
        (
            "array_contains(ints, 'a')",
            21,
            "the string \"a\" is no element of field \"ints\"",
        ),
        ("array_contains(ints, 1.5)", 21, "1.5 is no element"),
        ("array_contains(ints, [1])", 21, "a list of 1 is no element"),
        (
            "array_contains_all(ints, 1)",
            25,
            "the second argument is a list",
        ),
        (
            "array_contains(ints, i64)",
            21,
            "the second argument is a constant",
        ),
        (
            "array_length(ints[0]) == 1",
            13,
            "needs an array or JSON field, not element ints[0] (Int32)",
        ),
        (
            "i64 like 'a'",
            0,
            "`like` needs text, not field \"i64\" (Int64)",
        ),
        ("(i64 % 2) like 'a'", 5, "`like` needs text"),
        ("s like 5", 7, "the right side of `like` is a string"),
        ("'a' like 'a'", 0, "the left side of `like` is a field"),
        ("anything(s)", 0, "there is no function \"anything\""),
    ]);
}

#[test]
fn what_milvus_has_and_holdfast_has_not_is_unsupported() {
    for (text, position, what) in [
        ("text_match(s, 'a')", 0, "the function \"text_match\""),
        (
            "b and PHRASE_MATCH(s, 'a')",
            6,
            "the function \"PHRASE_MATCH\"",
        ),
        ("random_sample(0.5)", 0, "the function \"random_sample\""),
        (
            "st_within(s, 'POINT(1 1)')",
            0,
            "the function \"st_within\"",
        ),
        (
            "element_filter(a, $[x] > 1)",
            0,
            "the function \"element_filter\"",
        ),
        ("match_any(a, $[x] > 1)", 0, "the function \"match_any\""),
        ("$[x] > 1", 0, "struct array"),
        ("json[x] > 1", 5, "a struct field (\"x\" has no quotes"),
        ("i64 & 1 == 1", 4, "the operator `&`"),
        ("i64 | 1 == 1", 4, "the operator `|`"),
        ("i64 ^ 1 == 1", 4, "the operator `^`"),
        ("i64 << 1 == 1", 4, "the operator `<<`"),
        ("i64 >> 1 == 1", 4, "the operator `>>`"),
        ("~i64 == 1", 0, "the operator `~`"),
        ("s =~ 'a'", 2, "the operator `=~`"),
        ("s !~ 'a'", 2, "the operator `!~`"),
        (
            "i64 > iso '2025-01-01T00:00:00Z'",
            6,
            "a `iso` time literal",
        ),
        ("d == 0x1.8p3", 5, "a hexadecimal float"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.code(), Code::Unsupported, "{text}: {}", error.message);
        assert!(error.message.contains(what), "{text}: {}", error.message);
        assert!(
            error.message.ends_with("is not supported by Holdfast"),
            "{text}"
        );
        assert_eq!(error.position, position, "{text}");
    }
}
