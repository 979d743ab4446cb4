//! A segment that is read from its files.
//!
//! Rows never change and are sorted by key, then stamp. What changes is which rows are deleted: an
//! overlay of (row, stamp of the earliest delete) that starts as the Deletes file and grows by
//! [`SealedSegment::delete`].
//!
//! | module     | what it knows                                                  |
//! |------------|----------------------------------------------------------------|
//! | `open`     | verifying the files and fitting them together                  |
//! | `overlay`  | the deletes, and which rows are visible at a stamp             |
//! | `indexes`  | index files and the conditions that they answer                |
//! | `search`   | the planner: which rows count, and how they are compared       |
//! | `query`    | query, count and fetch                                         |

mod indexes;
mod open;
mod overlay;
mod query;
mod search;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use arrow_array::{RecordBatch, UInt64Array};
use holdfast_types::{
    CollectionSchema, FieldId, FieldSchema, IndexId, PartitionId, Pk, PkList, SegmentId, Timestamp,
};
use parking_lot::RwLock;

use self::{indexes::OpenIndex, overlay::Overlay};
use crate::{
    DamagedSegment, IndexFile, SegmentError, SegmentStats,
    fields::ReadSchema,
    file::keys::Keys,
    table::{self, Part},
    vectors::VectorColumn,
};

/// A sealed segment. Cheap to share; deletes are the only thing that changes.
#[derive(Debug)]
pub struct SealedSegment {
    core: Arc<Core>,
    indexes: Vec<Arc<OpenIndex>>,
}

/// What segments that differ in their indexes only have in common.
#[derive(Debug)]
struct Core {
    id: SegmentId,
    partition: PartitionId,
    reads: ReadSchema,
    parts: Vec<ScalarPart>,
    /// Of the schema it was opened with; a field that is younger than the segment is all null.
    vectors: Vec<(FieldId, VectorColumn)>,
    keys: Keys,
    stats: SegmentStats,
    overlay: RwLock<Overlay>,
}

/// One record batch of the Columns file.
#[derive(Debug)]
struct ScalarPart {
    base: usize,
    batch: RecordBatch,
    stamps: UInt64Array,
}

impl Part for ScalarPart {
    fn scalars(&self) -> &RecordBatch {
        &self.batch
    }

    fn base(&self) -> usize {
        self.base
    }
}

impl SealedSegment {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.core.id
    }

    /// The partition its rows belong to.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.core.partition
    }

    /// The schema it answers by, which may be younger than its files.
    #[must_use]
    pub fn schema(&self) -> Arc<CollectionSchema> {
        self.core.reads.get()
    }

    /// Shows it a schema: reads are answered by the youngest. Fields that its files lack read as their default, or null.
    pub fn show_schema(&self, schema: &Arc<CollectionSchema>) {
        self.core.reads.show(schema);
    }

    /// Rows in the files, deleted ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.keys.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the files hold; deletes applied since are not counted.
    #[must_use]
    pub fn stats(&self) -> &SegmentStats {
        &self.core.stats
    }

    /// Smallest and largest row stamp.
    #[must_use]
    pub fn ts_range(&self) -> (Timestamp, Timestamp) {
        (self.core.stats.min_ts, self.core.stats.max_ts)
    }

    /// Rows that some delete has hit so far.
    #[must_use]
    pub fn deleted(&self) -> usize {
        self.core.overlay.read().len()
    }

    /// Bytes of memory beside the files: the deletes and what is cached of them.
    #[must_use]
    pub fn overlay_bytes(&self) -> usize {
        self.core.overlay.read().bytes()
    }

    /// The indexes it has.
    pub fn indexes(&self) -> impl Iterator<Item = IndexId> + '_ {
        self.indexes.iter().map(|index| index.id())
    }

    /// Whether a row of this key is here that no delete has hit.
    #[must_use]
    pub fn contains(&self, key: &Pk) -> bool {
        let overlay = self.core.overlay.read();
        self.core
            .keys
            .rows(key)
            .any(|row| overlay.deleted(row as u32).is_none())
    }

    /// Deletes the rows of these keys that were stamped before `ts`. Returns how many rows this hit for
    /// the first time. Doing it again changes nothing; the earliest delete of a row counts.
    pub fn delete(&self, keys: &PkList, ts: Timestamp) -> usize {
        let core = &self.core;
        let mut hits = Vec::new();
        for key in keys.iter() {
            for row in core.keys.rows(&key) {
                if core.stamp(row) < ts {
                    hits.push(row as u32);
                }
            }
        }
        if hits.is_empty() {
            return 0;
        }
        let mut overlay = core.overlay.write();
        hits.into_iter()
            .filter(|row| overlay.delete(*row, ts))
            .count()
    }

    /// The same segment, rows and deletes shared, with one more index (or another file of an index).
    ///
    /// # Errors
    /// [`DamagedSegment`] when the index file is damaged or was built for other rows.
    pub fn with_index(&self, file: IndexFile) -> Result<Self, DamagedSegment> {
        let index = Arc::new(OpenIndex::open(&self.core, file)?);
        let mut indexes: Vec<_> = self
            .indexes
            .iter()
            .filter(|other| other.id() != index.id())
            .cloned()
            .collect();
        indexes.push(index);
        Ok(Self {
            core: self.core.clone(),
            indexes,
        })
    }

    /// The same segment, rows and deletes shared, without an index.
    #[must_use]
    pub fn without_index(&self, id: IndexId) -> Self {
        Self {
            core: self.core.clone(),
            indexes: self
                .indexes
                .iter()
                .filter(|index| index.id() != id)
                .cloned()
                .collect(),
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.core.keys
    }

    pub(crate) fn stamp(&self, row: usize) -> Timestamp {
        self.core.stamp(row)
    }

    /// Every row's earliest delete so far, by row.
    pub(crate) fn deletes(&self) -> Vec<(u32, Timestamp)> {
        self.core.overlay.read().by_row()
    }

    pub(crate) fn batches(&self) -> Vec<(usize, RecordBatch)> {
        let parts = self.core.parts.iter();
        parts.map(|part| (part.base, part.batch.clone())).collect()
    }

    pub(crate) fn vectors(&self, field: FieldId) -> Result<&VectorColumn, SegmentError> {
        self.core.vectors(field)
    }

    /// A scalar column, whole.
    pub(crate) fn scalar_column(
        &self,
        field: FieldId,
    ) -> Result<arrow_array::ArrayRef, SegmentError> {
        let schema = self.core.reads.get();
        let columns = self
            .core
            .parts
            .iter()
            .map(|part| crate::fields::column(&part.batch, &schema, field))
            .collect::<Result<Vec<_>, _>>()?;
        let arrays: Vec<&dyn arrow_array::Array> = columns.iter().map(|c| &**c).collect();
        Ok(arrow_select::concat::concat(&arrays)?)
    }
}

impl Core {
    fn vectors(&self, field: FieldId) -> Result<&VectorColumn, SegmentError> {
        self.vectors
            .iter()
            .find(|(id, _)| *id == field)
            .map(|(_, vectors)| vectors)
            .ok_or(SegmentError::UnknownField(field))
    }

    /// The part of a row, and the row's place in it. The row is below the number of rows.
    fn part(&self, row: usize) -> (&ScalarPart, usize) {
        let part = self.parts.partition_point(|part| part.base <= row) - 1;
        let part = &self.parts[part];
        (part, row - part.base)
    }

    fn stamp(&self, row: usize) -> Timestamp {
        let (part, i) = self.part(row);
        Timestamp(part.stamps.value(i))
    }

    fn gather(&self, field: FieldId, rows: &[u32]) -> Result<arrow_array::ArrayRef, SegmentError> {
        let schema = self.reads.get();
        match schema
            .field_by_id(field)
            .filter(|f| f.data_type.is_vector())
        {
            None => table::gather(&self.parts, &schema, field, rows),
            Some(definition) => {
                let column = self.vectors_to_read(definition)?;
                crate::vectors::gather(definition, &[(0, &*column)], rows)
            }
        }
    }

    /// The vectors of a field of the schema that reads are answered by: none, if it is younger than the segment.
    fn vectors_to_read(&self, field: &FieldSchema) -> Result<Cow<'_, VectorColumn>, SegmentError> {
        match self.vectors(field.id) {
            Ok(column) => Ok(Cow::Borrowed(column)),
            Err(_) => VectorColumn::all_null(field, self.keys.len()).map(Cow::Owned),
        }
    }
}
