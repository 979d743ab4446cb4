//! What the owner of a channel keeps in the metadata store: a later owner's is not ours to change.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_meta::{Expect, MetaError, MetaStore, Txn, TxnOutcome, envelope, keys};
use holdfast_types::{ChannelId, Code, Failure};

/// A channel as one owner took it.
#[derive(Clone)]
pub(crate) struct Claim {
    meta: Arc<dyn MetaStore>,
    channel: ChannelId,
    /// Revision at which the epoch was claimed.
    revision: u64,
}

impl Claim {
    /// Called after the channel's epoch was claimed.
    pub(crate) async fn of(meta: Arc<dyn MetaStore>, channel: ChannelId) -> Result<Self, Failure> {
        let claim = meta.get(&keys::channel_epoch(channel)).await?;
        Ok(Self {
            meta,
            channel,
            revision: claim.map_or(0, |claim| claim.mod_revision),
        })
    }

    pub(crate) fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The `N` bytes under a key, whoever put them there.
    pub(crate) async fn read<const N: usize>(&self, key: &str) -> Result<Option<[u8; N]>, Failure> {
        match self.meta.get(key).await? {
            Some(found) => Ok(Some(decode(key, &found.value)?)),
            None => Ok(None),
        }
    }

    /// Puts a value there.
    ///
    /// # Errors
    /// The metadata store can't take it, or the channel has another owner.
    pub(crate) async fn put(&self, key: String, value: &[u8]) -> Result<(), Failure> {
        let value = envelope::seal(&key, value);
        let ours = Expect::Revision(self.revision);
        let txn = Txn::new()
            .expect(keys::channel_epoch(self.channel), ours)
            .put(key, value);
        match self.meta.txn(txn).await? {
            TxnOutcome::Done { .. } => Ok(()),
            TxnOutcome::Failed => Err(Failure::new(
                Code::NotLeader,
                format!("channel {} was taken over by another node", self.channel),
            )),
        }
    }
}

fn decode<const N: usize>(key: &str, value: &Bytes) -> Result<[u8; N], Failure> {
    let payload = envelope::open(key, value)?;
    let bytes = payload
        .as_ref()
        .try_into()
        .map_err(|_| MetaError::Damaged {
            what: key.to_owned(),
            problem: format!("it has {N} bytes, not {}", payload.len()),
        })?;
    Ok(bytes)
}
