//! Arrow IPC files that any Arrow reader can open, with checksums of our own in the footer.
//!
//! ```text
//! 0         "ARROW1", schema message, record batches        the body: one CRC32C per 64 KiB block
//! body      end-of-stream marker (8 bytes)                  \
//!           footer, custom metadata "holdfast.integrity"     | one CRC32C, its own 8 digits as '0'
//!           footer length (i32), "ARROW1"                   /
//! ```
//!
//! The value of `holdfast.integrity` is
//! `holdfast-segment/1;body=<bytes>;blocks=<8 hex digits each>;tail-crc32c=<8 hex digits>;`.
//! It is found by its text, not through the footer's tables, so nothing unverified is parsed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{
    convert::try_fb_to_schema,
    reader::{FileDecoder, read_footer_length},
    root_as_footer,
    writer::{FileWriter, IpcWriteOptions},
};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use bytes::Bytes;

use super::blocks::{self, damaged};
use crate::{DamagedSegment, SegmentError};

const INTEGRITY_KEY: &str = "holdfast.integrity";
const VERSION: &str = "holdfast-segment/1;";
const TAIL_MARK: &[u8] = b";tail-crc32c=";
const HEX: usize = 8;
/// Footer length and magic.
const TRAILER_BYTES: usize = 10;
const ALIGNMENT: usize = 64;

/// Writes `batches` as one file. Buffers start at multiples of 64 bytes.
pub(crate) fn write(schema: &Schema, batches: &[RecordBatch]) -> Result<Bytes, SegmentError> {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, arrow_ipc::MetadataVersion::V5)?;
    let size: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    let mut writer =
        FileWriter::try_new_with_options(Vec::with_capacity(size + (16 << 10)), schema, options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    let body = writer.get_ref().len();
    let mut integrity = format!("{VERSION}body={body};blocks=");
    for crc in blocks::checksums(writer.get_ref()) {
        integrity.push_str(&format!("{crc:08x}"));
    }
    integrity.push_str(";tail-crc32c=00000000;");
    writer.write_metadata(INTEGRITY_KEY, integrity);
    writer.finish()?;
    let mut bytes = writer.into_inner()?;
    let mark = the_mark(&bytes[body..]).ok_or_else(|| {
        SegmentError::Internal("a field is named like the integrity record".to_owned())
    })?;
    let crc = crc32c::crc32c(&bytes[body..]);
    let digits = body + mark + TAIL_MARK.len();
    bytes[digits..digits + HEX].copy_from_slice(format!("{crc:08x}").as_bytes());
    Ok(Bytes::from(bytes))
}

/// Where the mark stands, iff it stands there exactly once.
fn the_mark(tail: &[u8]) -> Option<usize> {
    let mut found = tail
        .windows(TAIL_MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == TAIL_MARK)
        .map(|(at, _)| at);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// An Arrow file whose checksums hold.
#[derive(Debug)]
pub(crate) struct ArrowFile {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

/// Verifies every byte of `bytes`, then decodes it. Columns share the memory of `bytes` when that
/// starts at a multiple of 64; otherwise it is copied once.
pub(crate) fn read(file: &str, bytes: &Bytes) -> Result<ArrowFile, DamagedSegment> {
    let footer = verify(file, bytes)?;
    // Bytes whose checksums hold were written by somebody who can compute checksums, not by us for sure:
    // arrow-ipc trusts lengths that it reads and panics on wrong ones. Nothing outlives the closure then.
    catch_unwind(AssertUnwindSafe(|| decode(file, bytes, &footer))).unwrap_or_else(|_| {
        let problem = "the checksums hold, but it is not an Arrow file";
        Err(damaged(file, footer.start, problem))
    })
}

fn decode(file: &str, bytes: &Bytes, footer: &Footer) -> Result<ArrowFile, DamagedSegment> {
    let arrow = |error: ArrowError| damaged(file, footer.start, error.to_string());
    let mut buffer = Buffer::from(bytes.clone());
    if !(buffer.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
        buffer = Buffer::from_slice_ref(bytes);
    }
    let tables = root_as_footer(&bytes[footer.start..footer.end])
        .map_err(|e| damaged(file, footer.start, format!("the footer is not one: {e}")))?;
    let schema = tables
        .schema()
        .ok_or_else(|| damaged(file, footer.start, "the footer has no schema"))?;
    let schema = SchemaRef::new(try_fb_to_schema(schema).map_err(arrow)?);
    if tables.dictionaries().is_some_and(|d| !d.is_empty()) {
        return Err(damaged(
            file,
            footer.start,
            "dictionaries are never written",
        ));
    }
    let decoder = FileDecoder::new(schema.clone(), tables.version()).with_require_alignment(false);
    let mut batches = Vec::new();
    for block in tables.recordBatches().iter().flatten() {
        let range = block_range(block, footer.body).ok_or_else(|| {
            damaged(
                file,
                footer.start,
                "a record batch lies outside of the body",
            )
        })?;
        let (at, len) = (range.start, range.len());
        let batch = decoder
            .read_record_batch(block, &buffer.slice_with_length(at, len))
            .map_err(|e| damaged(file, at, e.to_string()))?
            .ok_or_else(|| damaged(file, at, "a record batch has no content"))?;
        batches.push(batch);
    }
    Ok(ArrowFile { schema, batches })
}

/// The bytes of a record batch's message, if they lie inside of the body.
fn block_range(block: &arrow_ipc::Block, body: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(block.offset()).ok()?;
    let metadata = usize::try_from(block.metaDataLength()).ok()?;
    let data = usize::try_from(block.bodyLength()).ok()?;
    let end = start.checked_add(metadata)?.checked_add(data)?;
    (end <= body && metadata >= 8).then_some(start..end)
}

struct Footer {
    /// Bytes of the body.
    body: usize,
    start: usize,
    end: usize,
}

/// Checks both checksum layers. Returns where the footer is.
fn verify(file: &str, bytes: &[u8]) -> Result<Footer, DamagedSegment> {
    let end = bytes
        .len()
        .checked_sub(TRAILER_BYTES)
        .ok_or_else(|| damaged(file, 0, format!("{} bytes are no Arrow file", bytes.len())))?;
    let trailer: [u8; TRAILER_BYTES] = bytes[end..]
        .try_into()
        .expect("the slice has the trailer's length");
    let length = read_footer_length(trailer).map_err(|e| damaged(file, end, e.to_string()))?;
    let start = end.checked_sub(length).ok_or_else(|| {
        damaged(
            file,
            end,
            format!("a footer of {length} bytes does not fit"),
        )
    })?;
    let footer = &bytes[start..end];
    let bad = |problem: &str| damaged(file, start, problem);
    let mark = the_mark(footer).ok_or_else(|| bad("the footer has no integrity record"))?;
    let digits = mark + TAIL_MARK.len();
    let tail_crc = footer
        .get(digits..digits + HEX)
        .and_then(hex)
        .ok_or_else(|| bad("the footer's checksum is not a number"))?;
    let head = footer[..mark]
        .windows(VERSION.len())
        .rposition(|w| w == VERSION.as_bytes())
        .ok_or_else(|| bad("the integrity record is of an unknown version"))?;
    let record = std::str::from_utf8(&footer[head + VERSION.len()..mark])
        .map_err(|_| bad("the integrity record is not text"))?;
    let (body, crcs) = record
        .strip_prefix("body=")
        .and_then(|r| r.split_once(";blocks="))
        .and_then(|(body, crcs)| Some((body.parse::<usize>().ok()?, crcs.as_bytes())))
        .ok_or_else(|| bad("the integrity record cannot be read"))?;
    if body > start {
        return Err(bad("the body reaches into the footer"));
    }
    // The tail's checksum was taken with its own digits as zeros.
    let at = start + digits;
    let crc = crc32c::crc32c(&bytes[body..at]);
    let crc = crc32c::crc32c_append(crc, b"00000000");
    let crc = crc32c::crc32c_append(crc, &bytes[at + HEX..]);
    if crc != tail_crc {
        return Err(damaged(
            file,
            body,
            format!("the footer's CRC32C is {crc:08x}, {tail_crc:08x} was written"),
        ));
    }
    if !crcs.len().is_multiple_of(HEX) {
        return Err(bad("the integrity record's checksums are cut off"));
    }
    let crcs: Option<Vec<u32>> = crcs.chunks_exact(HEX).map(hex).collect();
    let crcs = crcs.ok_or_else(|| bad("a block's checksum is not a number"))?;
    blocks::verify(file, 0, &bytes[..body], &crcs)?;
    Ok(Footer { body, start, end })
}

/// Lower-case hex digits only: each value has exactly one spelling.
fn hex(digits: &[u8]) -> Option<u32> {
    if !digits
        .iter()
        .all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray, cast::AsArray};

    use super::*;

    fn sample() -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..30_000));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..30_000).map(|i| format!("row {i}")),
        ));
        RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
    }

    fn write_sample() -> Bytes {
        let batch = sample();
        write(
            batch.schema_ref(),
            &[batch.slice(0, 20_000), batch.slice(20_000, 10_000)],
        )
        .unwrap()
    }

    #[test]
    fn a_file_round_trips_and_is_written_the_same_each_time() {
        let bytes = write_sample();
        assert_eq!(bytes, write_sample());
        let file = read("f", &bytes).unwrap();
        assert_eq!(file.batches.len(), 2);
        assert_eq!(file.batches[0], sample().slice(0, 20_000));
        assert_eq!(file.batches[1], sample().slice(20_000, 10_000));
    }

    #[test]
    fn columns_share_the_memory_of_an_aligned_file() {
        let bytes = write_sample();
        let aligned = Bytes::from_owner(Buffer::from_slice_ref(&bytes));
        assert_eq!(
            aligned.as_ptr() as usize % 64,
            0,
            "arrow aligns its buffers"
        );
        let file = read("f", &aligned).unwrap();
        let ids = file.batches[0]
            .column(0)
            .as_primitive::<arrow_array::types::Int64Type>();
        let at = ids.values().as_ptr() as usize - aligned.as_ptr() as usize;
        assert!(at < aligned.len() && at.is_multiple_of(64), "at {at}");
        let unaligned =
            Bytes::from_owner(Buffer::from_slice_ref([b"x", &bytes[..]].concat())).slice(1..);
        assert_eq!(read("f", &unaligned).unwrap().batches, file.batches);
    }

    #[test]
    fn any_flipped_byte_is_refused() {
        let good = write_sample().to_vec();
        let tail = good.len() - 2_000;
        for at in (0..good.len()).step_by(997).chain(tail..good.len()) {
            for flip in [0x01, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let error = read("c.arrow", &Bytes::from(bad)).unwrap_err();
                assert_eq!(error.file, "c.arrow");
                assert!(error.offset <= good.len() as u64);
            }
        }
    }

    #[test]
    fn any_truncation_is_refused() {
        let good = write_sample();
        let tail = good.len() - 500;
        for len in (0..good.len()).step_by(4_999).chain(tail..good.len()) {
            read("f", &good.slice(..len)).unwrap_err();
        }
        read("f", &Bytes::from([&good[..], b"\0"].concat())).unwrap_err();
    }

    /// The checksums of changed bytes, made right again.
    fn resealed(mut bytes: Vec<u8>) -> Bytes {
        let rfind =
            |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).rposition(|w| w == text).unwrap();
        let mark = rfind(&bytes, TAIL_MARK);
        let head = rfind(&bytes[..mark], b"body=");
        let text = String::from_utf8(bytes[head + 5..mark].to_vec()).unwrap();
        let (body, crcs) = text.split_once(";blocks=").unwrap();
        let body: usize = body.parse().unwrap();
        let blocks: String = blocks::checksums(&bytes[..body])
            .map(|crc| format!("{crc:08x}"))
            .collect();
        bytes[mark - crcs.len()..mark].copy_from_slice(blocks.as_bytes());
        let digits = mark + TAIL_MARK.len();
        bytes[digits..digits + HEX].copy_from_slice(b"00000000");
        let crc = format!("{:08x}", crc32c::crc32c(&bytes[body..]));
        bytes[digits..digits + HEX].copy_from_slice(crc.as_bytes());
        bytes.into()
    }

    #[test]
    fn wrong_numbers_under_right_checksums_do_not_panic() {
        let small = sample().slice(0, 100);
        let good = write(small.schema_ref(), std::slice::from_ref(&small))
            .unwrap()
            .to_vec();
        assert_eq!(resealed(good.clone()), good);
        let mut refused = 0;
        let record = good
            .windows(VERSION.len())
            .rposition(|w| w == VERSION.as_bytes());
        for at in (0..record.unwrap()).chain(good.len() - TRAILER_BYTES..good.len()) {
            for value in [0xff, 0x80, good[at].wrapping_add(1)] {
                let mut bad = good.clone();
                bad[at] = value;
                refused += usize::from(read("f", &resealed(bad)).is_err());
            }
        }
        assert!(refused > 100, "{refused} of {}", 3 * good.len());
    }
}
