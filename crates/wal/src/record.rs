//! What a record says, and its bytes: the message of `proto/persisted/record.proto`, whose rows are an
//! Arrow IPC stream of one batch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{
    MetadataVersion,
    reader::StreamDecoder,
    writer::{IpcWriteOptions, StreamWriter},
};
use arrow_schema::ArrowError;
use bytes::Bytes;
use holdfast_proto::persisted::record as pb;
use holdfast_types::{Code, Coded, CollectionId, PartitionId, PkList, Timestamp};
use prost::Message;

/// Buffers inside a record start at multiples of this. Eight is the least that Arrow allows: rows of
/// one request are few, and padding each buffer to 64 bytes would double a small record.
const ARROW_ALIGNMENT: usize = 8;

/// One record of a channel's log.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Rows and deletes of one acknowledged request.
    Write(WriteRecord),
    /// All rows of the collection stamped at or before `ts` are gone.
    Truncate {
        /// The stamp.
        ts: Timestamp,
        /// The collection.
        collection: CollectionId,
    },
    /// The partition is gone.
    DropPartition {
        /// The stamp.
        ts: Timestamp,
        /// The collection.
        collection: CollectionId,
        /// The partition.
        partition: PartitionId,
    },
    /// The collection is gone.
    DropCollection {
        /// The stamp.
        ts: Timestamp,
        /// The collection.
        collection: CollectionId,
    },
}

/// The rows and deletes of one request, all stamped alike.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteRecord {
    /// The stamp.
    pub ts: Timestamp,
    /// The collection.
    pub collection: CollectionId,
    /// Client and sequence number, where the caller gave them, to recognise a repeated request.
    pub request: Option<(u64, u64)>,
    /// What happens to each shard.
    pub parts: Vec<RecordPart>,
}

/// What a request does to one shard: rows appear at the record's stamp, and rows of the deleted keys
/// with an earlier stamp disappear.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordPart {
    /// Which shard of the collection.
    pub shard: u32,
    /// Where the rows go.
    pub partition: PartitionId,
    /// The rows, without stamps.
    pub rows: Option<RecordBatch>,
    /// The keys.
    pub deletes: Option<PkList>,
    /// Deletes reach only this partition; all of them when absent.
    pub delete_partition: Option<PartitionId>,
}

/// The record could not be written as bytes or read from them.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The rows cannot be expressed as an Arrow stream.
    #[error("rows of part {part} cannot be encoded")]
    Encode {
        /// Which part.
        part: usize,
        /// Why.
        #[source]
        source: ArrowError,
    },
    /// The bytes are not a record message.
    #[error("not a log record")]
    Message(#[from] prost::DecodeError),
    /// The message says nothing, or something this version does not know.
    #[error("a log record of an unknown kind")]
    UnknownKind,
    /// A part's rows are not an Arrow stream.
    #[error("rows of part {part} are not an Arrow stream")]
    Rows {
        /// Which part.
        part: usize,
        /// Why.
        #[source]
        source: ArrowError,
    },
    /// A part's rows are an Arrow stream, but not of exactly one batch.
    #[error("rows of part {part}: {problem}")]
    NotOneBatch {
        /// Which part.
        part: usize,
        /// What they are instead.
        problem: &'static str,
    },
    /// A part carries a key list of no kind.
    #[error("deletes of part {part} are of no known kind")]
    Keys {
        /// Which part.
        part: usize,
    },
}

impl Coded for RecordError {
    fn code(&self) -> Code {
        match self {
            Self::Encode { .. } => Code::Internal,
            // A kind that only a newer version writes is refused, not skipped.
            Self::UnknownKind => Code::Unsupported,
            Self::Message(_) | Self::Rows { .. } | Self::NotOneBatch { .. } | Self::Keys { .. } => {
                Code::Corrupt
            }
        }
    }
}

impl Record {
    /// The record's stamp.
    #[must_use]
    pub fn ts(&self) -> Timestamp {
        match self {
            Self::Write(write) => write.ts,
            Self::Truncate { ts, .. }
            | Self::DropPartition { ts, .. }
            | Self::DropCollection { ts, .. } => *ts,
        }
    }

    /// The collection it concerns.
    #[must_use]
    pub fn collection(&self) -> CollectionId {
        match self {
            Self::Write(write) => write.collection,
            Self::Truncate { collection, .. }
            | Self::DropPartition { collection, .. }
            | Self::DropCollection { collection, .. } => *collection,
        }
    }

    /// The record as the payload of an append.
    ///
    /// # Errors
    /// [`RecordError::Encode`] when rows are of a type that Arrow IPC does not know.
    pub fn encode(&self) -> Result<Bytes, RecordError> {
        let body = match self {
            Self::Write(write) => pb::record::Body::Write(encode_write(write)?),
            Self::Truncate { ts, collection } => pb::record::Body::Truncate(pb::Truncate {
                ts: ts.0,
                collection: collection.0,
            }),
            Self::DropPartition {
                ts,
                collection,
                partition,
            } => pb::record::Body::DropPartition(pb::DropPartition {
                ts: ts.0,
                collection: collection.0,
                partition: partition.0,
            }),
            Self::DropCollection { ts, collection } => {
                pb::record::Body::DropCollection(pb::DropCollection {
                    ts: ts.0,
                    collection: collection.0,
                })
            }
        };
        Ok(pb::Record { body: Some(body) }.encode_to_vec().into())
    }

    /// The record that [`Self::encode`] wrote. Rows share `payload`'s memory where their alignment
    /// in it allows.
    ///
    /// # Errors
    /// Every other variant of [`RecordError`]; hostile bytes do not panic.
    pub fn decode(payload: Bytes) -> Result<Self, RecordError> {
        let pb::Record { body } = pb::Record::decode(payload)?;
        Ok(match body.ok_or(RecordError::UnknownKind)? {
            pb::record::Body::Write(write) => Self::Write(decode_write(write)?),
            pb::record::Body::Truncate(pb::Truncate { ts, collection }) => Self::Truncate {
                ts: Timestamp(ts),
                collection: CollectionId(collection),
            },
            pb::record::Body::DropPartition(pb::DropPartition {
                ts,
                collection,
                partition,
            }) => Self::DropPartition {
                ts: Timestamp(ts),
                collection: CollectionId(collection),
                partition: PartitionId(partition),
            },
            pb::record::Body::DropCollection(pb::DropCollection { ts, collection }) => {
                Self::DropCollection {
                    ts: Timestamp(ts),
                    collection: CollectionId(collection),
                }
            }
        })
    }
}

fn encode_write(write: &WriteRecord) -> Result<pb::Write, RecordError> {
    let parts = write.parts.iter().enumerate().map(|(i, part)| {
        Ok(pb::Part {
            shard: part.shard,
            partition: part.partition.0,
            rows: match &part.rows {
                Some(rows) => {
                    encode_rows(rows).map_err(|source| RecordError::Encode { part: i, source })?
                }
                None => Bytes::new(),
            },
            deletes: part.deletes.as_ref().map(encode_keys),
            delete_partition: part.delete_partition.map(|p| p.0),
        })
    });
    Ok(pb::Write {
        ts: write.ts.0,
        collection: write.collection.0,
        client: write.request.map(|(client, _)| client),
        sequence: write.request.map(|(_, sequence)| sequence),
        parts: parts.collect::<Result<_, RecordError>>()?,
    })
}

fn decode_write(write: pb::Write) -> Result<WriteRecord, RecordError> {
    let pb::Write {
        ts,
        collection,
        client,
        sequence,
        parts,
    } = write;
    let parts = parts.into_iter().enumerate().map(|(i, part)| {
        let pb::Part {
            shard,
            partition,
            rows,
            deletes,
            delete_partition,
        } = part;
        Ok(RecordPart {
            shard,
            partition: PartitionId(partition),
            rows: match rows.is_empty() {
                true => None,
                false => Some(decode_rows(i, rows)?),
            },
            deletes: deletes.map(|keys| decode_keys(i, keys)).transpose()?,
            delete_partition: delete_partition.map(PartitionId),
        })
    });
    Ok(WriteRecord {
        ts: Timestamp(ts),
        collection: CollectionId(collection),
        request: client.zip(sequence),
        parts: parts.collect::<Result<_, RecordError>>()?,
    })
}

fn encode_rows(rows: &RecordBatch) -> Result<Bytes, ArrowError> {
    let options = IpcWriteOptions::try_new(ARROW_ALIGNMENT, false, MetadataVersion::V5)?;
    let out = Vec::with_capacity(rows.get_array_memory_size());
    let mut writer = StreamWriter::try_new_with_options(out, &rows.schema(), options)?;
    writer.write(rows)?;
    Ok(writer.into_inner()?.into())
}

fn decode_rows(part: usize, bytes: Bytes) -> Result<RecordBatch, RecordError> {
    // The log has verified its checksum before a payload gets here, so malformed bytes mean a defect
    // of ours, not of the disk. Still, arrow-ipc indexes by lengths that the bytes name and may panic
    // on foreign ones; this rim turns that into an error too. Nothing outlives the closure on a panic.
    catch_unwind(AssertUnwindSafe(|| decode_stream(part, bytes))).unwrap_or_else(|_| {
        Err(RecordError::NotOneBatch {
            part,
            problem: "malformed Arrow stream",
        })
    })
}

fn decode_stream(part: usize, bytes: Bytes) -> Result<RecordBatch, RecordError> {
    let wrong = |source| RecordError::Rows { part, source };
    let mut decoder = StreamDecoder::new();
    let mut rest = Buffer::from(bytes);
    let mut found = None;
    while let Some(batch) = decoder.decode(&mut rest).map_err(wrong)? {
        if found.replace(batch).is_some() {
            return Err(RecordError::NotOneBatch {
                part,
                problem: "more than one batch",
            });
        }
    }
    decoder.finish().map_err(wrong)?;
    if !rest.is_empty() {
        return Err(RecordError::NotOneBatch {
            part,
            problem: "bytes after the end of the stream",
        });
    }
    found.ok_or(RecordError::NotOneBatch {
        part,
        problem: "no batch",
    })
}

fn encode_keys(keys: &PkList) -> pb::Keys {
    let keys = match keys {
        PkList::Int(keys) => pb::keys::Keys::Ints(pb::IntKeys { keys: keys.clone() }),
        PkList::Str(keys) => pb::keys::Keys::Strings(pb::StringKeys {
            keys: keys.iter().map(|k| k.to_string()).collect(),
        }),
    };
    pb::Keys { keys: Some(keys) }
}

fn decode_keys(part: usize, keys: pb::Keys) -> Result<PkList, RecordError> {
    match keys.keys.ok_or(RecordError::Keys { part })? {
        pb::keys::Keys::Ints(pb::IntKeys { keys }) => Ok(PkList::Int(keys)),
        pb::keys::Keys::Strings(pb::StringKeys { keys }) => Ok(PkList::Str(
            keys.into_iter().map(String::into_boxed_str).collect(),
        )),
    }
}

#[cfg(test)]
mod tests;
