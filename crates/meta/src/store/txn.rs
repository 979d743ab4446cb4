//! What no store takes: the limits of a transaction.

use std::collections::BTreeSet;

use super::{
    Compare, Expect, MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPERATIONS, MAX_VALUE_BYTES, MetaError,
    Txn,
};

impl Txn {
    /// Refuses what no store takes.
    ///
    /// # Errors
    /// [`MetaError::Refused`], with the limit.
    pub fn check(&self) -> Result<(), MetaError> {
        let Self {
            compares,
            puts,
            deletes,
        } = self;
        let operations = compares.len() + puts.len() + deletes.len();
        if operations > MAX_TXN_OPERATIONS {
            return Err(MetaError::Refused(format!(
                "{operations} operations, at most {MAX_TXN_OPERATIONS} are allowed"
            )));
        }
        let changed = || puts.iter().map(|(key, _)| key).chain(deletes);
        let keys = || compares.iter().map(|c| &c.key).chain(changed());
        for key in keys() {
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(MetaError::Refused(format!(
                    "a key of {} bytes is not in 1..={MAX_KEY_BYTES}",
                    key.len()
                )));
            }
        }
        let mut bytes: usize = keys().map(String::len).sum();
        let compared = compares.iter().filter_map(|c| match &c {
            Compare {
                key,
                expect: Expect::Value(value),
            } => Some((key, value)),
            _ => None,
        });
        for (key, value) in puts.iter().map(|(key, value)| (key, value)).chain(compared) {
            if value.len() > MAX_VALUE_BYTES {
                return Err(MetaError::Refused(format!(
                    "the value of {key:?} has {} bytes, at most {MAX_VALUE_BYTES} are allowed",
                    value.len()
                )));
            }
            bytes += value.len();
        }
        if bytes > MAX_TXN_BYTES {
            return Err(MetaError::Refused(format!(
                "{bytes} bytes of keys and values, at most {MAX_TXN_BYTES} are allowed"
            )));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = changed().find(|key| !seen.insert(*key)) {
            return Err(MetaError::Refused(format!("{twice:?} is changed twice")));
        }
        Ok(())
    }
}
