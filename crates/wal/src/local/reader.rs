//! Reads durable records from files, for those who are too far behind for the ring.

use std::sync::Arc;

use holdfast_types::Lsn;

use super::{
    files::Files,
    log_file::{LogFile, Position, corrupt},
};
use crate::wal::{WalEntry, WalError};

/// Where a reader is. It keeps its file readable, even when that is trimmed meanwhile.
#[derive(Debug)]
pub(super) struct Cursor {
    file: Arc<LogFile>,
    at: Position,
}

/// Reads records from `from` to at most `upto`, which are durable; at least one, about `bytes_max`
/// bytes of them. `cursor` is where the last call ended.
pub(super) fn read(
    files: &Files,
    cursor: &mut Option<Cursor>,
    from: Lsn,
    upto: Lsn,
    bytes_max: usize,
) -> Result<Vec<WalEntry>, WalError> {
    let mut here = match cursor.take().filter(|c| c.at.next <= from) {
        Some(cursor) => cursor,
        None => {
            let (file, _) = files.holding(from)?;
            let at = file.start();
            Cursor { file, at }
        }
    };
    let mut found = Vec::new();
    let mut bytes = 0;
    while here.at.next <= upto && bytes < bytes_max {
        let Some(header) = here.file.header_at(here.at)? else {
            here = next_file(files, &here)?;
            continue;
        };
        let after = LogFile::after(here.at, &header);
        if after.next > from {
            let records = here.file.records(here.at, &header)?;
            let records =
                records.map_err(|problem| corrupt(&here.file.path, here.at.offset, problem))?;
            for entry in records {
                if (from..=upto).contains(&entry.lsn) {
                    bytes += entry.payload.len().max(1);
                    found.push(entry);
                }
            }
        }
        here.at = after;
    }
    *cursor = Some(here);
    Ok(found)
}

/// The start of the file after the cursor's, which must follow it without a gap.
fn next_file(files: &Files, here: &Cursor) -> Result<Cursor, WalError> {
    let (file, _) = files.holding(here.at.next)?;
    if file.header.first != here.at.next || Arc::ptr_eq(&file, &here.file) {
        let problem = format!("record {} should be here", here.at.next);
        return Err(corrupt(&here.file.path, here.at.offset, problem));
    }
    let at = Position {
        epoch: here.at.epoch,
        ..file.start()
    };
    Ok(Cursor { file, at })
}
