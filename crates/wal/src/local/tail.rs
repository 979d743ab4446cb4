//! Follows a log: from the ring when the reader keeps up, from files when it does not.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt, stream};
use holdfast_types::Lsn;
use tokio::sync::watch;

use super::{
    channel::{Channel, View, lock, never_answered},
    reader::{self, Cursor},
};
use crate::wal::{TailStream, WalEntry, WalError};

/// About how much is read ahead of the reader.
const READ_BYTES: usize = 4 << 20;

#[derive(Debug)]
struct Tail {
    channel: Arc<Channel>,
    view: watch::Receiver<View>,
    next: Lsn,
    ready: VecDeque<WalEntry>,
    cursor: Option<Cursor>,
    ended: bool,
}

/// The records of a channel from `from` on.
pub(super) fn follow(channel: Arc<Channel>, from: Lsn) -> Result<TailStream, WalError> {
    let from = from.max(Lsn(1));
    let view = channel.view();
    let (first, last) = (channel.files.first(), view.borrow().committed);
    if from < first {
        return Err(WalError::Trimmed { first });
    }
    if from > last.next() {
        return Err(WalError::BeyondEnd { from, last });
    }
    let tail = Tail {
        channel,
        view,
        next: from,
        ready: VecDeque::new(),
        cursor: None,
        ended: false,
    };
    Ok(stream::unfold(tail, |mut tail| async move {
        let item = tail.next().await?;
        tail.ended = item.is_err();
        Some((item, tail))
    })
    .boxed())
}

impl Tail {
    async fn next(&mut self) -> Option<Result<WalEntry, WalError>> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(entry) = self.ready.pop_front() {
                self.next = entry.lsn.next();
                return Some(Ok(entry));
            }
            let view = *self.view.borrow_and_update();
            if view.committed >= self.next {
                match self.read(view.committed).await {
                    Ok(entries) => self.ready = entries.into(),
                    Err(e) => return Some(Err(e)),
                }
                continue;
            }
            if view.closed || self.view.changed().await.is_err() {
                return None;
            }
        }
    }

    /// At least one record.
    async fn read(&mut self, upto: Lsn) -> Result<Vec<WalEntry>, WalError> {
        let from = self.next;
        let recent = lock(&self.channel.ring).read(from, upto, READ_BYTES);
        if let Some(entries) = recent {
            self.cursor = None;
            return Ok(entries);
        }
        let channel = Arc::clone(&self.channel);
        let mut cursor = self.cursor.take();
        let read = tokio::task::spawn_blocking(move || {
            let entries = reader::read(&channel.files, &mut cursor, from, upto, READ_BYTES)?;
            let bytes = entries.iter().map(|e| e.payload.len()).sum();
            channel.metrics.read_from_files(bytes);
            Ok((entries, cursor))
        });
        let (entries, cursor) = read
            .await
            .map_err(|_| never_answered(self.channel.files.dir()))??;
        self.cursor = cursor;
        Ok(entries)
    }
}
