//! What the catalog and the manifest call a thing, and what the segment room calls it.

use holdfast_index::{HnswParams, ScalarIndexKind};
use holdfast_meta::{IndexKind, IndexMeta};
use holdfast_segment::{IndexBuild, JsonCast};
use holdfast_types::{CollectionSchema, DataType, Failure};

/// How an index definition is built in a segment; `None` when it is no file (FLAT, BIN_FLAT).
///
/// # Errors
/// A definition that the catalog should not have let in.
pub fn index_build(
    index: &IndexMeta,
    schema: &CollectionSchema,
) -> Result<Option<IndexBuild>, Failure> {
    let defect = |what: &str| Failure::internal(format!("index {}: {what}", index.name));
    let scalar = |kind: ScalarIndexKind| match &index.json_path {
        None => Ok(Some(IndexBuild::Scalar(kind))),
        Some(json) => {
            let access = holdfast_expr::parse_json_path(&json.path, schema)
                .map_err(|e| defect(&e.to_string()))?;
            let cast = match json.cast {
                DataType::Bool => JsonCast::Bool,
                DataType::Double => JsonCast::Double,
                DataType::VarChar => JsonCast::VarChar,
                other => return Err(defect(&format!("no JSON value is read as {other}"))),
            };
            Ok(Some(IndexBuild::JsonPath {
                path: access.path,
                cast,
                kind,
            }))
        }
    };
    match index.kind {
        IndexKind::Flat | IndexKind::BinFlat => Ok(None),
        IndexKind::Hnsw { m, ef_construction } => Ok(Some(IndexBuild::Hnsw {
            metric: index
                .metric
                .ok_or_else(|| defect("a graph without a metric"))?,
            params: HnswParams {
                m: m as usize,
                ef_construction: ef_construction as usize,
            },
        })),
        IndexKind::SparseInverted => Ok(Some(IndexBuild::Sparse)),
        IndexKind::Inverted => scalar(ScalarIndexKind::Inverted),
        IndexKind::Bitmap => scalar(ScalarIndexKind::Bitmap),
        IndexKind::StlSort => scalar(ScalarIndexKind::Sorted),
    }
}

/// The name of an index kind, for people.
#[must_use]
pub fn index_kind_name(kind: &IndexKind) -> &'static str {
    match kind {
        IndexKind::Flat => "FLAT",
        IndexKind::BinFlat => "BIN_FLAT",
        IndexKind::Hnsw { .. } => "HNSW",
        IndexKind::SparseInverted => "SPARSE_INVERTED_INDEX",
        IndexKind::Inverted => "INVERTED",
        IndexKind::Bitmap => "BITMAP",
        IndexKind::StlSort => "STL_SORT",
    }
}
