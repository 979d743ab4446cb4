//! Who writes a channel: epochs, each taken by one compare-and-set.

use holdfast_types::Epoch;

use crate::{
    MetaError, MetaStore, Txn, TxnOutcome,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, contract};

    #[tokio::test]
    async fn each_claim_is_one_higher_and_names_its_owner() {
        let store = MemoryStore::new();
        assert_eq!(current_epoch(&store, "e").await.unwrap(), None);
        for n in 1..=3 {
            let owner = format!("node-{n}");
            let epoch = claim_epoch(&store, "e", &owner).await.unwrap();
            assert_eq!(epoch, Epoch(n));
            let current = current_epoch(&store, "e").await.unwrap();
            assert_eq!(current, Some(EpochClaim { epoch, owner }));
        }
        assert_eq!(claim_epoch(&store, "f", "x").await.unwrap(), Epoch(1));
    }

    #[tokio::test]
    async fn a_damaged_claim_is_refused_and_not_written_over() {
        let store = MemoryStore::new();
        contract::put(&store, "e", "rubbish").await.unwrap();
        let error = claim_epoch(&store, "e", "x").await.unwrap_err();
        assert!(matches!(error, MetaError::Damaged { .. }), "{error}");
        assert_eq!(store.get("e").await.unwrap().unwrap().value, "rubbish");
    }
}
