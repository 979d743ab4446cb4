//! The deletes of a range of the log, as an object: which keys, and when.
//!
//! ```text
//! offset      size    what (after the envelope with magic "HFDL")
//! 0           1       kind of keys: 1 Int64, 2 VarChar
//! 1           7       zero
//! 8           8       u64 n, the number of deletes
//! 16          8n      u64 stamps
//! 16+8n       8n      Int64: the keys. VarChar: u64 end of each key, counted from the first key's byte
//! 16+16n      rest    VarChar: the keys, UTF-8, one after the other
//! ```
//! All numbers are little-endian; the order is that of the log.

use bytes::{BufMut, Bytes};
use holdfast_types::{Epoch, Lsn, PkList, ShardId, Timestamp};

use crate::{DeleteLogEntry, ObjectPath, StorageError, Store, envelope, paths, store::blocking};

const MAGIC: [u8; 4] = *b"HFDL";
const FORMAT_VERSION: u32 = 1;
const INT: u8 = 1;
const STR: u8 = 2;
const FIXED_BYTES: usize = 16;

/// Deletes in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteLog {
    keys: PkList,
    stamps: Vec<Timestamp>,
}

impl DeleteLog {
    /// Deletes `keys[i]` at `stamps[i]`.
    ///
    /// # Panics
    /// If there are not as many stamps as keys.
    #[must_use]
    pub fn new(keys: PkList, stamps: Vec<Timestamp>) -> Self {
        assert_eq!(keys.len(), stamps.len(), "one stamp per key");
        Self { keys, stamps }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &PkList {
        &self.keys
    }

    /// The stamp of each key's delete.
    #[must_use]
    pub fn stamps(&self) -> &[Timestamp] {
        &self.stamps
    }

    /// Number of deletes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    /// Whether nothing is deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Consecutive keys that share a stamp, in order.
    pub fn runs(&self) -> impl Iterator<Item = (Timestamp, PkList)> + '_ {
        let mut start = 0;
        self.stamps.chunk_by(|a, b| a == b).map(move |run| {
            let range = start..start + run.len();
            start = range.end;
            (run[0], range.map(|i| self.keys.get(i)).collect())
        })
    }
}

/// The log as an object's bytes.
#[must_use]
pub fn encode(log: &DeleteLog) -> Bytes {
    let DeleteLog { keys, stamps } = log;
    let mut out = Vec::with_capacity(FIXED_BYTES + 16 * stamps.len());
    out.put_u8(match keys {
        PkList::Int(_) => INT,
        PkList::Str(_) => STR,
    });
    out.put_bytes(0, 7);
    out.put_u64_le(stamps.len() as u64);
    for stamp in stamps {
        out.put_u64_le(stamp.0);
    }
    match keys {
        PkList::Int(keys) => keys.iter().for_each(|key| out.put_i64_le(*key)),
        PkList::Str(keys) => {
            let mut end = 0;
            for key in keys {
                end += key.len() as u64;
                out.put_u64_le(end);
            }
            keys.iter().for_each(|key| out.put_slice(key.as_bytes()));
        }
    }
    envelope::seal(MAGIC, FORMAT_VERSION, &out)
}

/// The log of an object's bytes. Every byte is checked.
///
/// # Errors
/// [`StorageError::Damaged`], naming the object and the offset in its payload.
pub fn decode(path: &ObjectPath, bytes: &Bytes) -> Result<DeleteLog, StorageError> {
    let payload = envelope::open(MAGIC, FORMAT_VERSION, bytes);
    payload
        .and_then(|payload| parse(&payload))
        .map_err(|problem| StorageError::damaged(path, problem))
}

fn parse(payload: &[u8]) -> Result<DeleteLog, String> {
    let Some((fixed, rest)) = payload.split_first_chunk::<FIXED_BYTES>() else {
        return Err(format!("the payload has only {} bytes", payload.len()));
    };
    let (kind, count) = fixed.split_at(8);
    if kind[1..] != [0; 7] {
        return Err("bytes 1 to 7 are not zero".to_owned());
    }
    let count = u64::from_le_bytes(count.try_into().expect("eight of sixteen bytes"));
    let words = usize::try_from(count)
        .ok()
        .and_then(|n| n.checked_mul(8))
        .filter(|bytes| bytes.checked_mul(2).is_some_and(|both| both <= rest.len()))
        .ok_or_else(|| format!("{count} deletes do not fit into {} bytes", rest.len()))?;
    let (stamps, rest) = rest.split_at(words);
    let (second, text) = rest.split_at(words);
    let stamps = numbers(stamps).map(Timestamp).collect();
    let keys = match kind[0] {
        INT if !text.is_empty() => {
            return Err(format!("{} bytes follow the keys", text.len()));
        }
        INT => PkList::Int(numbers(second).map(u64::cast_signed).collect()),
        STR => PkList::Str(texts(numbers(second), text)?),
        other => return Err(format!("kind of keys at offset 0 is {other}")),
    };
    Ok(DeleteLog { keys, stamps })
}

fn numbers(bytes: &[u8]) -> impl ExactSizeIterator<Item = u64> + '_ {
    bytes
        .chunks_exact(8)
        .map(|c| u64::from_le_bytes(c.try_into().expect("chunks of eight")))
}

fn texts(ends: impl ExactSizeIterator<Item = u64>, bytes: &[u8]) -> Result<Vec<Box<str>>, String> {
    let mut out = Vec::with_capacity(ends.len());
    let mut start = 0;
    for (i, end) in ends.enumerate() {
        let key = usize::try_from(end)
            .ok()
            .and_then(|end| bytes.get(start..end))
            .ok_or_else(|| format!("key {i} ends at {end}, it starts at {start}"))?;
        let key = str::from_utf8(key).map_err(|e| format!("key {i}: {e}"))?;
        start += key.len();
        out.push(key.into());
    }
    if start != bytes.len() {
        return Err(format!("the last key ends at {start}, not {}", bytes.len()));
    }
    Ok(out)
}

/// Which deletes an object holds, for its name and its entry.
#[derive(Clone, Copy, Debug)]
pub struct Covered {
    /// The shard.
    pub shard: ShardId,
    /// First position covered.
    pub first: Lsn,
    /// Last position covered.
    pub last: Lsn,
    /// Epoch of the writer.
    pub epoch: Epoch,
    /// Counts the tries, so that no name is used twice.
    pub attempt: u32,
}

/// Writes the log as an object; nothing when it is empty.
///
/// # Errors
/// As for [`Store::put`].
pub async fn write(
    store: &Store,
    covered: Covered,
    log: &DeleteLog,
) -> Result<Option<DeleteLogEntry>, StorageError> {
    let (Some(min_ts), Some(max_ts)) = (log.stamps.iter().min(), log.stamps.iter().max()) else {
        return Ok(None);
    };
    let Covered {
        shard,
        first,
        last,
        epoch,
        attempt,
    } = covered;
    let path = paths::delete_log(shard, first, last, epoch, attempt);
    Ok(Some(DeleteLogEntry {
        object: store.put(&path, encode(log)).await?,
        first_lsn: first,
        last_lsn: last,
        min_ts: *min_ts,
        max_ts: *max_ts,
        count: log.len() as u64,
    }))
}

/// Reads a log that a manifest names.
///
/// # Errors
/// The object is missing, damaged or out of reach.
pub async fn read(store: &Store, entry: &DeleteLogEntry) -> Result<DeleteLog, StorageError> {
    let path = &entry.object.path;
    let bytes = store.read(&entry.object).await?;
    let name = path.clone();
    // A log may hold millions of keys.
    let log = blocking("decode", path, move || Ok(decode(&name, &bytes))).await??;
    if log.len() as u64 == entry.count {
        return Ok(log);
    }
    let problem = format!("it has {} deletes, not {}", log.len(), entry.count);
    Err(StorageError::damaged(path, problem))
}

#[cfg(test)]
mod tests;
