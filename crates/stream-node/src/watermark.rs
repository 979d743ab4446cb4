//! The highest stamp that a read may have been answered at, kept across restarts.
//!
//! A read at a stamp promises that nothing will be stamped at or below it any more. Stamps of records are
//! in the log, where a restart finds them; the stamp of a read is nowhere. So before a read is answered
//! above what the log has, a ceiling at or above its stamp is stored, some way ahead so that it is stored
//! seldom; and a start-up begins to stamp above the ceiling, whatever its clock says.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use holdfast_meta::keys;
use holdfast_types::{Failure, Timestamp};

use crate::claim::Claim;

/// How far ahead of a read the ceiling is stored.
const AHEAD: Duration = Duration::from_secs(2);

/// The ceiling of one channel.
pub(crate) struct Watermark {
    claim: Claim,
    stored: AtomicU64,
    storing: tokio::sync::Mutex<()>,
}

impl Watermark {
    /// The ceiling that earlier owners left.
    pub(crate) async fn open(claim: Claim) -> Result<Self, Failure> {
        let ceiling = claim
            .read(&keys::channel_ceiling(claim.channel()))
            .await?
            .map_or(0, u64::from_le_bytes);
        Ok(Self {
            claim,
            stored: AtomicU64::new(ceiling),
            storing: tokio::sync::Mutex::default(),
        })
    }

    /// Everything at or below this may have been read.
    pub(crate) fn ceiling(&self) -> Timestamp {
        Timestamp(self.stored.load(Ordering::SeqCst))
    }

    /// Makes sure that no later owner stamps at or below `ts`.
    ///
    /// # Errors
    /// The metadata store can't take the ceiling, or the channel has another owner: then the read must not
    /// be answered.
    pub(crate) async fn cover(&self, ts: Timestamp) -> Result<(), Failure> {
        if ts <= self.ceiling() {
            return Ok(());
        }
        let _one_at_a_time = self.storing.lock().await;
        if ts <= self.ceiling() {
            return Ok(());
        }
        let ahead = u64::try_from(AHEAD.as_millis()).expect("two seconds");
        let ceiling = Timestamp::from_unix_ms(ts.unix_ms().saturating_add(ahead));
        let key = keys::channel_ceiling(self.claim.channel());
        self.claim.put(key, &ceiling.0.to_le_bytes()).await?;
        self.stored.store(ceiling.0, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_meta::{MemoryStore, MetaStore, Txn, TxnOutcome, claim_epoch, envelope};
    use holdfast_types::{ChannelId, Code};

    use super::*;

    const CHANNEL: ChannelId = ChannelId(3);

    async fn open(meta: Arc<dyn MetaStore>) -> Result<Watermark, Failure> {
        Watermark::open(Claim::of(meta, CHANNEL).await?).await
    }

    async fn claimed(meta: &Arc<dyn MetaStore>) -> Watermark {
        claim_epoch(&**meta, &keys::channel_epoch(CHANNEL), "test")
            .await
            .unwrap();
        open(Arc::clone(meta)).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_covered_is_known_to_the_next_owner_only() {
        let meta: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
        let first = claimed(&meta).await;
        assert_eq!(first.ceiling(), Timestamp::ZERO);
        let read = Timestamp::from_unix_ms(1_000).next();
        first.cover(read).await.unwrap();
        first.cover(Timestamp::from_unix_ms(900)).await.unwrap();
        let second = claimed(&meta).await;
        assert!(second.ceiling() >= read);
        let late = Timestamp::from_unix_ms(60_000);
        let fenced = first.cover(late).await.unwrap_err();
        assert_eq!(fenced.code, Code::NotLeader);
        second.cover(late).await.unwrap();
        assert!(claimed(&meta).await.ceiling() >= late);
    }

    #[tokio::test]
    async fn a_damaged_ceiling_is_refused() {
        let meta: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
        let key = keys::channel_ceiling(CHANNEL);
        let short = envelope::seal(&key, &[0; 7]);
        let stored = meta.txn(Txn::new().put(key, short)).await.unwrap();
        assert!(matches!(stored, TxnOutcome::Done { .. }));
        let Err(damaged) = open(meta).await else {
            panic!("it was taken");
        };
        assert_eq!(damaged.code, Code::Corrupt, "{damaged}");
    }
}
