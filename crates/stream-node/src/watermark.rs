//! The highest stamp that a read may have been answered at, kept across restarts.
//!
//! A read at a stamp promises that nothing will be stamped at or below it any more. Stamps of records are
//! in the log, where a restart finds them; the stamp of a read is nowhere. So before a read is answered
//! above what the log has, a ceiling at or above its stamp is stored, some way ahead so that it is stored
//! seldom; and a start-up begins to stamp above the ceiling, whatever its clock says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use holdfast_meta::{Expect, MetaError, MetaStore, Txn, TxnOutcome, envelope, keys};
use holdfast_types::{ChannelId, Code, Failure, Timestamp};

/// How far ahead of a read the ceiling is stored.
const AHEAD: Duration = Duration::from_secs(2);

/// The ceiling of one channel.
pub(crate) struct Watermark {
    meta: Arc<dyn MetaStore>,
    channel: ChannelId,
    /// Revision at which this process took the channel: a later owner's ceiling is not ours to move.
    claimed: u64,
    stored: AtomicU64,
    storing: tokio::sync::Mutex<()>,
}

impl Watermark {
    /// The ceiling that earlier owners left. Called after the channel's epoch was claimed.
    pub(crate) async fn open(
        meta: Arc<dyn MetaStore>,
        channel: ChannelId,
    ) -> Result<Self, Failure> {
        let key = keys::channel_ceiling(channel);
        let claim = meta.get(&keys::channel_epoch(channel)).await?;
        let ceiling = match meta.get(&key).await? {
            Some(found) => decode(&key, &found.value)?,
            None => Timestamp::ZERO,
        };
        Ok(Self {
            meta,
            channel,
            claimed: claim.map_or(0, |claim| claim.mod_revision),
            stored: AtomicU64::new(ceiling.0),
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
        let key = keys::channel_ceiling(self.channel);
        let value = envelope::seal(&key, &ceiling.0.to_le_bytes());
        let ours = Expect::Revision(self.claimed);
        let txn = Txn::new()
            .expect(keys::channel_epoch(self.channel), ours)
            .put(key, value);
        match self.meta.txn(txn).await? {
            TxnOutcome::Done { .. } => {
                self.stored.store(ceiling.0, Ordering::SeqCst);
                Ok(())
            }
            TxnOutcome::Failed => Err(Failure::new(
                Code::NotLeader,
                format!("channel {} was taken over by another node", self.channel),
            )),
        }
    }
}

fn decode(key: &str, value: &Bytes) -> Result<Timestamp, Failure> {
    let payload = envelope::open(key, value)?;
    let bytes = payload
        .as_ref()
        .try_into()
        .map_err(|_| MetaError::Damaged {
            what: key.to_owned(),
            problem: format!("a stamp has 8 bytes, not {}", payload.len()),
        })?;
    Ok(Timestamp(u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use holdfast_meta::{MemoryStore, claim_epoch};

    use super::*;

    const CHANNEL: ChannelId = ChannelId(3);

    async fn claimed(meta: &Arc<dyn MetaStore>) -> Watermark {
        claim_epoch(&**meta, &keys::channel_epoch(CHANNEL), "test")
            .await
            .unwrap();
        Watermark::open(Arc::clone(meta), CHANNEL).await.unwrap()
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
        let Err(damaged) = Watermark::open(meta, CHANNEL).await else {
            panic!("it was taken");
        };
        assert_eq!(damaged.code, Code::Corrupt, "{damaged}");
    }
}
