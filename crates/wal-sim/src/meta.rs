//! The metadata store: one ordered map with compare-and-set, which may be slow, away, or leave an outcome unknown.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_qlog::meta::{LogView, MetaTxn, log_prefix};
use holdfast_types::ChannelId;

#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    keys: BTreeMap<String, Bytes>,
}

impl Meta {
    /// Whether the transaction was applied.
    pub(crate) fn run(&mut self, txn: &MetaTxn) -> bool {
        let stands = txn
            .compares
            .iter()
            .all(|(key, expect)| self.keys.get(key) == expect.as_ref());
        if stands {
            for (key, value) in &txn.puts {
                self.keys.insert(key.clone(), value.clone());
            }
            for key in &txn.deletes {
                self.keys.remove(key);
            }
        }
        stands
    }

    pub(crate) fn view(&self, log: ChannelId) -> LogView {
        let prefix = log_prefix(log);
        let records = self
            .keys
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.as_str(), value));
        LogView::read(log, records).expect("only transactions of the protocol are run")
    }
}
