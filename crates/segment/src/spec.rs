//! What is asked of a segment, and what it answers.

use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use holdfast_expr::{Access, PathStep, Predicate};
use holdfast_index::{HnswParams, QueryVector, ScalarIndexKind, Within};
use holdfast_types::{
    CollectionSchema, FieldId, FileRole, IndexId, Metric, Pk, PkList, RowIdx, SegmentId, Timestamp,
    columns,
};

/// A nearest-neighbour search over one vector field.
#[derive(Clone, Debug)]
pub struct SearchSpec {
    /// The vector field.
    pub field: FieldId,
    /// How vectors are compared; must apply to the field's type.
    pub metric: Metric,
    /// The query vectors, all of the field's type and dimension.
    pub queries: Arc<[QueryVector]>,
    /// Hits per query, offset included; with `group_by`, the number of groups.
    pub top_k: usize,
    /// Search-time settings.
    pub params: SearchParams,
    /// Distances that count, in internal distances (smaller is closer).
    pub within: Within,
    /// Only rows for which this is true; `None` is every row.
    pub filter: Option<Arc<Predicate>>,
    /// At most `group_size` hits for each value of a field.
    pub group_by: Option<GroupBy>,
    /// Rows visible at this stamp.
    pub at: Timestamp,
    /// Rows stamped at or before this are expired.
    pub ttl_before: Option<Timestamp>,
}

/// Search-time settings. What an index does not know it ignores.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct SearchParams {
    /// HNSW: beam width; `None` chooses one from `top_k`.
    pub ef: Option<usize>,
    /// Sparse: share of a query's smallest entries left out, in `0.0..1.0`.
    pub drop_ratio_search: f32,
    /// Compare every row, whatever index there is.
    pub exact: bool,
}

/// Grouping of hits.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupBy {
    /// The field, or the path inside a JSON field, whose values are the groups.
    pub access: Access,
    /// Most hits per group, at least 1.
    pub group_size: usize,
    /// Go on searching until every returned group is full, where rows for that exist.
    pub strict: bool,
}

/// The value that a group has in common. Rows without a value form one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupValue {
    /// No value.
    Null,
    /// Of a `Bool` field or a JSON truth.
    Bool(bool),
    /// Of an integer field or a JSON integer.
    Int(i64),
    /// Of a `VarChar` field or a JSON string.
    Str(Box<str>),
    /// JSON text of any other JSON value (fractions, lists, objects), or of a floating field's value.
    Json(Box<str>),
}

/// A row that is near enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Internal distance: smaller is closer.
    pub distance: f32,
    /// Primary key.
    pub pk: Pk,
    /// Stamp of the row.
    pub ts: Timestamp,
    /// Where the row is, for fetching its fields.
    pub row: RowRef,
    /// Its group, iff the search grouped.
    pub group: Option<GroupValue>,
}

/// Address of a row. Valid as long as the segment is held; row numbers never change within a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowRef {
    /// The segment.
    pub segment: SegmentId,
    /// The row in it.
    pub row: RowIdx,
}

/// A retrieval of rows by filter or by key.
#[derive(Clone, Debug)]
pub struct QuerySpec {
    /// Only rows for which this is true; `None` is every row.
    pub filter: Option<Arc<Predicate>>,
    /// Only rows of these keys, found without a scan.
    pub keys: Option<PkList>,
    /// Fields to return. The primary key and the stamp are always returned besides.
    pub fields: Vec<FieldId>,
    /// Most rows: those of the smallest keys.
    pub limit: Option<usize>,
    /// Only keys greater than this.
    pub after: Option<Pk>,
    /// Rows visible at this stamp.
    pub at: Timestamp,
    /// Rows stamped at or before this are expired.
    pub ttl_before: Option<Timestamp>,
}

/// Rows that were asked for, ordered by primary key, one row per key (its newest visible one).
///
/// Columns: the primary key, `$ts`, then the requested fields in the order asked (the primary key is
/// not repeated); found by field id.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The columns.
    pub batch: RecordBatch,
}

impl Rows {
    /// No row, with the columns that `spec` asks for.
    ///
    /// # Errors
    /// A field that the schema does not have.
    pub fn none(spec: &QuerySpec, schema: &CollectionSchema) -> Result<Self, crate::SegmentError> {
        let primary = schema.primary();
        let mut fields = vec![columns::arrow_field(primary), columns::timestamp_field()];
        for id in spec.fields.iter().filter(|id| **id != primary.id) {
            let field = schema
                .field_by_id(*id)
                .ok_or(crate::SegmentError::UnknownField(*id))?;
            fields.push(columns::arrow_field(field));
        }
        Ok(Self {
            batch: RecordBatch::new_empty(arrow_schema::Schema::new(fields).into()),
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One file of a segment, whole.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    /// What it holds.
    pub role: FileRole,
    /// How messages call it: on write, what its role prints; on read, whatever the caller stores it as.
    pub name: String,
    /// The bytes: memory-mapped or owned. A 64-byte aligned start is read without copying.
    pub bytes: Bytes,
}

/// What a manifest says of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStats {
    /// Rows in the files, deleted ones included.
    pub rows: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Smallest row stamp.
    pub min_ts: Timestamp,
    /// Largest row stamp.
    pub max_ts: Timestamp,
    /// Smallest key.
    pub pk_min: Pk,
    /// Largest key.
    pub pk_max: Pk,
    /// Rows that the deletes file marks.
    pub deleted_rows: u64,
}

/// A segment as files, ready to be stored.
#[derive(Clone, Debug)]
pub struct SegmentFiles {
    /// Columns, vectors in schema order, keys, deletes.
    pub files: Vec<SegmentFile>,
    /// For the manifest. `None`: the segment has no row left, and `files` is empty: store nothing.
    pub stats: Option<SegmentStats>,
}

/// The type that values at a JSON path are read as. Rows whose value has another type are absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonCast {
    /// `true` and `false`.
    Bool,
    /// Any number.
    Double,
    /// Strings.
    VarChar,
}

/// An index to build, or the way one was built.
#[derive(Clone, Debug, PartialEq)]
pub enum IndexBuild {
    /// A graph over a dense vector field.
    Hnsw {
        /// How vectors are compared.
        metric: Metric,
        /// Build-time settings.
        params: HnswParams,
    },
    /// Inverted lists over a sparse vector field (inner product).
    Sparse,
    /// Over a scalar field, or the elements of an array field.
    Scalar(ScalarIndexKind),
    /// Over the values at a path of a JSON field.
    JsonPath {
        /// The path below the field.
        path: Vec<PathStep>,
        /// The type that values are read as.
        cast: JsonCast,
        /// How the values are indexed.
        kind: ScalarIndexKind,
    },
}

/// One index file of a segment.
#[derive(Clone, Debug)]
pub struct IndexFile {
    /// The index definition it belongs to.
    pub index: IndexId,
    /// The indexed field.
    pub field: FieldId,
    /// How it was built.
    pub build: IndexBuild,
    /// How messages call it.
    pub name: String,
    /// The bytes: memory-mapped or owned.
    pub bytes: Bytes,
}
