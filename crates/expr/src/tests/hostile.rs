//! Input made to overflow, to wait, or to fill a log.

use std::{collections::HashMap, time::Instant};

use holdfast_types::Value;
use proptest::prelude::*;

use super::{dynamic_schema, params, parse, parsed};
use crate::{MAX_DEPTH, Predicate};

/// Runs on a stack much smaller than any thread of a server has.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(work)
        .expect("a thread starts")
        .join()
        .expect("the work does not panic");
}

#[test]
fn depth_is_an_error_not_an_overflow() {
    on_a_small_stack(|| {
        for n in [10_000, 100_000] {
            for text in [
                "(".repeat(n),
                "[".repeat(n),
                "not ".repeat(n),
                "!".repeat(n),
                "-".repeat(n),
                "+".repeat(n),
                "exists ".repeat(n),
                "array_length(".repeat(n),
                "b or b and (".repeat(n),
                "1 or 1 and 1 == 1 < 1 in 1 + 1 * 1 ** (".repeat(n),
                format!("{}b{}", "(".repeat(n), ")".repeat(n)),
                format!("{}b", "not ".repeat(n)),
                format!("i64 == {}1", "- ".repeat(n)),
                format!("i64{} == 1", " + 1".repeat(n)),
                format!("i64{} == 1", " ** 1".repeat(n)),
                format!("i64{}", " == 1".repeat(n)),
                format!("json{} == 1", "['a']".repeat(n)),
                format!("json_contains(json, {}1{})", "[".repeat(n), "]".repeat(n)),
            ] {
                let error = parse(&text).expect_err("too deep");
                assert!(
                    error.message.contains("deep") || error.message.contains("128"),
                    "{}",
                    error.message
                );
            }
        }
    });
}

#[test]
fn the_deepest_accepted_nesting_is_usable() {
    on_a_small_stack(|| {
        let deep = "(".repeat(MAX_DEPTH) + "b" + &")".repeat(MAX_DEPTH);
        assert_eq!(parsed(&deep), parsed("b"));
        assert!(parse(&format!("({deep})")).is_err());
        // An `or` in an `and` in an `or` ..., each a level of the tree.
        let mut mixed = "b".to_owned();
        for i in 0..MAX_DEPTH - 1 {
            mixed = format!("b2 {} ({mixed})", ["and", "or"][i % 2]);
        }
        let predicate = parsed(&mixed);
        assert_eq!(
            parsed(&predicate.to_text(&dynamic_schema()).to_string()),
            predicate
        );
        assert_eq!(predicate.fields().len(), 2);
        let sum = "(1 + ".repeat(MAX_DEPTH - 2) + "i64" + &")".repeat(MAX_DEPTH - 2) + " == 1";
        let predicate = parsed(&sum);
        assert_eq!(
            parsed(&predicate.to_text(&dynamic_schema()).to_string()),
            predicate
        );
    });
}

#[test]
fn chains_of_any_length_are_one_level() {
    on_a_small_stack(|| {
        for (word, n) in [(" or ", 100_000), (" and ", 100_000)] {
            let text = vec!["i64 == 1"; n].join(word);
            match parsed(&text) {
                Predicate::Or(parts) | Predicate::And(parts) => assert_eq!(parts.len(), n),
                other => panic!("{}", other.to_string().len()),
            }
        }
        let mixed = "i64 == 1 and b or ".repeat(50_000) + "b";
        assert!(matches!(parsed(&mixed), Predicate::Or(parts) if parts.len() == 50_001));
    });
}

#[test]
fn long_lists_take_linear_time() {
    let ints: String = (0..200_000).map(|i| format!("{},", i - 100_000)).collect();
    let words: String = (0..200_000).map(|i| format!("'key-{i:032}',")).collect();
    let params = HashMap::from([(
        "ids".to_owned(),
        Value::List((0..200_000).map(Value::Int).collect()),
    )]);
    for text in [
        format!("id in [{ints}]"),
        format!("s in [{words}]"),
        "id in {ids}".to_owned(),
    ] {
        let start = Instant::now();
        let predicate = crate::parse(&text, &dynamic_schema(), &params).expect("a long list");
        let took = start.elapsed();
        assert!(matches!(predicate, Predicate::In { values, .. } if values.len() == 200_000));
        // Alone it takes a fraction of a second unoptimised; a quadratic step would take minutes.
        assert!(took.as_secs() < 20, "{took:?}");
    }
}

#[test]
fn a_list_beyond_the_limit_is_refused() {
    let text = format!("id in [{}]", "1,".repeat(crate::MAX_LIST_VALUES + 1));
    let error = parse(&text).expect_err("too many values");
    assert!(
        error.message.contains("more than 1000000 values"),
        "{}",
        error.message
    );
}

#[test]
fn messages_stay_short_for_long_input() {
    let long = "é\u{7}\"x".repeat(100_000);
    for text in [
        format!("i64 == '{long}'"),
        format!("'{long}' + 1 == 2"),
        format!("json['{long}'] == i64"),
        format!("{} == i64", "é".repeat(100_000)),
        format!("i64 == 1{}", "x".repeat(100_000)),
        format!("i64 {}", "9".repeat(100_000)),
        format!("i64 == {{{}}}", "t".repeat(100_000)),
        format!("{}(1)", "t".repeat(100_000)),
        format!("json[{}]", "t".repeat(100_000)),
        format!("id in [{}'x']", "1,".repeat(100_000)),
        format!("${}", "t".repeat(100_000)),
    ] {
        let error = parse(&text).expect_err("wrong in some way");
        assert!(error.message.len() < 400, "{}", error.message.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in "\\PC{0,60}") {
        drop(parse(&text));
    }

    #[test]
    fn random_words_never_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..24)) {
        let text = words.join(" ");
        let params = params();
        if let Ok(predicate) = crate::parse(&text, &dynamic_schema(), &params) {
            // Whatever is accepted reads back as itself.
            let again = predicate.to_text(&dynamic_schema()).to_string();
            prop_assert_eq!(parse(&again), Ok(predicate), "{} -> {}", text, again);
        }
        drop(parse(&words.concat()));
    }
}

const WORDS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "!",
    "=",
    "and",
    "or",
    "not",
    "in",
    "like",
    "is",
    "null",
    "exists",
    "true",
    "false",
    "&&",
    "||",
    "&",
    "~",
    "$",
    "$meta",
    "i64",
    "i8",
    "f",
    "d",
    "b",
    "s",
    "json",
    "ints",
    "words",
    "x",
    "0",
    "1",
    "2.5",
    "9223372036854775808",
    "'a%'",
    "\"b\"",
    "[1]",
    "['a']",
    "[0]",
    "{n}",
    "{ids}",
    "array_contains(",
    "json_contains_any(",
    "array_length(",
    "text_match(",
    "\\",
    "'",
    "\"",
    "0x",
    "1e",
    ".",
    "é",
];
