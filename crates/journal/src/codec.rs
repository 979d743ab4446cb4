//! The bytes of a record. Every record carries a checksum of its own beside the batch's: what a damaged batch
//! still holds intact can be told from what it does not.
//!
//! ```text
//! | length u32 | checksum u32 | kind u8 | fields … | payload of an entry |
//!                └ of seed, length, kind and fields; the payload is under the entry's own checksum
//! ```

use std::sync::Arc;

use bytes::Bytes;
use holdfast_qlog::{
    Copies, CopyHolder, Entry, LogImage, NodeRecord, RequestId, SegmentImage, SegmentOpen,
    StorageId, Zone,
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use crate::error::AppendError;

/// Longest payload of an entry.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// So that every position has a next one.
const POSITION_MAX: u64 = u64::MAX / 2;
/// Bytes before the kind.
pub(crate) const HEAD_LEN: usize = 8;
/// Bytes of an entry's record but for the payload.
pub(crate) const ENTRY_LEN: usize = HEAD_LEN + ENTRY_FIELDS;
const ENTRY_FIELDS: usize = 1 + 4 + 4 * 8 + 8 + 1 + 2 * 8 + 4;
/// Fewest bytes of a holder and of a segment's image.
const HOLDER_LEN_MIN: usize = 2 + 16 + 2;
const SEGMENT_LEN_MIN: usize = 8 * 6 + 1 + 8 + 6;
const SHORT_MAX: usize = u16::MAX as usize;

const PROMISE: u8 = 1;
const SEGMENT_OPEN: u8 = 2;
const APPEND: u8 = 3;
const FINISH: u8 = 4;
const TRIM: u8 = 5;
const LOG_IMAGE: u8 = 6;
const MOVED: u8 = 7;

/// What a batch can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A record of the node.
    Node(NodeRecord),
    /// One log's part of a checkpoint.
    Image { log: ChannelId, image: LogImage },
    /// An entry whose record was elsewhere before: it changes where the entry lies, and nothing else.
    Moved {
        log: ChannelId,
        segment: LogSegment,
        epoch: Epoch,
        committed: Lsn,
        entry: Entry,
    },
}

/// What was found where a record should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It.
    Record(Stored),
    /// An entry whose payload is not what its writer made.
    DamagedEntry {
        log: ChannelId,
        segment: LogSegment,
        lsn: Lsn,
    },
}

/// Refuses what has no encoding.
///
/// # Errors
/// [`AppendError::TooLarge`].
pub fn check(record: &NodeRecord) -> Result<(), AppendError> {
    let limit = |what, len: usize, max: usize| match len <= max {
        true => Ok(()),
        false => Err(AppendError::TooLarge { what, len, max }),
    };
    let position = |lsn: Lsn| {
        let len = usize::try_from(lsn.0).unwrap_or(usize::MAX);
        limit("a position", len, POSITION_MAX as usize)
    };
    if let NodeRecord::SegmentOpen { segment, .. }
    | NodeRecord::Append { segment, .. }
    | NodeRecord::Finish { segment, .. }
    | NodeRecord::Trim { segment, .. } = record
    {
        position(Lsn(segment.0))?;
    }
    match record {
        NodeRecord::Append {
            entry, committed, ..
        } => {
            position(*committed)?;
            position(entry.lsn)?;
            limit("a payload", entry.payload.len(), PAYLOAD_BYTES_MAX)
        }
        NodeRecord::SegmentOpen { open, .. } => {
            let Copies {
                holders,
                quorum,
                zones,
            } = &open.copies;
            position(open.first)?;
            limit("a number of copies", holders.len(), 256)?;
            limit("a quorum", *quorum, SHORT_MAX)?;
            limit("a number of zones", *zones, SHORT_MAX)?;
            for holder in holders {
                limit("the name of a node", holder.node.len(), 1024)?;
                limit("the name of a zone", holder.zone.0.len(), 1024)?;
            }
            Ok(())
        }
        NodeRecord::Finish { end, .. } => position(*end),
        NodeRecord::Promise { .. } | NodeRecord::Trim { .. } => Ok(()),
    }
}

/// The bytes of a record outside of any journal, for tests and fuzzing.
///
/// # Errors
/// As [`check`].
pub fn encode(record: &NodeRecord) -> Result<Vec<u8>, AppendError> {
    check(record)?;
    let mut out = Vec::new();
    put_node(&mut out, 0, record);
    Ok(out)
}

/// The inverse of [`encode`].
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &Bytes) -> Result<NodeRecord, &'static str> {
    match take(bytes, 0)? {
        (Found::Record(Stored::Node(record)), len) if len == bytes.len() => Ok(record),
        (Found::Record(Stored::Node(_)), _) => Err("bytes after the record"),
        (Found::Record(_), _) => Err("not a record of a node"),
        (Found::DamagedEntry { .. }, _) => Err("checksum of an entry does not match"),
    }
}

/// Bytes that a record takes.
pub(crate) fn len(record: &NodeRecord) -> usize {
    HEAD_LEN
        + match record {
            NodeRecord::Promise { .. } | NodeRecord::Trim { .. } => 1 + 4 + 8,
            NodeRecord::SegmentOpen { open, .. } => 1 + 4 + 3 * 8 + copies_len(&open.copies),
            NodeRecord::Append { entry, .. } => ENTRY_FIELDS + entry.payload.len(),
            NodeRecord::Finish { .. } => 1 + 4 + 2 * 8,
        }
}

/// Bytes that a log's part of a checkpoint takes.
pub(crate) fn image_len(image: &LogImage) -> usize {
    let segments = image.segments.values();
    let segment = |s: &SegmentImage| 8 * 6 + 1 + 8 + copies_len(&s.copies);
    HEAD_LEN + 1 + 4 + 8 + 8 + 4 + segments.map(segment).sum::<usize>()
}

fn copies_len(copies: &Copies) -> usize {
    let holder = |h: &CopyHolder| HOLDER_LEN_MIN + h.node.len() + h.zone.0.len();
    6 + copies.holders.iter().map(holder).sum::<usize>()
}

/// Writes a record that [`check`] has passed.
pub(crate) fn put_node(out: &mut Vec<u8>, seed: u32, record: &NodeRecord) {
    let at = begin(out);
    let (log, segment) = match record {
        NodeRecord::Promise { log, epoch } => (log, epoch.0),
        NodeRecord::SegmentOpen { log, segment, .. }
        | NodeRecord::Append { log, segment, .. }
        | NodeRecord::Finish { log, segment, .. }
        | NodeRecord::Trim { log, segment } => (log, segment.0),
    };
    let kind = match record {
        NodeRecord::Promise { .. } => PROMISE,
        NodeRecord::SegmentOpen { .. } => SEGMENT_OPEN,
        NodeRecord::Append { .. } => APPEND,
        NodeRecord::Finish { .. } => FINISH,
        NodeRecord::Trim { .. } => TRIM,
    };
    out.push(kind);
    out.extend(log.0.to_le_bytes());
    out.extend(segment.to_le_bytes());
    match record {
        NodeRecord::Promise { .. } | NodeRecord::Trim { .. } => {}
        NodeRecord::SegmentOpen { open, .. } => {
            out.extend(open.epoch.0.to_le_bytes());
            out.extend(open.first.0.to_le_bytes());
            put_copies(out, &open.copies);
        }
        NodeRecord::Append {
            epoch,
            committed,
            entry,
            ..
        } => return put_entry(out, at, seed, *epoch, *committed, entry),
        NodeRecord::Finish { end, .. } => out.extend(end.0.to_le_bytes()),
    }
    seal(out, at, seed, 0);
}

/// Writes an entry that lay elsewhere.
pub(crate) fn put_moved(
    out: &mut Vec<u8>,
    seed: u32,
    (log, segment): (ChannelId, LogSegment),
    (epoch, committed): (Epoch, Lsn),
    entry: &Entry,
) {
    let at = begin(out);
    out.push(MOVED);
    out.extend(log.0.to_le_bytes());
    out.extend(segment.0.to_le_bytes());
    put_entry(out, at, seed, epoch, committed, entry);
}

/// Writes one log's part of a checkpoint.
pub(crate) fn put_image(out: &mut Vec<u8>, seed: u32, log: ChannelId, image: &LogImage) {
    let at = begin(out);
    let LogImage {
        promise,
        segments,
        trimmed,
    } = image;
    out.push(LOG_IMAGE);
    out.extend(log.0.to_le_bytes());
    out.extend(promise.0.to_le_bytes());
    out.extend(trimmed.0.to_le_bytes());
    let count = u32::try_from(segments.len()).expect("each took a record of a bounded journal");
    out.extend(count.to_le_bytes());
    for (segment, held) in segments {
        let SegmentImage {
            epoch,
            first,
            certain,
            possible,
            committed,
            end,
            copies,
        } = held;
        out.extend(segment.0.to_le_bytes());
        out.extend(epoch.0.to_le_bytes());
        for lsn in [first, certain, possible, committed] {
            out.extend(lsn.0.to_le_bytes());
        }
        out.push(u8::from(end.is_some()));
        out.extend(end.unwrap_or_default().0.to_le_bytes());
        put_copies(out, copies);
    }
    seal(out, at, seed, 0);
}

fn put_entry(out: &mut Vec<u8>, at: usize, seed: u32, epoch: Epoch, committed: Lsn, entry: &Entry) {
    let Entry {
        lsn,
        tick,
        request,
        payload,
        checksum,
    } = entry;
    out.extend(epoch.0.to_le_bytes());
    out.extend(committed.0.to_le_bytes());
    out.extend(lsn.0.to_le_bytes());
    out.extend(tick.0.to_le_bytes());
    out.push(u8::from(request.is_some()));
    let RequestId { client, sequence } = request.unwrap_or(RequestId {
        client: 0,
        sequence: 0,
    });
    out.extend(client.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(checksum.to_le_bytes());
    out.extend_from_slice(payload);
    seal(out, at, seed, payload.len());
}

fn put_copies(out: &mut Vec<u8>, copies: &Copies) {
    let short = |n: usize| u16::try_from(n).expect("checked").to_le_bytes();
    out.extend(short(copies.quorum));
    out.extend(short(copies.zones));
    out.extend(short(copies.holders.len()));
    for CopyHolder {
        node,
        storage,
        zone,
    } in &copies.holders
    {
        out.extend(storage.0);
        out.extend(short(node.len()));
        out.extend(node.as_bytes());
        out.extend(short(zone.0.len()));
        out.extend(zone.0.as_bytes());
    }
}

fn begin(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend([0; HEAD_LEN]);
    at
}

/// Fills length and checksum in; the last `payload` bytes are left to the entry's own checksum.
fn seal(out: &mut [u8], at: usize, seed: u32, payload: usize) {
    let len = u32::try_from(out.len() - at - HEAD_LEN).expect("a record is bounded");
    let covered = &out[at + HEAD_LEN..out.len() - payload];
    let crc = head_crc(seed, len, covered);
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    out[at + 4..at + HEAD_LEN].copy_from_slice(&crc.to_le_bytes());
}

fn head_crc(seed: u32, len: u32, covered: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &len.to_le_bytes()), covered)
}

/// The record that `bytes` begin with, and how many bytes it takes.
///
/// # Errors
/// What is wrong; where the next record begins is then unknown.
pub(crate) fn take(bytes: &Bytes, seed: u32) -> Result<(Found, usize), &'static str> {
    let mut head = Cursor(bytes);
    let len = head.u32()?;
    let crc = head.u32()?;
    let end = HEAD_LEN
        .checked_add(len as usize)
        .filter(|&end| end <= bytes.len())
        .ok_or("a record is cut short")?;
    let body = bytes.slice(HEAD_LEN..end);
    let covered = match body.first() {
        Some(&(APPEND | MOVED)) => body.get(..ENTRY_FIELDS).ok_or("an entry is cut short")?,
        Some(_) => &body,
        None => return Err("a record without a kind"),
    };
    if head_crc(seed, len, covered) != crc {
        return Err("checksum of a record does not match");
    }
    Ok((decode_body(&body)?, end))
}

fn decode_body(body: &Bytes) -> Result<Found, &'static str> {
    let mut cursor = Cursor(body);
    let kind = cursor.u8()?;
    let log = ChannelId(cursor.u32()?);
    if kind == LOG_IMAGE {
        let image = log_image(&mut cursor)?;
        cursor.end()?;
        return Ok(Found::Record(Stored::Image { log, image }));
    }
    let number = cursor.u64()?;
    if kind != PROMISE && number > POSITION_MAX {
        return Err("a segment beyond the last");
    }
    let segment = LogSegment(number);
    let record = match kind {
        PROMISE => NodeRecord::Promise {
            log,
            epoch: Epoch(number),
        },
        SEGMENT_OPEN => NodeRecord::SegmentOpen {
            log,
            segment,
            open: SegmentOpen {
                epoch: Epoch(cursor.u64()?),
                first: cursor.lsn()?,
                copies: copies(&mut cursor)?,
            },
        },
        APPEND | MOVED => return entry(body, cursor, kind, log, segment),
        FINISH => NodeRecord::Finish {
            log,
            segment,
            end: cursor.lsn()?,
        },
        TRIM => NodeRecord::Trim { log, segment },
        _ => return Err("a record of unknown kind"),
    };
    cursor.end()?;
    Ok(Found::Record(Stored::Node(record)))
}

fn entry(
    body: &Bytes,
    mut cursor: Cursor<'_>,
    kind: u8,
    log: ChannelId,
    segment: LogSegment,
) -> Result<Found, &'static str> {
    let epoch = Epoch(cursor.u64()?);
    let committed = cursor.lsn()?;
    let lsn = cursor.lsn()?;
    let tick = Timestamp(cursor.u64()?);
    let named = cursor.u8()?;
    let id = RequestId {
        client: cursor.u64()?,
        sequence: cursor.u64()?,
    };
    let request = match named {
        0 => None,
        1 => Some(id),
        _ => return Err("neither with nor without a request"),
    };
    let entry = Entry {
        lsn,
        tick,
        request,
        checksum: cursor.u32()?,
        payload: body.slice(ENTRY_FIELDS..),
    };
    if !entry.is_intact(log) {
        return Ok(Found::DamagedEntry { log, segment, lsn });
    }
    Ok(Found::Record(match kind {
        APPEND => Stored::Node(NodeRecord::Append {
            log,
            segment,
            epoch,
            committed,
            entry,
        }),
        _ => Stored::Moved {
            log,
            segment,
            epoch,
            committed,
            entry,
        },
    }))
}

fn log_image(cursor: &mut Cursor<'_>) -> Result<LogImage, &'static str> {
    let promise = Epoch(cursor.u64()?);
    let trimmed = LogSegment(cursor.lsn()?.0);
    let count = cursor.u32()? as usize;
    if count > cursor.0.len() / SEGMENT_LEN_MIN {
        return Err("more segments than bytes for them");
    }
    let mut image = LogImage {
        promise,
        trimmed,
        ..LogImage::default()
    };
    for _ in 0..count {
        let segment = LogSegment(cursor.lsn()?.0);
        let epoch = Epoch(cursor.u64()?);
        let [first, certain, possible, committed] =
            [cursor.lsn()?, cursor.lsn()?, cursor.lsn()?, cursor.lsn()?];
        let ended = cursor.u8()?;
        let end = cursor.lsn()?;
        let held = SegmentImage {
            epoch,
            first,
            certain,
            possible,
            committed,
            end: match ended {
                0 => None,
                1 => Some(end),
                _ => return Err("neither ended nor open"),
            },
            copies: copies(cursor)?,
        };
        let sound = first > Lsn(0) && certain.0 >= first.0 - 1 && possible >= certain;
        if !sound || segment <= trimmed {
            return Err("a segment's image contradicts itself");
        }
        image.segments.insert(segment, held);
    }
    match image.segments.len() == count {
        true => Ok(image),
        false => Err("a segment twice"),
    }
}

fn copies(cursor: &mut Cursor<'_>) -> Result<Copies, &'static str> {
    let quorum = cursor.u16()?.into();
    let zones = cursor.u16()?.into();
    let count = usize::from(cursor.u16()?);
    if count > cursor.0.len() / HOLDER_LEN_MIN {
        return Err("more holders than bytes for them");
    }
    let mut holders = Vec::with_capacity(count);
    for _ in 0..count {
        holders.push(CopyHolder {
            storage: StorageId(cursor.array()?),
            node: cursor.text()?,
            zone: Zone(cursor.text()?),
        });
    }
    Ok(Copies {
        holders,
        quorum,
        zones,
    })
}

/// What is left of some bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("a field is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("a field is cut short")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    /// A position, of an entry or a segment, that has a next one.
    fn lsn(&mut self) -> Result<Lsn, &'static str> {
        let lsn = self.u64()?;
        match lsn <= POSITION_MAX {
            true => Ok(Lsn(lsn)),
            false => Err("a position beyond the last"),
        }
    }

    fn text(&mut self) -> Result<Arc<str>, &'static str> {
        let len = self.u16()?;
        let bytes = self.bytes(len.into())?;
        let text = std::str::from_utf8(bytes).map_err(|_| "a name that is not UTF-8")?;
        Ok(text.into())
    }

    fn end(&self) -> Result<(), &'static str> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err("bytes after the last field"),
        }
    }
}
