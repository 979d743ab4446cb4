//! Who writes a channel: epochs, each taken by one compare-and-set.

use holdfast_types::Epoch;

use crate::{
    Expect, MetaError, MetaStore, Txn, TxnOutcome,
    codec::{self, EpochClaim},
};

/// Takes the next epoch at `key` for `owner`. Of several callers each gets an epoch of its own; the
/// highest wins wherever the epoch is enforced.
///
/// # Errors
/// The store's; after [`MetaError::OutcomeUnknown`] an epoch may have been used up, which harms nobody.
pub async fn claim_epoch(
    store: &dyn MetaStore,
    key: &str,
    owner: &str,
) -> Result<Epoch, MetaError> {
    loop {
        let read = store.get(key).await?;
        let last = match &read {
            Some(found) => codec::decode::<EpochClaim>(key, &found.value)?.epoch,
            None => Epoch(0),
        };
        let Some(next) = last.0.checked_add(1) else {
            return Err(MetaError::damaged(key, "the last epoch is taken"));
        };
        let claim = EpochClaim {
            epoch: Epoch(next),
            owner: owner.to_owned(),
        };
        let txn = Txn::new()
            .expect_read(key, read.as_ref())
            .put(key, codec::encode(key, &claim)?);
        // A failed compare means that somebody else got an epoch, so all callers together get on.
        if let TxnOutcome::Done { .. } = store.txn(txn).await? {
            return Ok(claim.epoch);
        }
    }
}

/// The last epoch taken at `key`, and by whom.
///
/// # Errors
/// The store's, and [`MetaError::Damaged`].
pub async fn current_epoch(
    store: &dyn MetaStore,
    key: &str,
) -> Result<Option<EpochClaim>, MetaError> {
    match store.get(key).await? {
        Some(found) => codec::decode(key, &found.value).map(Some),
        None => Ok(None),
    }
}

/// The condition that `epoch` at `key` is still the last one taken, for transactions that only its owner
/// may make.
///
/// # Errors
/// As [`current_epoch`]; `Ok(None)` when a newer epoch was taken.
pub async fn still_held(
    store: &dyn MetaStore,
    key: &str,
    epoch: Epoch,
) -> Result<Option<Expect>, MetaError> {
    let Some(found) = store.get(key).await? else {
        return Ok(None);
    };
    let claim: EpochClaim = codec::decode(key, &found.value)?;
    Ok((claim.epoch == epoch).then_some(Expect::Revision(found.mod_revision)))
}
