//! Ids, unique in the cluster, taken from the store in blocks.

use holdfast_types::{Code, Failure};

use super::{ATTEMPTS_MAX, Catalog, contended, put};
use crate::{Txn, TxnOutcome, codec::NextId, keys};

/// The first id ever given. Lower ones are left to fixed things, such as the default database.
const FIRST_ID: i64 = 1_000;
/// Ids taken from the store at once: one durable write per so many ids. What is left of a block is
/// skipped when the process ends.
const BLOCK: i64 = 10_000;
/// Most ids given at once.
const AT_ONCE_MAX: u32 = 1 << 24;

/// Ids that are this process's to give.
pub(super) struct Block {
    next: i64,
    end: i64,
}

impl Block {
    pub(super) fn empty() -> Self {
        Self { next: 0, end: 0 }
    }
}

impl Catalog {
    /// Takes `count` consecutive ids and returns the first. Within one catalog later calls get larger
    /// ids; no id is ever given twice, in this process or another.
    ///
    /// # Errors
    /// `InvalidArgument` for more than 16 777 216 ids at once; the store's.
    pub async fn allocate_ids(&self, count: u32) -> Result<i64, Failure> {
        if count > AT_ONCE_MAX {
            return Err(Failure::invalid(format!(
                "{count} ids at once, at most {AT_ONCE_MAX} are given"
            )));
        }
        let count = i64::from(count);
        let mut block = self.ids.lock().await;
        if block.end - block.next < count {
            *block = self.take_block(count.max(BLOCK)).await?;
        }
        let first = block.next;
        block.next += count;
        Ok(first)
    }

    async fn take_block(&self, size: i64) -> Result<Block, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let read = self.read::<NextId>(keys::NEXT_ID).await?;
            let next = read.as_ref().map_or(FIRST_ID, |(NextId(next), _)| *next);
            let Some(end) = next.checked_add(size) else {
                return Err(Failure::new(Code::QuotaExceeded, "all ids are used up"));
            };
            let expected = read.as_ref().map(|(_, version)| version);
            let txn = Txn::new().expect_read(keys::NEXT_ID, expected);
            let txn = put(txn, keys::NEXT_ID, &NextId(end))?;
            if let TxnOutcome::Done { .. } = self.store.txn(txn).await? {
                return Ok(Block { next, end });
            }
        }
        Err(contended("the id allocator"))
    }
}
