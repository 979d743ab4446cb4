//! The keys of old segments into a list in object storage, so that the metadata store holds few of them; and what such
//! lists say into a look.

use holdfast_log_store::{LogStore, LogStoreError};
use holdfast_qlog::{
    fold::{SegmentList, extend},
    meta::{LogView, TxnOutcome, fold},
};
use holdfast_types::ChannelId;

use crate::{
    keeper::{Keeper, Memory},
    look::Look,
};

impl Keeper {
    /// Folds what is due, if that is this node's business, and completes the view of each log by its list. A log whose list
    /// cannot be read keeps a view that says so.
    pub(crate) async fn fold(&self, memory: &mut Memory, look: &mut Look) {
        let Some(objects) = &self.objects else { return };
        let first = look.is_first(self.storage);
        memory.lists.retain(|log, _| {
            let view = look.logs.get(log);
            view.is_some_and(|view| view.folded.is_some())
        });
        for (log, view) in &mut look.logs {
            let list = match list_of(objects, memory, *log, view).await {
                Ok(list) => list,
                Err(error) => {
                    tracing::warn!(%log, %error, "the list of a log's older segments cannot be read");
                    continue;
                }
            };
            if first && let Some(longer) = extend(view, &list) {
                self.record(objects, memory, *log, view, &longer).await;
            }
            view.segments.extend(list.segments);
            view.folded = None;
        }
    }

    async fn record(
        &self,
        objects: &LogStore,
        memory: &mut Memory,
        log: ChannelId,
        view: &LogView,
        list: &SegmentList,
    ) {
        memory.attempts += 1;
        let before = view.folded.as_ref().map(|folded| &folded.manifest);
        let by = (&self.owner, memory.attempts);
        let written = objects.put_list(log, list, before, by);
        let folded = match written.await {
            Ok(Some(folded)) => folded,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%log, %error, "a list of a log's older segments is not written");
                return;
            }
        };
        let Some(txn) = fold(log, view, &folded) else {
            return;
        };
        match self.registry.txn(&txn).await {
            TxnOutcome::Applied => {
                let segments = list.segments.len();
                tracing::info!(%log, segments, through = %folded.through, "older segments of a log are listed in an object");
            }
            TxnOutcome::Refused => drop(objects.delete(&folded.manifest.key).await),
            // What does not count is cleared up.
            TxnOutcome::Unknown => {}
        }
    }
}

/// The list that a view names, read at most once; an empty one where it names none.
async fn list_of(
    objects: &LogStore,
    memory: &mut Memory,
    log: ChannelId,
    view: &LogView,
) -> Result<SegmentList, LogStoreError> {
    let Some(folded) = &view.folded else {
        return Ok(SegmentList::default());
    };
    if let Some((manifest, list)) = memory.lists.get(&log)
        && *manifest == folded.manifest
    {
        return Ok(list.clone());
    }
    let list = objects.read_list(log, &folded.manifest).await?;
    let known = (folded.manifest.clone(), list.clone());
    memory.lists.insert(log, known);
    Ok(list)
}
