//! Building the index files of a sealed segment.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray};
use bytes::Bytes;
use holdfast_expr::PathStep;
use holdfast_index::{BuildError, Cancel, VectorData, build_hnsw, build_scalar, build_sparse};
use holdfast_types::{DataType, FieldId};
use serde_json::Value as Json;

use crate::{
    IndexBuild, JsonCast, SealedSegment, SegmentError, fields::downcast, filter::json::at_path,
};

/// Documents read between two looks at the cancel flag.
const DOCUMENTS_PER_POLL: usize = 1_024;

/// Builds an index over a field of a segment, deleted rows included. Takes CPU time: HNSW runs on the
/// current rayon pool.
///
/// # Errors
/// [`BuildError::Unsupported`] when the field is of a type that the index is not for;
/// [`BuildError::Cancelled`].
pub fn build_index(
    segment: &SealedSegment,
    field: FieldId,
    build: &IndexBuild,
    cancel: &Cancel,
) -> Result<Bytes, BuildError> {
    let schema = segment.schema();
    let definition = schema
        .field_by_id(field)
        .ok_or_else(|| column_error(&SegmentError::UnknownField(field)))?;
    let bytes = match build {
        IndexBuild::Hnsw { metric, params } => {
            let column = segment.vectors(field).map_err(|e| column_error(&e))?;
            let data = column.data().map_err(|e| column_error(&e))?;
            build_hnsw(&data, column.rows(), *metric, *params, cancel)?
        }
        IndexBuild::Sparse => {
            let column = segment.vectors(field).map_err(|e| column_error(&e))?;
            match column.data().map_err(|e| column_error(&e))? {
                VectorData::Sparse(rows) => build_sparse(&rows, column.rows(), cancel)?,
                other => {
                    return Err(BuildError::Unsupported {
                        what: format!("a sparse index over {}", other.data_type()),
                    });
                }
            }
        }
        IndexBuild::Scalar(kind) => {
            if definition.data_type.is_vector() || definition.data_type == DataType::Json {
                return Err(BuildError::Unsupported {
                    what: format!("a scalar index over {}", definition.data_type),
                });
            }
            let column = segment.scalar_column(field).map_err(|e| column_error(&e))?;
            build_scalar(*kind, &*column)?
        }
        IndexBuild::JsonPath { path, cast, kind } => {
            if definition.data_type != DataType::Json {
                return Err(BuildError::Unsupported {
                    what: format!("a JSON path index over {}", definition.data_type),
                });
            }
            let column = segment.scalar_column(field).map_err(|e| column_error(&e))?;
            let column = cast_path(&column, path, *cast, cancel)?;
            build_scalar(*kind, &*column)?
        }
    };
    Ok(bytes.into())
}

fn column_error(error: &SegmentError) -> BuildError {
    BuildError::Column {
        problem: error.to_string(),
    }
}

/// The values at a path as a column; null where there is no value of that type.
fn cast_path(
    column: &ArrayRef,
    path: &[PathStep],
    cast: JsonCast,
    cancel: &Cancel,
) -> Result<ArrayRef, BuildError> {
    let text: &StringArray = downcast(&**column).map_err(|e| column_error(&e))?;
    let mut values = Vec::with_capacity(text.len());
    for row in 0..text.len() {
        if row % DOCUMENTS_PER_POLL == 0 {
            cancel.check()?;
        }
        let value = text.is_valid(row).then(|| at_path(text.value(row), path));
        values.push(value.flatten());
    }
    Ok(match cast {
        JsonCast::Bool => Arc::new(
            values
                .iter()
                .map(|v| v.as_ref()?.as_bool())
                .collect::<BooleanArray>(),
        ),
        JsonCast::Double => Arc::new(
            values
                .iter()
                .map(|v| v.as_ref()?.as_f64())
                .collect::<Float64Array>(),
        ),
        JsonCast::VarChar => Arc::new(
            values
                .iter()
                .map(|v| v.as_ref().and_then(Json::as_str))
                .collect::<StringArray>(),
        ),
    })
}
