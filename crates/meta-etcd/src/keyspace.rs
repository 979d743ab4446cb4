//! Our keys and transactions as etcd's, and back. Pure.

use etcd_client::{Compare as Condition, CompareOp, Txn as EtcdTxn, TxnOp, proto::PbKeyValue};
use holdfast_meta::{Compare, Expect, MetaError, Txn, Versioned};

/// The keys of one cluster: those that begin with its prefix, which is never empty.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    prefix: String,
}

impl Keyspace {
    pub(crate) fn new(prefix: String) -> Self {
        assert!(!prefix.is_empty(), "the settings were checked");
        Self { prefix }
    }

    /// The key as etcd stores it.
    pub(crate) fn full(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    /// The key as callers know it.
    pub(crate) fn stripped(&self, full: Vec<u8>) -> Result<String, MetaError> {
        let text = String::from_utf8(full).map_err(|e| MetaError::Damaged {
            what: String::from_utf8_lossy(e.as_bytes()).into_owned(),
            problem: "a key that is not text is not Holdfast's".to_owned(),
        })?;
        match text.strip_prefix(&self.prefix) {
            Some(key) => Ok(key.to_owned()),
            None => Err(MetaError::Damaged {
                what: text,
                problem: format!("does not begin with {}", self.prefix),
            }),
        }
    }

    pub(crate) fn versioned(&self, kv: PbKeyValue) -> Result<Versioned, MetaError> {
        Ok(Versioned {
            key: self.stripped(kv.key)?,
            value: kv.value.into(),
            mod_revision: revision(kv.mod_revision),
        })
    }

    /// The transaction for etcd. It counts compares and changes by themselves, at most 128 of each by default,
    /// so one that passed [`Txn::check`] never has to be split.
    pub(crate) fn txn(&self, txn: &Txn, put: impl Fn(Vec<u8>, Vec<u8>) -> TxnOp) -> EtcdTxn {
        let Txn {
            compares,
            puts,
            deletes,
        } = txn;
        let conditions: Vec<Condition> = compares.iter().map(|c| self.condition(c)).collect();
        let puts = puts
            .iter()
            .map(|(key, value)| put(self.full(key), value.to_vec()));
        let deletes = deletes
            .iter()
            .map(|key| TxnOp::delete(self.full(key), None));
        EtcdTxn::new()
            .when(conditions)
            .and_then(puts.chain(deletes).collect::<Vec<_>>())
    }

    fn condition(&self, compare: &Compare) -> Condition {
        let key = self.full(&compare.key);
        match &compare.expect {
            // An absent key compares as one that was created at revision 0.
            Expect::Absent => Condition::create_revision(key, CompareOp::Equal, 0),
            // A range holds when all its keys do. Without keys etcd compares an absent one, which holds; any
            // key that is there was created at 1 or later.
            Expect::PrefixAbsent => {
                Condition::create_revision(key, CompareOp::Equal, 0).with_prefix()
            }
            Expect::Revision(wanted) => match i64::try_from(*wanted) {
                Ok(wanted) if wanted > 0 => Condition::mod_revision(key, CompareOp::Equal, wanted),
                // No key was put at this revision; etcd would find that an absent one was put at 0.
                _ => Condition::version(key, CompareOp::Less, 0),
            },
            // The value of an absent key equals nothing, not even an empty value.
            Expect::Value(value) => Condition::value(key, CompareOp::Equal, value.to_vec()),
        }
    }
}

/// First key after all keys that begin with `prefix`, by their bytes.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let keep = prefix.iter().rposition(|byte| *byte < 0xff);
    match keep {
        Some(at) => {
            let mut end = prefix[..=at].to_vec();
            end[at] += 1;
            end
        }
        // To etcd: to the end of all keys.
        None => vec![0],
    }
}

/// A revision, which etcd counts from 1.
pub(crate) fn revision(etcd: i64) -> u64 {
    u64::try_from(etcd).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lose_the_prefix_they_got() {
        let keys = Keyspace::new("/holdfast/a/".to_owned());
        let full = keys.full("é/x");
        assert_eq!(full, "/holdfast/a/é/x".as_bytes());
        assert_eq!(keys.stripped(full).unwrap(), "é/x");
        for foreign in [&b"/holdfast/b/x"[..], b"/holdfast/a/\xff"] {
            let error = keys.stripped(foreign.to_vec()).unwrap_err();
            assert!(matches!(error, MetaError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn the_end_of_a_prefix_follows_all_its_keys() {
        assert_eq!(end_of(b"a/"), b"a0");
        assert_eq!(end_of(b"a\xff\xff"), b"b");
        assert_eq!(end_of(b"\xff"), [0]);
        let last = "\u{10ffff}";
        let end = end_of(last.as_bytes());
        assert!(end.as_slice() > format!("{last}{last}").as_bytes());
    }
}
