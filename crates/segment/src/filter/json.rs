//! Taking paths out of JSON text.
//!
//! One pass over a document collects all paths that a predicate names; what none of them leads to is
//! skipped without being built. Where a key is repeated in an object, the last one counts.

use std::fmt;

use arrow_array::{Array, StringArray};
use holdfast_expr::PathStep;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

/// The value at a path of a document; `None` when it is absent or the text is not JSON.
pub(crate) fn at_path(text: &str, path: &[PathStep]) -> Option<Json> {
    let mut paths = Paths::default();
    paths.add(path);
    paths.extract(text).into_iter().next().flatten()
}

/// The wanted values of the documents of one column slice, read when first needed.
#[derive(Debug)]
pub(super) struct JsonColumn {
    paths: Paths,
    rows: Vec<Option<Box<[Option<Json>]>>>,
}

impl JsonColumn {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            paths: Paths::default(),
            rows: vec![None; rows],
        }
    }

    /// Adds a path to those taken from each document.
    pub(super) fn want(&mut self, path: &[PathStep]) {
        self.paths.add(path);
    }

    /// Reads the documents of open rows that were not read before. Null rows have no values.
    pub(super) fn read(&mut self, column: &StringArray, open: &[u64]) {
        for (row, values) in self.rows.iter_mut().enumerate() {
            let wanted = open[row / 64] >> (row % 64) & 1 == 1;
            if wanted && values.is_none() {
                *values = Some(if column.is_null(row) {
                    vec![None; self.paths.list.len()].into()
                } else {
                    self.paths.extract(column.value(row)).into()
                });
            }
        }
    }

    /// Which of a row's values belongs to `path`.
    pub(super) fn slot(&self, path: &[PathStep]) -> Option<usize> {
        self.paths.list.iter().position(|p| p == path)
    }

    pub(super) fn value(&self, row: usize, slot: usize) -> Option<&Json> {
        self.rows[row].as_deref()?[slot].as_ref()
    }
}

/// The paths to take out of each document.
#[derive(Debug, Default)]
struct Paths {
    list: Vec<Vec<PathStep>>,
    root: Node,
}

/// What is wanted at, and below, one place of a document.
#[derive(Debug, Default)]
struct Node {
    /// Slot of the value here.
    slot: Option<usize>,
    children: Vec<(PathStep, Node)>,
}

impl Paths {
    fn add(&mut self, path: &[PathStep]) {
        if self.list.iter().any(|p| p == path) {
            return;
        }
        let mut node = &mut self.root;
        for step in path {
            let at = node.children.iter().position(|(s, _)| s == step);
            let at = at.unwrap_or_else(|| {
                node.children.push((step.clone(), Node::default()));
                node.children.len() - 1
            });
            node = &mut node.children[at].1;
        }
        node.slot = Some(self.list.len());
        self.list.push(path.to_vec());
    }

    fn extract(&self, text: &str) -> Vec<Option<Json>> {
        let mut values = vec![None; self.list.len()];
        let mut reader = serde_json::Deserializer::from_str(text);
        let seed = Take {
            node: &self.root,
            values: &mut values,
        };
        let read = seed.deserialize(&mut reader).and_then(|()| reader.end());
        if read.is_err() {
            // Documents are checked when they are written; one that is not JSON has no values.
            values.fill(None);
        }
        values
    }
}

impl Node {
    fn child(&self, wanted: impl Fn(&PathStep) -> bool) -> Option<&Self> {
        self.children
            .iter()
            .find(|(step, _)| wanted(step))
            .map(|(_, node)| node)
    }

    /// Takes what is wanted below from a value that is already built.
    fn take_from(&self, value: &Json, values: &mut [Option<Json>]) {
        for (step, node) in &self.children {
            let found = match step {
                PathStep::Key(key) => value.as_object().and_then(|o| o.get(key)),
                PathStep::Index(i) => value.as_array().and_then(|a| a.get(*i)),
            };
            if let Some(found) = found {
                node.take_from(found, values);
                if let Some(slot) = node.slot {
                    values[slot] = Some(found.clone());
                }
            }
        }
    }

    /// Forgets what an earlier key of the same name gave.
    fn forget(&self, values: &mut [Option<Json>]) {
        if let Some(slot) = self.slot {
            values[slot] = None;
        }
        for (_, node) in &self.children {
            node.forget(values);
        }
    }
}

/// Walks one value of a document.
struct Take<'a> {
    node: &'a Node,
    values: &'a mut [Option<Json>],
}

impl<'de> DeserializeSeed<'de> for Take<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        match self.node.slot {
            Some(slot) => {
                let value = <Json as serde::Deserialize>::deserialize(reader)?;
                self.node.take_from(&value, self.values);
                self.values[slot] = Some(value);
                Ok(())
            }
            None if self.node.children.is_empty() => IgnoredAny::deserialize_any_value(reader),
            None => reader.deserialize_any(self),
        }
    }
}

/// Skips a value.
trait Skip {
    fn deserialize_any_value<'de, D: Deserializer<'de>>(reader: D) -> Result<(), D::Error>;
}

impl Skip for IgnoredAny {
    fn deserialize_any_value<'de, D: Deserializer<'de>>(reader: D) -> Result<(), D::Error> {
        reader.deserialize_ignored_any(Self).map(drop)
    }
}

impl<'de> Visitor<'de> for Take<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Key(self.node))? {
            match child {
                Some(node) => {
                    node.forget(self.values);
                    map.next_value_seed(Take {
                        node,
                        values: self.values,
                    })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for i in 0.. {
            let more = match self.node.child(|step| *step == PathStep::Index(i)) {
                Some(node) => seq
                    .next_element_seed(Take {
                        node,
                        values: self.values,
                    })?
                    .is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    // A scalar where a path goes on: nothing is there.
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads an object's key: the node it leads to, if any.
struct Key<'a>(&'a Node);

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<&'a Node>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Option<&'a Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self
            .0
            .child(|step| matches!(step, PathStep::Key(k) if k == key)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(steps: &[&str]) -> Vec<PathStep> {
        steps
            .iter()
            .map(|s| match s.parse() {
                Ok(i) => PathStep::Index(i),
                Err(_) => PathStep::Key((*s).to_owned()),
            })
            .collect()
    }

    #[test]
    fn several_paths_are_taken_in_one_pass() {
        let mut paths = Paths::default();
        for p in [
            &["a"][..],
            &["a", "b"],
            &["l", "1", "x"],
            &["missing"],
            &["s", "t"],
            &[],
        ] {
            paths.add(&path(p));
        }
        let text = r#"{"z":[1,{"a":2}],"a":{"b":3},"l":[0,{"x":"y"}],"s":"text"}"#;
        let whole: Json = serde_json::from_str(text).unwrap();
        assert_eq!(
            paths.extract(text),
            [
                Some(json!({"b": 3})),
                Some(json!(3)),
                Some(json!("y")),
                None,
                None,
                Some(whole)
            ]
        );
    }

    #[test]
    fn the_last_of_repeated_keys_counts() {
        assert_eq!(
            at_path(r#"{"a":{"b":1},"a":{"c":2}}"#, &path(&["a", "b"])),
            None
        );
        assert_eq!(at_path(r#"{"a":1,"a":2}"#, &path(&["a"])), Some(json!(2)));
        assert_eq!(at_path(r#"{"\u0061":1}"#, &path(&["a"])), Some(json!(1)));
    }

    #[test]
    fn text_that_is_not_json_has_no_values() {
        for text in ["", "{", r#"{"a":1}x"#, r#"{"a":1,"#, "nul"] {
            assert_eq!(at_path(text, &path(&["a"])), None, "{text}");
        }
    }
}
