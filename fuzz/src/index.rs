//! Index files on their own.

use std::{ops::Bound, sync::LazyLock};

use arrow_array::{ArrayRef, Float64Array, StringArray};
use holdfast_index::{
    Allow, BitSet, Cancel, FrozenHnsw, FrozenSparse, HnswParams, QueryVector, ScalarIndex,
    ScalarIndexKind, SparseRows, VectorData, Within, build_hnsw, build_scalar, build_sparse,
};
use holdfast_types::{Metric, Value};

use crate::{checksums, edits};

const DIM: usize = 16;
const ROWS: usize = 60;

static VECTORS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..ROWS * DIM)
        .map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0)
        .collect()
});

fn dense() -> VectorData<'static> {
    VectorData::F32 {
        dim: DIM,
        data: &VECTORS,
    }
}

static HNSW: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let one_thread = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let spread: Vec<u32> = (0..ROWS as u32).map(|i| i * 2).collect();
    let build = |metric, rows: Option<&[u32]>| {
        let params = HnswParams {
            m: 4,
            ef_construction: 16,
        };
        one_thread
            .install(|| build_hnsw(&dense(), rows, metric, params, &Cancel::new()))
            .expect("the graph can be built")
    };
    [
        build(Metric::L2, None),
        build(Metric::Cosine, Some(&spread)),
    ]
});

/// Opens and walks a graph.
pub fn hnsw(input: &[u8]) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let bytes = edits::file(&HNSW[usize::from(which & 1)], input, checksums::index);
    let Ok(index) = FrozenHnsw::open(bytes.into()) else {
        return;
    };
    if !index.fits(&dense()) {
        return;
    }
    let query = QueryVector::F32(vec![0.125; DIM]);
    if dense().check_query(&query, index.metric()).is_err() {
        return;
    }
    let some = BitSet::from_words(vec![0x5555_0f0f_ffff_0001; 2], 2 * ROWS);
    for allow in [Allow::All, Allow::Bits(&some)] {
        for ef in [1, 10, 200] {
            let hits = index
                .search(&dense(), &query, 5, ef, allow, &Within::ALL, &Cancel::new())
                .expect("nobody cancels");
            assert!(hits.len() <= 5);
        }
    }
}

static PAIRS: LazyLock<(Vec<i32>, Vec<u8>)> = LazyLock::new(|| {
    let (mut offsets, mut bytes) = (vec![0], Vec::new());
    for row in 0..20_u32 {
        for i in 0..row % 5 {
            bytes.extend((i * 3).to_le_bytes());
            bytes.extend((i as f32 + 0.5).to_le_bytes());
        }
        offsets.push(bytes.len() as i32);
    }
    (offsets, bytes)
});

fn sparse_rows() -> SparseRows<'static> {
    SparseRows::new(&PAIRS.0, &PAIRS.1).expect("the rows are well formed")
}

static SPARSE: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let spread: Vec<u32> = (0..20).map(|i| i * 3).collect();
    [None, Some(&spread[..])].map(|rows| {
        build_sparse(&sparse_rows(), rows, &Cancel::new()).expect("the lists can be built")
    })
});

/// Opens and searches inverted lists.
pub fn sparse(input: &[u8]) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let bytes = edits::file(&SPARSE[usize::from(which & 1)], input, checksums::index);
    let Ok(index) = FrozenSparse::open(bytes.into()) else {
        return;
    };
    let data = VectorData::Sparse(sparse_rows());
    if !index.fits(&data) {
        return;
    }
    for drop_ratio in [0.0, 0.5] {
        let query = [(0, 1.0), (3, 0.5), (9, 2.0)];
        index
            .search(
                &data,
                &query,
                5,
                drop_ratio,
                Allow::All,
                &Within::ALL,
                &Cancel::new(),
            )
            .expect("nobody cancels");
    }
}

const SCALAR_ROWS: u32 = 40;

static SCALAR: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let texts: ArrayRef = std::sync::Arc::new(StringArray::from_iter(
        (0..SCALAR_ROWS).map(|i| (i % 7 != 0).then(|| format!("t{}", i % 9))),
    ));
    let numbers: ArrayRef = std::sync::Arc::new(Float64Array::from_iter(
        (0..SCALAR_ROWS).map(|i| (i % 7 != 0).then_some(f64::from(i % 9) - 4.0)),
    ));
    [
        (ScalarIndexKind::Inverted, texts),
        (ScalarIndexKind::Sorted, numbers),
    ]
    .map(|(kind, column)| build_scalar(kind, &*column).expect("the index can be built"))
});

/// Opens a scalar index and asks every kind of question.
pub fn scalar(input: &[u8]) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let bytes = edits::file(&SCALAR[usize::from(which & 1)], input, checksums::index);
    let Ok(index) = ScalarIndex::open(bytes.into(), SCALAR_ROWS as usize) else {
        return;
    };
    let values = [
        Value::Str("t3".to_owned()),
        Value::Float(-1.0),
        Value::Int(2),
        Value::Bool(true),
    ];
    for value in &values {
        drop(index.equal(value));
        drop(index.contains(value));
        drop(index.range(Bound::Excluded(value), Bound::Unbounded));
        drop(index.range(Bound::Unbounded, Bound::Included(value)));
    }
    drop(index.in_list(&values));
    drop(index.prefix("t"));
    drop(index.matching(|text| text.len() > 1));
    drop(index.is_null());
}
