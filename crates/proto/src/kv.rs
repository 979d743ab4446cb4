//! Key-value pairs: settings that travel as text, and the JSON object that some of them hide.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    str::FromStr,
};

use holdfast_types::Failure;

use crate::milvus::common::KeyValuePair;

/// Settings of one request, found by key. Errors name the place they came from: `search_params.topk: ...`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    path: String,
    values: BTreeMap<String, String>,
}

impl Params {
    /// The pairs under the name `path`.
    ///
    /// # Errors
    /// [`holdfast_types::Code::InvalidArgument`]: a key given twice with different values.
    pub fn new(path: &str, pairs: &[KeyValuePair]) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        for KeyValuePair { key, value } in pairs {
            match values.entry(key.clone()) {
                Entry::Vacant(slot) => {
                    slot.insert(value.clone());
                }
                Entry::Occupied(slot) if slot.get() == value => {}
                Entry::Occupied(slot) => {
                    return Err(Failure::invalid(format!(
                        "{path}.{key}: given twice, as {:?} and as {value:?}",
                        slot.get()
                    )));
                }
            }
        }
        Ok(Self {
            path: path.to_owned(),
            values,
        })
    }

    /// Puts the members of the JSON object under `key` beside the other settings. A setting that is
    /// already there stays: clients repeat them in both places. Lists and objects stay JSON text, nulls
    /// count as not given.
    ///
    /// # Errors
    /// [`holdfast_types::Code::InvalidArgument`]: the text is not a JSON object.
    pub fn flatten(mut self, key: &str) -> Result<Self, Failure> {
        let Some(text) = self.values.remove(key) else {
            return Ok(self);
        };
        if text.trim().is_empty() {
            return Ok(self);
        }
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
            .map_err(|e| self.invalid(key, format_args!("not a JSON object: {e}")))?;
        for (name, value) in members {
            let value = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            self.values.entry(name).or_insert(value);
        }
        Ok(self)
    }

    /// The text under `key`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The number under `key`: decimal, whole where `T` is whole, never NaN or infinite.
    ///
    /// # Errors
    /// [`holdfast_types::Code::InvalidArgument`]: not a number that `T` can hold.
    pub fn number<T: Number>(&self, key: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match text.trim().parse::<T>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.invalid(key, format_args!("{text:?} is not {}", T::wanted()))),
        }
    }

    /// The truth under `key`, spelled as Python, Go or JSON spell it.
    ///
    /// # Errors
    /// [`holdfast_types::Code::InvalidArgument`]: none of those spellings.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Failure> {
        match self.text(key).map(str::trim) {
            None => Ok(None),
            Some("true" | "True" | "TRUE" | "t" | "T" | "1") => Ok(Some(true)),
            Some("false" | "False" | "FALSE" | "f" | "F" | "0") => Ok(Some(false)),
            Some(text) => Err(self.invalid(key, format_args!("{text:?} is not true or false"))),
        }
    }

    /// A refusal that names `key` and where it was found.
    pub fn invalid(&self, key: &str, problem: impl std::fmt::Display) -> Failure {
        Failure::invalid(format!("{}.{key}: {problem}", self.path))
    }

    /// All settings, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

/// A number that [`Params::number`] reads.
pub trait Number: FromStr + Copy {
    /// What an error says was wanted.
    fn wanted() -> String;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
}

macro_rules! whole {
    ($($name:ty),*) => {$(
        impl Number for $name {
            fn wanted() -> String {
                format!("a whole number from {} to {}", Self::MIN, Self::MAX)
            }
            fn is_finite(self) -> bool {
                true
            }
        }
    )*};
}
whole!(i32, i64, u32, u64, usize);

impl Number for f32 {
    fn wanted() -> String {
        "a finite number".to_owned()
    }
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Number for f64 {
    fn wanted() -> String {
        "a finite number".to_owned()
    }
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

/// The first value under `key`.
#[must_use]
pub fn get<'a>(pairs: &'a [KeyValuePair], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|pair| pair.key == key)
        .map(|pair| pair.value.as_str())
}

/// One pair.
pub fn pair(key: impl Into<String>, value: impl Into<String>) -> KeyValuePair {
    KeyValuePair {
        key: key.into(),
        value: value.into(),
    }
}

/// Pairs of a message from pairs of text, in order.
#[must_use]
pub fn to_wire<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<KeyValuePair> {
    pairs.into_iter().map(|(k, v)| pair(k, v)).collect()
}

/// Pairs of text from pairs of a message, in order.
#[must_use]
pub fn to_domain(pairs: &[KeyValuePair]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|p| (p.key.clone(), p.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::new("search_params", &to_wire(pairs.iter().copied())).expect("distinct keys")
    }

    #[test]
    fn numbers_and_truths_are_read_from_text() {
        let p = params(&[
            ("topk", "10"),
            ("radius", "-1.5"),
            ("strict", "True"),
            ("x", "0"),
        ]);
        assert_eq!(p.number::<u64>("topk"), Ok(Some(10)));
        assert_eq!(p.number::<f32>("radius"), Ok(Some(-1.5)));
        assert_eq!(p.boolean("strict"), Ok(Some(true)));
        assert_eq!(p.boolean("x"), Ok(Some(false)));
        assert_eq!(p.number::<i64>("absent"), Ok(None));
        assert_eq!(p.boolean("absent"), Ok(None));
    }

    #[test]
    fn wrong_values_are_refused_by_their_path() {
        #[track_caller]
        fn check<T>(result: Result<T, Failure>, expect: &str) {
            let message = result.map(|_| ()).expect_err("refused").message;
            assert_eq!(message, expect);
        }
        let p = params(&[
            ("topk", "ten"),
            ("m", "-1"),
            ("r", "NaN"),
            ("b", "yes"),
            ("f", "1.5"),
        ]);
        check(
            p.number::<u64>("topk"),
            "search_params.topk: \"ten\" is not a whole number from 0 to 18446744073709551615",
        );
        check(
            p.number::<u32>("m"),
            "search_params.m: \"-1\" is not a whole number from 0 to 4294967295",
        );
        check(
            p.number::<f64>("r"),
            "search_params.r: \"NaN\" is not a finite number",
        );
        check(
            p.number::<i32>("f"),
            "search_params.f: \"1.5\" is not a whole number from -2147483648 to 2147483647",
        );
        check(
            p.boolean("b"),
            "search_params.b: \"yes\" is not true or false",
        );
        let pairs = [pair("a", "1"), pair("a", "2")];
        check(
            Params::new("p", &pairs),
            "p.a: given twice, as \"1\" and as \"2\"",
        );
    }

    #[test]
    fn the_json_object_is_laid_flat_and_outer_settings_win() {
        let p = params(&[
            ("metric_type", "L2"),
            ("params", r#"{"ef": 64, "radius": 0.5, "metric_type": "IP", "on": true, "none": null, "l": [1]}"#),
        ])
        .flatten("params")
        .expect("an object");
        assert_eq!(p.number::<u32>("ef"), Ok(Some(64)));
        assert_eq!(p.number::<f32>("radius"), Ok(Some(0.5)));
        assert_eq!(p.text("metric_type"), Some("L2"));
        assert_eq!(p.boolean("on"), Ok(Some(true)));
        assert_eq!(p.text("none"), None);
        assert_eq!(p.text("l"), Some("[1]"));
        assert_eq!(p.text("params"), None);
    }

    #[test]
    fn what_is_not_a_json_object_is_refused() {
        for text in ["[1]", "{", "7", "{\"a\":1} x"] {
            let refused = params(&[("params", text)]).flatten("params");
            let message = refused.expect_err(text).message;
            assert!(
                message.starts_with("search_params.params: not a JSON object"),
                "{message}"
            );
        }
        assert!(params(&[("params", "")]).flatten("params").is_ok());
    }
}
