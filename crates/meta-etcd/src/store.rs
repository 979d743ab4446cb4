//! The [`MetaStore`] over etcd.
//!
//! Every read goes through the leader's agreement (etcd calls it linearizable), every transaction is one of
//! etcd's. A key is stored under the cluster's prefix, with nothing added to its value. Revisions are etcd's
//! own: they begin at 1 or later, and skip what others write to the same etcd.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use etcd_client::{Client, GetOptions, ResponseHeader, TxnOp, proto::PbKeyValue};
use holdfast_meta::{MetaError, MetaStore, Range, Txn, TxnOutcome, Versioned, WatchStream};
use tokio_util::sync::CancellationToken;

use crate::{
    Options,
    fault::Fault,
    keyspace::{Keyspace, end_of, revision},
    members::{Members, Repeatable},
    watcher::{Shared, Watcher},
};

/// Keys of the first page of a range; later pages grow while they stay small.
const PAGE_KEYS: i64 = 256;
const PAGE_KEYS_MAX: i64 = 4_096;
/// A page of more bytes is not followed by a larger one.
const PAGE_BYTES: usize = 1 << 20;
/// Largest answer taken; a page that would be larger is asked for again in halves.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How often a listing starts over because its revision was compacted under it.
const LISTINGS: usize = 5;

/// Metadata in etcd. Any number of processes share it.
#[derive(Debug)]
pub struct EtcdStore {
    shared: Shared,
}

impl EtcdStore {
    /// Connects to the first member that answers, and logs in.
    ///
    /// # Errors
    /// [`MetaError::Refused`] for settings that are wrong, [`MetaError::Denied`] for credentials that are,
    /// [`MetaError::OutOfReach`] when no member with a leader is found within `operation_timeout`.
    pub async fn connect(options: Options) -> Result<Self, MetaError> {
        let keys = Keyspace::new(options.prefix.clone());
        let store = Self {
            shared: Shared {
                members: Arc::new(Members::new(options).await?),
                keys,
                closed: CancellationToken::new(),
                changed: Arc::new(AtomicU64::new(0)),
            },
        };
        // Fails now for what would fail every request: no leader, no right to read the prefix.
        let from = store.shared.keys.full("");
        let page = store.page("connect", &from, &end_of(&from), 1, 0).await;
        page.map_err(|fault| store.error(fault))?;
        Ok(store)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn error(&self, fault: Fault) -> MetaError {
        fault.into_meta(self.shared.members.name())
    }

    /// The first keys of `from..end`, as of a revision; 0 is now.
    async fn page(
        &self,
        operation: &'static str,
        from: &[u8],
        end: &[u8],
        limit: i64,
        at: i64,
    ) -> Result<Page, Fault> {
        let ask = |client: Arc<Client>| async move {
            let options = GetOptions::new()
                .with_range(end)
                .with_limit(limit)
                .with_revision(at);
            client
                .kv_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX)
                .get(from, Some(options))
                .await
        };
        let members = &self.shared.members;
        let answer = members.call(operation, Repeatable::Always, ask).await?;
        Ok(Page {
            revision: header_revision(answer.header())?,
            more: answer.more(),
            kvs: answer.0.kvs,
        })
    }

    /// All keys under a prefix, page by page, all as of the revision of the first page.
    async fn list(&self, prefix: &[u8]) -> Result<Listing, Fault> {
        let end = end_of(prefix);
        let mut from = prefix.to_vec();
        let mut listing = Listing::default();
        let mut limit = PAGE_KEYS;
        loop {
            let at = i64::try_from(listing.revision).unwrap_or(i64::MAX);
            let page = match self.page("range", &from, &end, limit, at).await {
                Err(Fault::AnswerTooLarge(_)) if limit > 1 => {
                    limit /= 2;
                    continue;
                }
                page => page?,
            };
            if listing.revision == 0 {
                listing.revision = page.revision;
            }
            let bytes: usize = page.kvs.iter().map(|kv| kv.value.len()).sum();
            if bytes < PAGE_BYTES {
                limit = (limit * 2).min(PAGE_KEYS_MAX);
            }
            let last = page.kvs.last().map(|kv| kv.key.clone());
            listing.kvs.extend(page.kvs);
            match last {
                Some(last) if page.more => {
                    from = last;
                    // The first key after it.
                    from.push(0);
                }
                _ => return Ok(listing),
            }
        }
    }
}

/// Part of a range.
struct Page {
    kvs: Vec<PbKeyValue>,
    revision: u64,
    more: bool,
}

#[derive(Default)]
struct Listing {
    kvs: Vec<PbKeyValue>,
    revision: u64,
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

#[async_trait]
impl MetaStore for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError> {
        let key = self.shared.keys.full(key);
        let ask = |client: Arc<Client>| {
            let key = key.clone();
            async move { client.kv_client().get(key, None).await }
        };
        let members = &self.shared.members;
        let answer = members.call("get", Repeatable::Always, ask).await;
        let mut kvs = answer.map_err(|fault| self.error(fault))?.0.kvs;
        kvs.pop()
            .map(|kv| self.shared.keys.versioned(kv))
            .transpose()
    }

    async fn range(&self, prefix: &str) -> Result<Range, MetaError> {
        let prefix = self.shared.keys.full(prefix);
        let mut tries = 1;
        let listing = loop {
            match self.list(&prefix).await {
                Err(Fault::Compacted) if tries < LISTINGS => tries += 1,
                listing => break listing.map_err(|fault| self.error(fault))?,
            }
        };
        let items = listing
            .kvs
            .into_iter()
            .map(|kv| self.shared.keys.versioned(kv))
            .collect::<Result<_, _>>()?;
        Ok(Range {
            items,
            revision: listing.revision,
        })
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        transact(&self.shared, &txn, |key, value| {
            TxnOp::put(key, value, None)
        })
        .await
    }

    async fn watch(&self, prefix: &str, after_revision: u64) -> Result<WatchStream, MetaError> {
        // The stream connects when it is first asked; it begins at a revision, so nothing is missed.
        Ok(Watcher::stream(self.shared.clone(), prefix, after_revision))
    }
}

/// Makes a transaction; `put` makes its puts.
pub(crate) async fn transact(
    shared: &Shared,
    txn: &Txn,
    put: impl Fn(Vec<u8>, Vec<u8>) -> TxnOp,
) -> Result<TxnOutcome, MetaError> {
    txn.check()?;
    let repeatable = if txn.puts.is_empty() && txn.deletes.is_empty() {
        Repeatable::Always
    } else {
        Repeatable::IfNotApplied
    };
    let request = shared.keys.txn(txn, put);
    let ask = |client: Arc<Client>| {
        let request = request.clone();
        async move { client.kv_client().txn(request).await }
    };
    let error = |fault: Fault| fault.into_meta(shared.members.name());
    let answer = shared.members.call("txn", repeatable, ask).await;
    let answer = answer.map_err(error)?;
    if !answer.succeeded() {
        return Ok(TxnOutcome::Failed);
    }
    let revision = header_revision(answer.header()).map_err(error)?;
    if repeatable == Repeatable::IfNotApplied {
        shared.changed.fetch_max(revision, Ordering::SeqCst);
    }
    Ok(TxnOutcome::Done { revision })
}

fn header_revision(header: Option<&ResponseHeader>) -> Result<u64, Fault> {
    match header.map(ResponseHeader::revision) {
        Some(etcd) if etcd > 0 => Ok(revision(etcd)),
        _ => Err(Fault::Unknown("the answer has no revision".to_owned())),
    }
}
