//! Keys to set and keys to remove, of anything that has them.

use holdfast_node_api::coordinator::AlterParams;
use holdfast_proto::{
    kv::{self, Params},
    milvus::common::KeyValuePair,
};
use holdfast_types::Failure;

/// The change that a request asks for: keys to set or keys to remove, never both and never nothing.
///
/// `path` is the request's name of the pairs.
pub(super) fn change(
    path: &str,
    set: &[KeyValuePair],
    remove: Vec<String>,
) -> Result<AlterParams, Failure> {
    if set.is_empty() && remove.is_empty() {
        return Err(Failure::invalid(format!(
            "{path}, delete_keys: one of them must not be empty"
        )));
    }
    if !set.is_empty() && !remove.is_empty() {
        return Err(Failure::invalid(format!(
            "cannot provide both DeleteKeys and {path}"
        )));
    }
    if set.iter().any(|pair| pair.key.is_empty()) || remove.iter().any(String::is_empty) {
        return Err(Failure::invalid(format!(
            "{path}, delete_keys: a key must not be empty"
        )));
    }
    Params::new(path, set)?;
    Ok(AlterParams {
        set: kv::to_domain(set),
        remove,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_sets_keys_or_removes_keys() {
        let pairs = [kv::pair("a", "1"), kv::pair("b", "2")];
        let set = change("properties", &pairs, vec![]).unwrap();
        assert_eq!(
            set.set,
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "2".to_owned())
            ]
        );
        assert_eq!(
            change("properties", &[], vec!["a".to_owned()])
                .unwrap()
                .remove,
            ["a"]
        );
    }

    #[test]
    fn a_change_of_nothing_of_both_or_of_a_nameless_key_is_refused() {
        #[track_caller]
        fn check(set: &[(&str, &str)], remove: &[&str], expect: &str) {
            let pairs = kv::to_wire(set.iter().copied());
            let remove = remove.iter().map(|&k| k.to_owned()).collect();
            assert_eq!(
                change("properties", &pairs, remove).unwrap_err().message,
                expect
            );
        }
        check(
            &[],
            &[],
            "properties, delete_keys: one of them must not be empty",
        );
        check(
            &[("a", "1")],
            &["b"],
            "cannot provide both DeleteKeys and properties",
        );
        check(
            &[("", "1")],
            &[],
            "properties, delete_keys: a key must not be empty",
        );
        check(
            &[("a", "1"), ("a", "2")],
            &[],
            "properties.a: given twice, as \"1\" and as \"2\"",
        );
    }
}
