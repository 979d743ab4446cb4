//! Borrowed rows of vectors, and query vectors.

use half::{bf16, f16};
use holdfast_types::{DataType, Metric};

/// Rows of vectors of one field, row-major, without nulls: the caller compacts a nullable column.
#[derive(Clone, Copy, Debug)]
pub enum VectorData<'a> {
    /// `dim` f32 a row.
    F32 {
        /// Elements of a row.
        dim: usize,
        /// `dim * rows` elements.
        data: &'a [f32],
    },
    /// `dim` binary16 a row.
    F16 {
        /// Elements of a row.
        dim: usize,
        /// `dim * rows` elements.
        data: &'a [f16],
    },
    /// `dim` bfloat16 a row.
    Bf16 {
        /// Elements of a row.
        dim: usize,
        /// `dim * rows` elements.
        data: &'a [bf16],
    },
    /// `dim` i8 a row.
    I8 {
        /// Elements of a row.
        dim: usize,
        /// `dim * rows` elements.
        data: &'a [i8],
    },
    /// `dim` bits a row.
    Binary {
        /// Bits of a row, a multiple of 8.
        dim: usize,
        /// `dim / 8 * rows` bytes.
        data: &'a [u8],
    },
    /// Ascending (index, value) pairs.
    Sparse(SparseRows<'a>),
}

impl VectorData<'_> {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        let rows = |elements: usize, dim: usize| elements.checked_div(dim).unwrap_or(0);
        match self {
            Self::F32 { dim, data } => rows(data.len(), *dim),
            Self::F16 { dim, data } => rows(data.len(), *dim),
            Self::Bf16 { dim, data } => rows(data.len(), *dim),
            Self::I8 { dim, data } => rows(data.len(), *dim),
            Self::Binary { dim, data } => rows(data.len(), dim / 8),
            Self::Sparse(s) => s.len(),
        }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimensions of a row; bits for binary vectors, 0 for sparse ones.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::F32 { dim, .. }
            | Self::F16 { dim, .. }
            | Self::Bf16 { dim, .. }
            | Self::I8 { dim, .. }
            | Self::Binary { dim, .. } => *dim,
            Self::Sparse(_) => 0,
        }
    }

    /// The field type these rows belong to.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::F32 { .. } => DataType::FloatVector,
            Self::F16 { .. } => DataType::Float16Vector,
            Self::Bf16 { .. } => DataType::BFloat16Vector,
            Self::I8 { .. } => DataType::Int8Vector,
            Self::Binary { .. } => DataType::BinaryVector,
            Self::Sparse(_) => DataType::SparseFloatVector,
        }
    }

    /// Checks that `query` can be compared with these rows by `metric`. Searches assert this.
    ///
    /// # Errors
    /// [`QueryMismatch`] when type, dimension or metric do not fit.
    pub fn check_query(&self, query: &QueryVector, metric: Metric) -> Result<(), QueryMismatch> {
        if !metric.applies_to(self.data_type()) {
            return Err(QueryMismatch::Metric(metric, self.data_type()));
        }
        if query.data_type() != self.data_type() {
            return Err(QueryMismatch::Type {
                rows: self.data_type(),
                query: query.data_type(),
            });
        }
        if query.dim() != self.dim() {
            return Err(QueryMismatch::Dim {
                rows: self.dim(),
                query: query.dim(),
            });
        }
        Ok(())
    }
}

/// A query that cannot be compared with the rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryMismatch {
    /// The metric is not for this type of vector.
    #[error("metric_type: {0} does not apply to {1}")]
    Metric(Metric, DataType),
    /// Another type of vector.
    #[error("query vector is a {query}, the field is a {rows}")]
    Type {
        /// Type of the field.
        rows: DataType,
        /// Type of the query.
        query: DataType,
    },
    /// Another number of dimensions.
    #[error("query vector has {query} dimensions, the field has {rows}")]
    Dim {
        /// Dimensions of the field.
        rows: usize,
        /// Dimensions of the query.
        query: usize,
    },
}

/// Rows of sparse vectors, laid out as in an Arrow `BinaryArray`: row `i` is
/// `bytes[offsets[i]..offsets[i + 1]]`, little-endian (u32 index, f32 value) pairs, ascending by index.
#[derive(Clone, Copy, Debug)]
pub struct SparseRows<'a> {
    offsets: &'a [i32],
    bytes: &'a [u8],
}

/// Sparse rows whose offsets do not describe whole (index, value) pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sparse row {row}: its bytes are not whole (index, value) pairs inside the column")]
pub struct BadSparseRows {
    /// The first bad row.
    pub row: usize,
}

impl<'a> SparseRows<'a> {
    /// Bytes of one (index, value) pair.
    pub const PAIR_BYTES: usize = 8;

    /// Rows over the two buffers of a `BinaryArray` without nulls. No offsets at all mean no rows.
    ///
    /// # Errors
    /// [`BadSparseRows`] when offsets are not ascending, leave `bytes`, or cut a pair.
    pub fn new(offsets: &'a [i32], bytes: &'a [u8]) -> Result<Self, BadSparseRows> {
        for (row, pair) in offsets.windows(2).enumerate() {
            let bad = BadSparseRows { row };
            let from = usize::try_from(pair[0]).map_err(|_| bad)?;
            let to = usize::try_from(pair[1]).map_err(|_| bad)?;
            if to < from || to > bytes.len() || (to - from) % Self::PAIR_BYTES != 0 {
                return Err(bad);
            }
        }
        Ok(Self { offsets, bytes })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The (index, value) pairs of a row.
    ///
    /// # Panics
    /// If `row` is not below [`Self::len`].
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (u32, f32)> + 'a {
        // Offsets were checked to be non-negative by `new`.
        let from = self.offsets[row] as usize;
        let to = self.offsets[row + 1] as usize;
        self.bytes[from..to]
            .chunks_exact(Self::PAIR_BYTES)
            .map(|pair| {
                let index = u32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]);
                let value = f32::from_le_bytes([pair[4], pair[5], pair[6], pair[7]]);
                (index, value)
            })
    }
}

/// One query vector.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryVector {
    /// f32 elements.
    F32(Vec<f32>),
    /// binary16 elements.
    F16(Vec<f16>),
    /// bfloat16 elements.
    Bf16(Vec<bf16>),
    /// i8 elements.
    I8(Vec<i8>),
    /// Bits, eight a byte.
    Binary(Vec<u8>),
    /// (index, value) pairs ascending by index.
    Sparse(Vec<(u32, f32)>),
}

impl QueryVector {
    /// The field type this query can be compared with.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::F32(_) => DataType::FloatVector,
            Self::F16(_) => DataType::Float16Vector,
            Self::Bf16(_) => DataType::BFloat16Vector,
            Self::I8(_) => DataType::Int8Vector,
            Self::Binary(_) => DataType::BinaryVector,
            Self::Sparse(_) => DataType::SparseFloatVector,
        }
    }

    /// Dimensions; bits for binary vectors, 0 for sparse ones.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::Bf16(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::Binary(v) => v.len() * 8,
            Self::Sparse(_) => 0,
        }
    }
}
