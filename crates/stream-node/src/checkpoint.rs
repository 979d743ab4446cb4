//! Where a restart begins to replay a channel's log.
//!
//! The log is trimmed file by file, and late, for the sake of readers that follow it. So it has many more
//! records than a restart needs: all up to the checkpoint are in manifests, or of nobody.

use holdfast_meta::keys;
use holdfast_types::{Failure, Lsn, Timestamp};
use tokio::sync::Mutex;

use crate::claim::Claim;

/// A position that needs no replay, and the largest stamp up to there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) lsn: Lsn,
    pub(crate) ts: Timestamp,
}

/// The stored position of one channel.
pub(crate) struct Checkpoint {
    claim: Claim,
    stored: Mutex<Settled>,
}

impl Checkpoint {
    /// What earlier owners left.
    pub(crate) async fn open(claim: Claim) -> Result<Self, Failure> {
        let key = keys::channel_checkpoint(claim.channel());
        let stored = claim
            .read::<16>(&key)
            .await?
            .map_or_else(Settled::default, |bytes| {
                let both = u128::from_le_bytes(bytes);
                Settled {
                    lsn: Lsn(both as u64),
                    ts: Timestamp((both >> 64) as u64),
                }
            });
        Ok(Self {
            claim,
            stored: Mutex::new(stored),
        })
    }

    /// The last one that was stored.
    pub(crate) async fn stored(&self) -> Settled {
        *self.stored.lock().await
    }

    /// Stores a later one. Every record up to it must be in a manifest, or needed by nobody.
    ///
    /// # Errors
    /// The metadata store can't take it, or the channel has another owner: a restart then replays more.
    pub(crate) async fn advance(&self, to: Settled) -> Result<(), Failure> {
        let mut stored = self.stored.lock().await;
        if to.lsn <= stored.lsn {
            return Ok(());
        }
        let both = u128::from(to.lsn.0) | u128::from(to.ts.0) << 64;
        let key = keys::channel_checkpoint(self.claim.channel());
        self.claim.put(key, &both.to_le_bytes()).await?;
        *stored = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_meta::{MemoryStore, MetaStore, claim_epoch};
    use holdfast_types::{ChannelId, Code};

    use super::*;

    #[tokio::test]
    async fn a_checkpoint_moves_on_only_and_only_for_the_owner() {
        let meta: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
        let open = async || {
            let channel = ChannelId(3);
            claim_epoch(&*meta, &keys::channel_epoch(channel), "test")
                .await
                .unwrap();
            let claim = Claim::of(Arc::clone(&meta), channel).await.unwrap();
            Checkpoint::open(claim).await.unwrap()
        };
        let at = |lsn, ts| Settled {
            lsn: Lsn(lsn),
            ts: Timestamp(ts),
        };
        let first = open().await;
        assert_eq!(first.stored().await, Settled::default());
        first.advance(at(7, u64::MAX)).await.unwrap();
        first.advance(at(6, 9)).await.unwrap();
        let second = open().await;
        assert_eq!(second.stored().await, at(7, u64::MAX));
        let fenced = first.advance(at(8, 1)).await.unwrap_err();
        assert_eq!(fenced.code, Code::NotLeader);
        second.advance(at(8, 1)).await.unwrap();
        assert_eq!(open().await.stored().await, at(8, 1));
    }
}
