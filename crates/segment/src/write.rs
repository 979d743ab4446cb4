//! Rows into the files of a sealed segment.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, cast::AsArray};
use arrow_schema::{DataType as Arrow, Field, Schema};
use arrow_select::interleave::interleave;
use bytes::Bytes;
use holdfast_index::Cancel;
use holdfast_types::{
    CollectionSchema, FieldSchema, FileRole, PkList, Timestamp, columns, schema::TIMESTAMP_FIELD,
};

use crate::{
    SegmentError, SegmentFile, SegmentFiles, SegmentStats, fields, file, table,
    vectors::VectorColumn,
};

/// Rows of one record batch of the Columns file, at most.
pub(crate) const BATCH_ROWS: usize = 65_536;
/// Bytes of text that one column of a record batch holds, at most: offsets are 32 bits wide.
const BATCH_TEXT_BYTES: usize = 1 << 30;
/// Name of the column of a Vector file that tells the rows, when some rows have no vector.
pub(crate) const ROW_COLUMN: &str = "$row";

/// Where rows come from.
pub(crate) struct Source {
    /// First row of each batch, and the scalars.
    pub(crate) batches: Vec<(usize, RecordBatch)>,
    /// First row and vectors, for each vector field in schema order.
    pub(crate) vectors: Vec<Vec<(usize, VectorColumn)>>,
}

/// A row to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) source: u32,
    pub(crate) row: u32,
    /// Stamp of its earliest delete.
    pub(crate) deleted: Option<Timestamp>,
}

/// Writes `picks`, which are sorted by key and then stamp.
pub(crate) fn write(
    schema: &CollectionSchema,
    sources: &[Source],
    picks: &[Pick],
    cancel: &Cancel,
) -> Result<SegmentFiles, SegmentError> {
    if picks.is_empty() {
        return Ok(SegmentFiles {
            files: Vec::new(),
            stats: None,
        });
    }
    u32::try_from(picks.len())
        .map_err(|_| SegmentError::Unsupported("2^32 rows in one segment".to_owned()))?;
    let batches = scalar_batches(schema, sources, picks, cancel)?;
    let mut files = vec![SegmentFile {
        role: FileRole::Columns,
        name: FileRole::Columns.to_string(),
        bytes: file::arrow::write(batches[0].schema_ref(), &batches)?,
    }];
    let vectors = schema.fields.iter().filter(|f| f.data_type.is_vector());
    for (place, field) in vectors.enumerate() {
        cancel.check()?;
        let role = FileRole::Vector(field.id);
        files.push(SegmentFile {
            role,
            name: role.to_string(),
            bytes: vector_file(field, place, sources, picks)?,
        });
    }
    let (keys, min_ts, max_ts) = keys_and_stamps(schema, &batches)?;
    let deletes: Vec<(u32, Timestamp)> = (0_u32..)
        .zip(picks)
        .filter_map(|(row, pick)| Some((row, pick.deleted?)))
        .collect();
    for (role, bytes) in [
        (FileRole::Keys, file::keys::write(&keys)?),
        (FileRole::Deletes, file::deletes::write(&deletes)),
    ] {
        files.push(SegmentFile {
            role,
            name: role.to_string(),
            bytes,
        });
    }
    let stats = SegmentStats {
        rows: picks.len() as u64,
        bytes: files.iter().map(|f| f.bytes.len() as u64).sum(),
        min_ts,
        max_ts,
        pk_min: keys.get(0),
        pk_max: keys.get(keys.len() - 1),
        deleted_rows: deletes.len() as u64,
    };
    Ok(SegmentFiles {
        files,
        stats: Some(stats),
    })
}

fn keys_and_stamps(
    schema: &CollectionSchema,
    batches: &[RecordBatch],
) -> Result<(PkList, Timestamp, Timestamp), SegmentError> {
    let primary = schema.primary().id;
    let (mut ints, mut texts) = (Vec::new(), Vec::new());
    let (mut min, mut max) = (u64::MAX, 0);
    for batch in batches {
        let column = columns::column(batch, primary).and_then(|c| PkList::from_array(&**c));
        match column {
            Some(PkList::Int(keys)) => ints.extend(keys),
            Some(PkList::Str(keys)) => texts.extend(keys),
            None => return Err(SegmentError::Internal("keys are not keys".to_owned())),
        }
        for stamp in table::stamps(batch)?.values() {
            min = min.min(*stamp);
            max = max.max(*stamp);
        }
    }
    let keys = if texts.is_empty() {
        PkList::Int(ints)
    } else {
        PkList::Str(texts)
    };
    Ok((keys, Timestamp(min), Timestamp(max)))
}

/// All scalars and the stamp, in batches of one size but the last.
fn scalar_batches(
    schema: &CollectionSchema,
    sources: &[Source],
    picks: &[Pick],
    cancel: &Cancel,
) -> Result<Vec<RecordBatch>, SegmentError> {
    let ids: Vec<_> = std::iter::once(TIMESTAMP_FIELD)
        .chain(
            schema
                .fields
                .iter()
                .filter(|f| !f.data_type.is_vector())
                .map(|f| f.id),
        )
        .collect();
    // All batches have one schema, so a field is nullable where any source has a null.
    let mut columns: Vec<(Field, Vec<ArrayRef>)> = Vec::new();
    for id in &ids {
        let mut arrays = Vec::new();
        for source in sources {
            for (_, batch) in &source.batches {
                arrays.push(fields::column(batch, schema, *id)?);
            }
        }
        let nulls = arrays.iter().any(|array| array.null_count() > 0);
        columns.push((table::field_of(schema, *id, nulls)?, arrays));
    }
    let firsts: Vec<usize> = sources
        .iter()
        .scan(0, |next, source| {
            let first = *next;
            *next += source.batches.len();
            Some(first)
        })
        .collect();
    let addresses: Vec<(usize, usize)> = picks
        .iter()
        .map(|pick| {
            let batches = &sources[pick.source as usize].batches;
            let at = pick.row as usize;
            let batch = batches.partition_point(|(base, _)| *base <= at) - 1;
            (firsts[pick.source as usize] + batch, at - batches[batch].0)
        })
        .collect();
    let arrow = Arc::new(Schema::new(
        columns.iter().map(|(f, _)| f.clone()).collect::<Vec<_>>(),
    ));
    let step = batch_rows(&columns, &addresses);
    let mut batches = Vec::with_capacity(addresses.len().div_ceil(step));
    for addresses in addresses.chunks(step) {
        cancel.check()?;
        let arrays = columns
            .iter()
            .map(|(_, arrays)| {
                let arrays: Vec<&dyn Array> = arrays.iter().map(|a| &**a).collect();
                interleave(&arrays, addresses)
            })
            .collect::<Result<Vec<_>, _>>()?;
        batches.push(RecordBatch::try_new(arrow.clone(), arrays)?);
    }
    Ok(batches)
}

/// The most rows per batch, a multiple of 64, whose text stays below the limit in every batch.
fn batch_rows(columns: &[(Field, Vec<ArrayRef>)], addresses: &[(usize, usize)]) -> usize {
    let mut rows = BATCH_ROWS;
    for (field, arrays) in columns {
        let length: &dyn Fn(usize, usize) -> usize = match field.data_type() {
            Arrow::Utf8 => &|array, row| text_len(arrays[array].as_string::<i32>(), row),
            Arrow::List(item) if *item.data_type() == Arrow::Utf8 => &|array, row| {
                let list = arrays[array].as_list::<i32>();
                let offsets = list.value_offsets();
                let text = list.values().as_string::<i32>().value_offsets();
                (text[offsets[row + 1] as usize] - text[offsets[row] as usize]) as usize
            },
            _ => continue,
        };
        while rows > 64
            && addresses.chunks(rows).any(|batch| {
                batch
                    .iter()
                    .map(|(array, row)| length(*array, *row))
                    .sum::<usize>()
                    > BATCH_TEXT_BYTES
            })
        {
            rows /= 2;
        }
    }
    rows
}

fn text_len(column: &StringArray, row: usize) -> usize {
    column.value_length(row) as usize
}

/// One column of all vectors; with a second column of their rows when some rows have none.
fn vector_file(
    field: &FieldSchema,
    place: usize,
    sources: &[Source],
    picks: &[Pick],
) -> Result<Bytes, SegmentError> {
    let columns: Vec<(usize, usize, &VectorColumn)> = sources
        .iter()
        .enumerate()
        .flat_map(|(i, source)| {
            source.vectors[place]
                .iter()
                .map(move |(base, column)| (i, *base, column))
        })
        .collect();
    let mut addresses = Vec::with_capacity(picks.len());
    let mut rows = Vec::new();
    for (row, pick) in (0_u32..).zip(picks) {
        let (source, at) = (pick.source as usize, pick.row as usize);
        let part = columns
            .partition_point(|(s, base, _)| (*s, *base) <= (source, at))
            .checked_sub(1)
            .filter(|part| columns[*part].0 == source);
        let position = part.and_then(|part| {
            let (_, base, column) = columns[part];
            let position = column.position((at - base) as u32)? as usize;
            (position < column.positions()).then_some((part, position))
        });
        if let Some(address) = position {
            addresses.push(address);
            rows.push(row);
        }
    }
    let arrays: Vec<&dyn Array> = columns.iter().map(|(_, _, c)| &**c.values()).collect();
    if columns::arrow_type(field) == Arrow::Binary {
        let bytes: usize = addresses
            .iter()
            .map(|(part, i)| arrays[*part].as_binary::<i32>().value_length(*i) as usize)
            .sum();
        if i32::try_from(bytes).is_err() {
            return Err(SegmentError::Unsupported(format!(
                "{bytes} bytes of sparse vectors in one segment; at most 2 GiB fit"
            )));
        }
    }
    let values = if addresses.is_empty() {
        arrow_array::new_empty_array(&columns::arrow_type(field))
    } else {
        interleave(&arrays, &addresses)?
    };
    let mut fields = vec![columns::arrow_field(field).with_nullable(false)];
    let mut arrays = vec![values];
    if rows.len() < picks.len() {
        fields.push(Field::new(ROW_COLUMN, Arrow::UInt32, false));
        arrays.push(Arc::new(UInt32Array::from(rows)));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    file::arrow::write(&schema, &[batch])
}
