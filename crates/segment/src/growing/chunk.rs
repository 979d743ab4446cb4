//! Rows that were appended together, or were merged since.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_select::concat::concat;
use holdfast_expr::Predicate;
use holdfast_types::{
    CollectionSchema, FieldId, Pk, Timestamp, columns, schema::TIMESTAMP_FIELD, time::visible,
};

use crate::{
    SegmentError, fields, filter,
    table::{self, Part},
    vectors::{self, VectorColumn},
};

/// Rows that merging stops at.
pub(super) const ROWS_MAX: usize = 65_536;
/// Bytes that merging stops at: for as long as it takes, the rows are there twice.
pub(super) const BYTES_MAX: usize = 16 << 20;
/// No delete has hit the row.
const ALIVE: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Chunk {
    base: usize,
    /// `$ts` first, then the fields.
    scalars: RecordBatch,
    stamps: UInt64Array,
    keys: ArrayRef,
    vectors: Vec<(FieldId, VectorColumn)>,
    /// Stamp of each row's earliest delete. Written under the segment's lock.
    deleted: Box<[AtomicU64]>,
    bytes: usize,
}

impl Chunk {
    /// Rows as a client wrote them. Fields that they lack are filled.
    pub(super) fn new(
        schema: &CollectionSchema,
        rows: &RecordBatch,
        ts: Timestamp,
    ) -> Result<Self, SegmentError> {
        let len = rows.num_rows();
        let mut scalars: Vec<(FieldId, ArrayRef)> = vec![(
            TIMESTAMP_FIELD,
            Arc::new(UInt64Array::from(vec![ts.0; len])),
        )];
        let mut vectors = Vec::new();
        for field in &schema.fields {
            let column = fields::column(rows, schema, field.id)?;
            if *column.data_type() != columns::arrow_type(field) {
                return Err(SegmentError::Internal(format!(
                    "field {} has a column of {}",
                    field.name,
                    column.data_type()
                )));
            }
            if field.data_type.is_vector() {
                vectors.push((field.id, VectorColumn::from_rows(field, &column)?));
            } else {
                scalars.push((field.id, column));
            }
        }
        let scalars = table::batch_of(schema, scalars, len)?;
        Self::from_parts(schema, 0, scalars, vectors, alive(len))
    }

    fn from_parts(
        schema: &CollectionSchema,
        base: usize,
        scalars: RecordBatch,
        vectors: Vec<(FieldId, VectorColumn)>,
        deleted: Box<[AtomicU64]>,
    ) -> Result<Self, SegmentError> {
        let columns: usize = scalars
            .columns()
            .iter()
            .map(|column| vectors::array_bytes(&**column))
            .sum();
        let vector_bytes: usize = vectors.iter().map(|(_, v)| v.bytes()).sum();
        let bytes = columns + vector_bytes + deleted.len() * size_of::<AtomicU64>();
        Ok(Self {
            base,
            stamps: table::stamps(&scalars)?.clone(),
            keys: fields::column(&scalars, schema, schema.primary().id)?,
            scalars,
            vectors,
            deleted,
            bytes,
        })
    }

    /// One chunk with the rows of these, in order. Called while no writer can be, so that no delete is
    /// lost on the way.
    pub(super) fn merge(
        schema: &CollectionSchema,
        chunks: &[Arc<Self>],
    ) -> Result<Self, SegmentError> {
        let base = chunks.first().map_or(0, |chunk| chunk.base);
        let len = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut scalars = Vec::new();
        let mut vector_columns = Vec::new();
        let ids = std::iter::once(TIMESTAMP_FIELD).chain(schema.fields.iter().map(|f| f.id));
        for id in ids {
            match schema.field_by_id(id).filter(|f| f.data_type.is_vector()) {
                Some(field) => {
                    let mut rows: Option<Vec<u32>> = None;
                    let mut values = Vec::new();
                    let any_null = chunks
                        .iter()
                        .any(|chunk| chunk.vectors(id).is_some_and(|v| v.rows().is_some()));
                    for chunk in chunks {
                        let column = chunk.vectors(id).ok_or(SegmentError::UnknownField(id))?;
                        if any_null {
                            let shift = (chunk.base - base) as u32;
                            let own: Vec<u32> = match column.rows() {
                                Some(rows) => rows.to_vec(),
                                None => (0..chunk.len() as u32).collect(),
                            };
                            rows.get_or_insert_default()
                                .extend(own.into_iter().map(|row| row + shift));
                        }
                        values.push(column.values().clone());
                    }
                    let column =
                        VectorColumn::new(field, concat_all(&values)?, rows.map(Into::into), len)?;
                    vector_columns.push((id, column));
                }
                None => {
                    let columns: Vec<ArrayRef> = chunks
                        .iter()
                        .map(|chunk| fields::column(&chunk.scalars, schema, id))
                        .collect::<Result<_, _>>()?;
                    scalars.push((id, concat_all(&columns)?));
                }
            }
        }
        let deleted = chunks
            .iter()
            .flat_map(|chunk| chunk.deleted.iter())
            .map(|ts| AtomicU64::new(ts.load(Relaxed)))
            .collect();
        let scalars = table::batch_of(schema, scalars, len)?;
        Self::from_parts(schema, base, scalars, vector_columns, deleted)
    }

    pub(super) fn set_base(&mut self, base: usize) {
        self.base = base;
    }

    /// First row.
    pub(super) fn base(&self) -> usize {
        self.base
    }

    /// Every column but the vectors.
    pub(super) fn scalars(&self) -> &RecordBatch {
        &self.scalars
    }

    /// What `predicate` reads.
    pub(super) fn to_filter(
        &self,
        schema: &CollectionSchema,
        predicate: &Predicate,
    ) -> Result<Cow<'_, RecordBatch>, SegmentError> {
        filter::with_presence(predicate, &self.scalars, schema, |field| {
            match self.vectors(field) {
                Some(vectors) => Ok(vectors.presence(0..self.len())),
                // A field that is younger than the rows: none of them has a vector.
                None => Ok(arrow_array::new_null_array(
                    &arrow_schema::DataType::Boolean,
                    self.len(),
                )),
            }
        })
    }

    pub(super) fn len(&self) -> usize {
        self.deleted.len()
    }

    /// Bytes that the rows take, as far as the chunk's slices reach.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn vectors(&self, field: FieldId) -> Option<&VectorColumn> {
        self.vectors
            .iter()
            .find(|(id, _)| *id == field)
            .map(|(_, vectors)| vectors)
    }

    pub(super) fn stamp(&self, i: usize) -> Timestamp {
        Timestamp(self.stamps.value(i))
    }

    pub(super) fn key(&self, i: usize) -> Result<Pk, SegmentError> {
        table::key_at(&*self.keys, i)
    }

    /// Stamp of the earliest delete.
    pub(super) fn deleted(&self, i: usize) -> Option<Timestamp> {
        let ts = self.deleted[i].load(Relaxed);
        (ts != ALIVE).then_some(Timestamp(ts))
    }

    /// The caller holds the segment's write lock, and saw that no earlier delete is there.
    pub(super) fn delete(&self, i: usize, ts: Timestamp) {
        self.deleted[i].store(ts.0, Relaxed);
    }

    /// Little-endian words: the rows that are visible at `at` and stamped after `ttl_before`.
    pub(super) fn visible(&self, at: Timestamp, ttl_before: Option<Timestamp>) -> Vec<u64> {
        let mut words = vec![0_u64; self.len().div_ceil(64)];
        for (i, inserted) in self.stamps.values().iter().enumerate() {
            let inserted = Timestamp(*inserted);
            let counts = visible(inserted, self.deleted(i), at)
                && ttl_before.is_none_or(|expired| inserted > expired);
            words[i / 64] |= u64::from(counts) << (i % 64);
        }
        words
    }
}

impl Part for Arc<Chunk> {
    fn scalars(&self) -> &RecordBatch {
        &self.scalars
    }

    fn base(&self) -> usize {
        self.base
    }
}

fn alive(len: usize) -> Box<[AtomicU64]> {
    (0..len).map(|_| AtomicU64::new(ALIVE)).collect()
}

fn concat_all(columns: &[ArrayRef]) -> Result<ArrayRef, SegmentError> {
    let arrays: Vec<&dyn arrow_array::Array> = columns.iter().map(|column| &**column).collect();
    Ok(concat(&arrays)?)
}
