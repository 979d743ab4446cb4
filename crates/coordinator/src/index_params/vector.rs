//! Index types over vectors, their parameters, metrics.

use holdfast_meta::IndexKind;
use holdfast_types::{Code, DataType, Failure, FieldSchema, Metric};

use super::{
    AUTOINDEX, Flat, INDEX_TYPE, METRIC_TYPE, Resolved, integer, one_of, scalar, unknown_type,
    unsupported, wrong_field,
};
use crate::properties::{MMAP, WARMUP, check_bool};

const M_DEFAULT: u32 = 16;
const EF_CONSTRUCTION_DEFAULT: u32 = 200;
const INT_MAX: i64 = i32::MAX as i64;

/// Index types over dense vectors of numbers.
const DENSE: [&str; 18] = [
    AUTOINDEX,
    "FLAT",
    "HNSW",
    "HNSW_SQ",
    "HNSW_PQ",
    "HNSW_PRQ",
    "IVF_FLAT",
    "IVF_FLAT_CC",
    "IVF_SQ8",
    "IVF_PQ",
    "IVF_RABITQ",
    "SCANN",
    "SCANN_DVR",
    "DISKANN",
    "GPU_IVF_FLAT",
    "GPU_IVF_PQ",
    "GPU_CAGRA",
    "GPU_BRUTE_FORCE",
];
const BINARY: [&str; 3] = [AUTOINDEX, "BIN_FLAT", "BIN_IVF_FLAT"];
const SPARSE: [&str; 3] = [AUTOINDEX, "SPARSE_INVERTED_INDEX", "SPARSE_WAND"];
/// Exists elsewhere, for vectors, and is not built.
const UNSUPPORTED: [&str; 1] = ["MINHASH_LSH"];

/// Whether any vector has indexes of this type.
pub(super) fn is_known(index_type: &str) -> bool {
    [&DENSE[..], &BINARY, &SPARSE, &UNSUPPORTED]
        .iter()
        .any(|names| names.contains(&index_type))
}

pub(super) fn resolve(
    field: &FieldSchema,
    index_type: &str,
    flat: &Flat,
) -> Result<Resolved, Failure> {
    let types: &[&str] = match field.data_type {
        DataType::BinaryVector => &BINARY,
        DataType::SparseFloatVector => &SPARSE,
        _ => &DENSE,
    };
    if UNSUPPORTED.contains(&index_type) {
        return Err(unsupported(index_type));
    }
    if !types.contains(&index_type) {
        let known = is_known(index_type) || scalar::is_known(index_type);
        return Err(if known {
            wrong_field(field, index_type)
        } else {
            unknown_type(index_type)
        });
    }
    if index_type == AUTOINDEX {
        let mut others = flat.keys().map(String::as_str);
        if others.any(|key| ![INDEX_TYPE, METRIC_TYPE, MMAP, WARMUP].contains(&key)) {
            return Err(Failure::invalid(
                "only metric type can be passed when use AutoIndex",
            ));
        }
    }
    let metric = metric(field.data_type, flat)?;
    let kind = match field.data_type {
        DataType::BinaryVector => {
            integer(flat, "nlist", 1, 65_536)?;
            IndexKind::BinFlat
        }
        DataType::SparseFloatVector => {
            check_sparse(flat)?;
            IndexKind::SparseInverted
        }
        _ => dense(field, index_type, flat)?,
    };
    Ok(Resolved {
        kind,
        metric: Some(metric),
        json_path: None,
        asked: Vec::new(),
        suffix: String::new(),
    })
}

/// The metric, or the default one.
fn metric(data_type: DataType, flat: &Flat) -> Result<Metric, Failure> {
    let Some(name) = flat.get(METRIC_TYPE).filter(|name| !name.is_empty()) else {
        return Ok(Metric::default_for(data_type));
    };
    let unsupported = |why: &str| {
        Err(Failure::new(
            Code::Unsupported,
            format!(
                "metric type {} is not supported by this server: {why}",
                name.to_ascii_uppercase()
            ),
        ))
    };
    match (data_type, name.to_ascii_uppercase().as_str()) {
        (DataType::SparseFloatVector, "BM25") => {
            return unsupported("full text search is not built");
        }
        (DataType::BinaryVector, "SUBSTRUCTURE" | "SUPERSTRUCTURE" | "MHJACCARD") => {
            return unsupported("use HAMMING or JACCARD");
        }
        _ => {}
    }
    match name.parse::<Metric>() {
        Ok(metric) if metric.applies_to(data_type) => Ok(metric),
        Ok(_) | Err(_) => {
            let shown: String = name.chars().take(64).collect();
            Err(Failure::invalid(match data_type {
                DataType::SparseFloatVector => {
                    format!(
                        "only IP&BM25 is the supported metric type for sparse index, not {shown}"
                    )
                }
                DataType::BinaryVector => {
                    format!("binary vector index does not support metric type: {shown}")
                }
                DataType::Int8Vector => {
                    format!("int vector index does not support metric type: {shown}")
                }
                _ => format!("float vector index does not support metric type: {shown}"),
            }))
        }
    }
}

/// Checks the parameters of the type asked for. All types but `FLAT` are served by a graph, whose own
/// parameters are those asked where the type has them.
fn dense(field: &FieldSchema, index_type: &str, flat: &Flat) -> Result<IndexKind, Failure> {
    match index_type {
        "FLAT" | "GPU_BRUTE_FORCE" => return Ok(IndexKind::Flat),
        "HNSW_SQ" => {
            one_of(
                flat,
                "sq_type",
                &["SQ4U", "SQ6", "SQ8", "FP16", "BF16", "FP32"],
            )?;
            check_refine(flat)?;
        }
        "HNSW_PQ" | "HNSW_PRQ" => {
            check_quantizer(field, flat, 24)?;
            integer(flat, "nrq", 1, 16)?;
            check_refine(flat)?;
        }
        "IVF_PQ" | "GPU_IVF_PQ" => check_quantizer(field, flat, 24)?,
        "IVF_RABITQ" => check_refine(flat)?,
        "SCANN" | "SCANN_DVR" => {
            if let Some(value) = flat.get("with_raw_data") {
                check_bool("with_raw_data", value)?;
            }
        }
        "DISKANN" => {
            integer(flat, "max_degree", 1, 2_048)?;
            integer(flat, "search_list_size", 1, INT_MAX)?;
        }
        "GPU_CAGRA" => {
            integer(flat, "intermediate_graph_degree", 1, INT_MAX)?;
            integer(flat, "graph_degree", 1, INT_MAX)?;
            one_of(flat, "build_algo", &["IVF_PQ", "NN_DESCENT"])?;
        }
        _ => {}
    }
    if index_type.contains("IVF") || index_type.starts_with("SCANN") {
        integer(flat, "nlist", 1, 65_536)?;
    }
    let (mut m, mut ef_construction) = (M_DEFAULT, EF_CONSTRUCTION_DEFAULT);
    if index_type.starts_with("HNSW") {
        if let Some(asked) = integer(flat, "M", 2, 2_048)? {
            m = u32::try_from(asked).expect("in 2..=2048");
        }
        if let Some(asked) = integer(flat, "efConstruction", 1, INT_MAX)? {
            ef_construction = u32::try_from(asked).expect("in 1..=i32::MAX");
        }
    }
    Ok(IndexKind::Hnsw { m, ef_construction })
}

/// Checks the parameters of a product quantizer.
fn check_quantizer(field: &FieldSchema, flat: &Flat, nbits_max: i64) -> Result<(), Failure> {
    integer(flat, "nbits", 1, nbits_max)?;
    let dim = i64::from(field.dim.unwrap_or(0));
    match integer(flat, "m", 1, 65_536)? {
        Some(m) if dim % m != 0 => Err(Failure::invalid(format!(
            "dimension must be able to be divided by `m`, dimension: {dim}, m: {m}"
        ))),
        _ => Ok(()),
    }
}

fn check_refine(flat: &Flat) -> Result<(), Failure> {
    if let Some(value) = flat.get("refine") {
        check_bool("refine", value)?;
    }
    one_of(
        flat,
        "refine_type",
        &["SQ6", "SQ8", "FP16", "BF16", "FP32", "FLAT"],
    )
}

fn check_sparse(flat: &Flat) -> Result<(), Failure> {
    one_of(
        flat,
        "inverted_index_algo",
        &["TAAT_NAIVE", "DAAT_WAND", "DAAT_MAXSCORE"],
    )?;
    let Some(text) = flat.get("drop_ratio_build") else {
        return Ok(());
    };
    match text.trim().parse::<f64>() {
        Ok(ratio) if (0.0..1.0).contains(&ratio) => Ok(()),
        Ok(ratio) => Err(Failure::invalid(format!(
            "param 'drop_ratio_build' ({ratio}) should be in range [0.0, 1.0)"
        ))),
        Err(_) => Err(Failure::invalid(format!(
            "wrong data type in json, key: 'drop_ratio_build', value: '{text}', expected: float"
        ))),
    }
}
