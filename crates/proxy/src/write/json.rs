//! Keys of one JSON object over another's; pure.
//!
//! The texts of values are carried over as they are: read and written again, a number could come out
//! another one.

/// The members of `base` and `over` in one object; of a key in both, the member of `over`, in the place
/// it had in `base`. `None` unless both are objects.
///
/// Takes texts that a JSON reader has accepted; of any other it makes something wrong, but no panic.
pub(crate) fn merge(base: &str, over: &str) -> Option<String> {
    let mut all = members(base)?;
    let mut places: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for (place, (key, _)) in all.iter().enumerate() {
        places.insert(name(key)?, place);
    }
    for (key, value) in members(over)? {
        match places.get(&name(key)?) {
            Some(&place) => all[place].1 = value,
            None => {
                places.insert(name(key)?, all.len());
                all.push((key, value));
            }
        }
    }
    let mut text = String::with_capacity(base.len() + over.len());
    text.push('{');
    for (i, (key, value)) in all.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(key);
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    Some(text)
}

/// What a key in quotes says.
fn name(quoted: &str) -> Option<String> {
    serde_json::from_str(quoted).ok()
}

/// The keys, in their quotes, and values of an object, as they are in the text.
fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let inner = text.trim_ascii().strip_prefix('{')?.strip_suffix('}')?;
    let mut found = Vec::new();
    let mut rest = inner.trim_ascii();
    while !rest.is_empty() {
        let (key, after) = rest.split_at(end_of_text(rest)?);
        let after = after.trim_ascii_start().strip_prefix(':')?;
        let end = end_of_value(after);
        found.push((key, after[..end].trim_ascii()));
        rest = after.get(end + 1..).unwrap_or("").trim_ascii_start();
    }
    Some(found)
}

/// The byte after the text in quotes that `text` begins with.
fn end_of_text(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The comma after the value that `text` begins with, or the end.
fn end_of_value(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b',' if depth == 0 => return at,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                at += end_of_text(&text[at..]).unwrap_or(1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn keys_are_added_and_replaced_and_the_rest_stays_as_it_was() {
        for (base, over, merged) in [
            ("{}", "{}", "{}"),
            (" { } ", r#"{"a":1}"#, r#"{"a":1}"#),
            (
                r#"{"a": 1, "b" : [1, {"c": 2}]}"#,
                "{}",
                r#"{"a":1,"b":[1, {"c": 2}]}"#,
            ),
            (r#"{"a":1,"b":2}"#, r#"{"a":"x,}"}"#, r#"{"a":"x,}","b":2}"#),
            (
                r#"{"n":0.1000000000000000055511151231257827}"#,
                r#"{"m":1}"#,
                r#"{"n":0.1000000000000000055511151231257827,"m":1}"#,
            ),
            (
                r#"{"a\"b":1,"\\":2}"#,
                r#"{"\u0061\"b":3}"#,
                r#"{"a\"b":3,"\\":2}"#,
            ),
            (r#"{"ü":"ß"}"#, r#"{"ü":{"x":"}"}}"#, r#"{"ü":{"x":"}"}}"#),
        ] {
            assert_eq!(
                merge(base, over).as_deref(),
                Some(merged),
                "{base} and {over}"
            );
        }
        for (base, over) in [
            ("[1]", "{}"),
            ("{}", "null"),
            ("1", "{}"),
            ("", "{}"),
            (r#"{"a"#, "{}"),
        ] {
            assert_eq!(merge(base, over), None);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        btree_map("[a-c\"\\\\,:{}]{0,2}", value(), 0..5).prop_map(|m| m.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_merge_is_what_a_reader_would_make_of_it(base in object(), over in object(), pretty: bool) {
            let text = |m: &Map<String, Value>| if pretty { serde_json::to_string_pretty(m) } else { serde_json::to_string(m) };
            let merged = merge(&text(&base).expect("text"), &text(&over).expect("text")).expect("objects");
            let mut expect = base;
            expect.extend(over);
            prop_assert_eq!(serde_json::from_str::<Value>(&merged).expect("JSON"), Value::Object(expect));
        }

        #[test]
        fn no_text_makes_it_panic(base in any::<String>(), over in "[{}\\[\\]\":,\\\\aü ]{0,24}") {
            let _ = (merge(&base, &over), merge(&over, &over), merge(&over, &base));
        }
    }
}
