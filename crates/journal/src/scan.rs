//! Walking a file batch by batch, and telling what a crash left half-written from what was damaged later.
//!
//! A batch that is not intact is **rotten** when anything intact says that it was durable: a later batch or mark
//! that was written knowing so, the file header for its checkpoint, the next file for everything before it. Nothing
//! says so of a batch that was being written when the power went: it is **torn**, was never acknowledged, and the log
//! ends before it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    codec::ENTRY_LEN,
    error::{JournalError, failed},
    file::JournalFile,
    format::{BATCH_HEADER_LEN, BLOCK, BLOCK_LEN, BatchHeader, DATA_AT, Kind, Link},
};

/// How much is read at once while looking for batches beyond a damaged one.
const LOOK_AHEAD: u64 = 1 << 20;

/// What a walk meets.
#[derive(Debug)]
pub(crate) enum Item {
    /// An intact batch.
    Batch(Batch),
    /// Batches that were durable and are not intact.
    Damaged(Bad),
}

/// An intact batch.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) at: u64,
    pub(crate) header: BatchHeader,
    pub(crate) payload: Bytes,
}

/// One or more rotten batches.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) at: u64,
    pub(crate) until: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// There were no more records than this in them.
    pub(crate) records_max: u64,
    /// Whether there were control records among them, where that is known.
    pub(crate) control: Option<bool>,
    /// The header, if it is intact, and the bytes that do not match it.
    pub(crate) readable: Option<(BatchHeader, Bytes)>,
    pub(crate) problem: &'static str,
}

/// Where a file ends.
#[derive(Debug)]
pub(crate) struct End {
    /// Where the next batch goes.
    pub(crate) at: u64,
    /// Its number.
    pub(crate) next_seq: u64,
    /// What it says about the batch before.
    pub(crate) link: Link,
    /// The batches that nothing says were durable, and where.
    pub(crate) undurable: Vec<(u64, BatchHeader)>,
    /// A batch that was being written is cut off.
    pub(crate) torn: bool,
    /// The highest generation that wrote here.
    pub(crate) generation: u64,
}

/// Walks `file` up to the batch numbered `until`, where the next file goes on, or to the end of the log.
///
/// # Errors
/// The disk's, and those of `sink`.
pub(crate) fn walk(
    file: &JournalFile,
    until: Option<u64>,
    sink: &mut dyn FnMut(Item) -> Result<(), JournalError>,
) -> Result<End, JournalError> {
    let io = |e| failed("read", &file.path)(e);
    let header = &file.header;
    let mut durable = header.checkpoint_last.max(until.map_or(0, |next| next - 1));
    let mut end = End {
        at: DATA_AT,
        next_seq: header.first_seq,
        link: header.previous,
        undurable: Vec::new(),
        torn: false,
        generation: header.generation,
    };
    let mut link_known = true;
    let mut written: VecDeque<(u64, BatchHeader)> = VecDeque::new();
    while until.is_none_or(|next| end.next_seq < next) {
        let seq = end.next_seq;
        let here = file.batch_at(end.at).map_err(io)?;
        let here = here.filter(|(h, _)| h.seq == seq && (!link_known || h.previous == end.link));
        let mut readable = None;
        if let Some((found, crc)) = here {
            end.generation = end.generation.max(found.generation);
            durable = durable.max(found.durable);
            while written.front().is_some_and(|(_, h)| h.seq <= durable) {
                written.pop_front();
            }
            if found.kind == Kind::Mark {
                end.link = found.previous;
            } else {
                match file.payload(end.at, &found).map_err(io)? {
                    Some((payload, true)) => {
                        written.push_back((end.at, found));
                        let at = end.at;
                        end.at += found.span();
                        end.next_seq += 1;
                        (end.link, link_known) = (found.link(crc), true);
                        sink(Item::Batch(Batch {
                            at,
                            header: found,
                            payload,
                        }))?;
                        continue;
                    }
                    other => {
                        let bytes = other.map_or_else(Bytes::new, |(payload, _)| payload);
                        readable = Some((found, bytes));
                    }
                }
            }
        }
        let torn = readable.is_some();
        let later = find_later(file, end.at + BLOCK, seq, durable >= seq).map_err(io)?;
        // A file is never shorter than it was made: what is gone is not torn.
        let cut = file.len < file.header.capacity && (torn || end.at + BLOCK > file.len);
        if later.is_none() && durable < seq && !cut {
            end.torn = torn;
            break;
        }
        let bad = damaged(file, &end, readable, later.as_ref(), durable);
        match later {
            Some((at, next)) => {
                (end.at, end.next_seq) = (at, next.seq);
                (end.link, link_known) = (next.previous, false);
                sink(Item::Damaged(bad))?;
            }
            None => {
                (end.at, end.next_seq) = (bad.until, bad.last_seq + 1);
                sink(Item::Damaged(bad))?;
                break;
            }
        }
    }
    written.retain(|(_, header)| header.seq > durable);
    end.undurable = written.into();
    Ok(end)
}

/// The first intact batch or mark from `at` on that is later than `seq`, if `seq` was durable: because it is
/// `known`, or because one of them says so.
fn find_later(
    file: &JournalFile,
    mut at: u64,
    seq: u64,
    known: bool,
) -> std::io::Result<Option<(u64, BatchHeader)>> {
    let mut first = None;
    let mut chunk = Vec::new();
    while at.saturating_add(BLOCK) <= file.len {
        let len = (file.len - at).min(LOOK_AHEAD) / BLOCK * BLOCK;
        chunk.resize(usize::try_from(len).expect("at most LOOK_AHEAD"), 0);
        file.file.read_exact_at(&mut chunk, at)?;
        for (block, offset) in chunk.chunks_exact(BLOCK_LEN).zip((at..).step_by(BLOCK_LEN)) {
            let Some((header, _)) = BatchHeader::decode(block, file.seed, offset) else {
                continue;
            };
            if header.seq <= seq {
                continue;
            }
            let first = *first.get_or_insert((offset, header));
            if known || header.durable >= seq {
                return Ok(Some(first));
            }
        }
        at += len;
    }
    Ok(None)
}

fn damaged(
    file: &JournalFile,
    end: &End,
    readable: Option<(BatchHeader, Bytes)>,
    later: Option<&(u64, BatchHeader)>,
    durable: u64,
) -> Bad {
    let until = later.map_or(file.header.capacity.max(end.at), |(at, _)| *at);
    // Behind a cut there may have been more than what is known of.
    let unheard_of = u64::from(file.len < file.header.capacity);
    let known_end = durable.max(end.next_seq) + 1 + unheard_of;
    let next_seq = later.map_or(known_end, |(_, next)| next.seq);
    let single = next_seq == end.next_seq + 1;
    let (records_max, control) = match (&readable, later) {
        (Some((header, _)), Some(_)) if single => (u64::from(header.records), Some(header.control)),
        (None, Some((_, next))) if single => {
            let Link {
                records, control, ..
            } = next.previous;
            (u64::from(records), Some(control))
        }
        _ => ((until - end.at) / ENTRY_LEN as u64, None),
    };
    Bad {
        at: end.at,
        until,
        first_seq: end.next_seq,
        last_seq: next_seq - 1,
        records_max,
        control,
        problem: match &readable {
            Some(_) => "records of a batch do not match their checksum",
            None => "no batch where one was written",
        },
        readable: readable.filter(|(header, bytes)| single && !bytes.is_empty() && header.len > 0),
    }
}

/// Bytes of the block padding after a batch's records, as an offset in the file and a length.
pub(crate) fn padding(at: u64, header: &BatchHeader) -> (u64, u64) {
    let used = (BATCH_HEADER_LEN as u64) + u64::from(header.len);
    (at + used, header.span() - used)
}
