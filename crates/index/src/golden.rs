//! Files written by released versions must stay readable: they lie in `testdata` and are never rewritten.

use arrow_array::StringArray;
use holdfast_types::{Metric, Value};

use crate::{
    Allow, Cancel, FrozenHnsw, FrozenSparse, HnswParams, Neighbor, QueryVector, ScalarIndex,
    ScalarIndexKind, SparseRows, VectorData, Within, build_hnsw, build_scalar, build_sparse,
};

const HNSW: &[u8] = include_bytes!("../testdata/hnsw-v1.idx");
const SPARSE: &[u8] = include_bytes!("../testdata/sparse-v1.idx");
const SCALAR: &[u8] = include_bytes!("../testdata/scalar-v1.idx");

const VECTORS: [f32; 12] = [0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 3.0, 3.0, -1.0, 4.0, 5.0, -5.0];
const PAIRS: [(u32, f32); 3] = [(1, 1.0), (70_000, 2.0), (1, 0.5)];
const OFFSETS: [i32; 4] = [0, 16, 16, 24];

fn vectors() -> VectorData<'static> {
    VectorData::F32 {
        dim: 2,
        data: &VECTORS,
    }
}

fn pairs() -> Vec<u8> {
    PAIRS
        .iter()
        .flat_map(|(i, v)| [i.to_le_bytes(), v.to_le_bytes()].concat())
        .collect()
}

fn texts() -> StringArray {
    StringArray::from(vec![Some("b"), None, Some("a"), Some("b")])
}

fn written() -> [(&'static str, Vec<u8>, &'static [u8]); 3] {
    let cancel = Cancel::new();
    let pairs = pairs();
    let sparse = SparseRows::new(&OFFSETS, &pairs).unwrap();
    let params = HnswParams {
        m: 4,
        ef_construction: 16,
    };
    let one = hnsw_on_one_thread(params, &cancel);
    [
        ("hnsw", one, HNSW),
        (
            "sparse",
            build_sparse(&sparse, Some(&[0, 2, 5]), &cancel).unwrap(),
            SPARSE,
        ),
        (
            "scalar",
            build_scalar(ScalarIndexKind::Bitmap, &texts()).unwrap(),
            SCALAR,
        ),
    ]
}

/// With one thread the builder is deterministic: its level generator has a fixed seed.
fn hnsw_on_one_thread(params: HnswParams, cancel: &Cancel) -> Vec<u8> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(|| {
        build_hnsw(
            &vectors(),
            Some(&[0, 1, 2, 3, 4, 8]),
            Metric::L2,
            params,
            cancel,
        )
    })
    .unwrap()
}

#[test]
fn the_writer_still_writes_version_one() {
    for (name, bytes, golden) in written() {
        assert!(
            bytes == golden,
            "{name}: the bytes changed; that needs a new version"
        );
    }
}

#[test]
fn the_hnsw_file_is_read() {
    let index = FrozenHnsw::open(HNSW.into()).unwrap();
    assert_eq!(
        (index.metric(), index.len(), index.dim()),
        (Metric::L2, 6, 2)
    );
    let query = QueryVector::F32(vec![5.0, -4.0]);
    let hits = index
        .search(
            &vectors(),
            &query,
            2,
            8,
            Allow::All,
            &Within::ALL,
            &Cancel::new(),
        )
        .unwrap();
    assert_eq!(
        hits,
        [
            Neighbor {
                row: 8,
                distance: 1.0
            },
            Neighbor {
                row: 1,
                distance: 32.0
            }
        ]
    );
}

#[test]
fn the_sparse_file_is_read() {
    let index = FrozenSparse::open(SPARSE.into()).unwrap();
    let pairs = pairs();
    let data = VectorData::Sparse(SparseRows::new(&OFFSETS, &pairs).unwrap());
    let hits = index
        .search(
            &data,
            &[(1, 1.0)],
            5,
            0.0,
            Allow::All,
            &Within::ALL,
            &Cancel::new(),
        )
        .unwrap();
    assert_eq!(
        hits,
        [
            Neighbor {
                row: 0,
                distance: -1.0
            },
            Neighbor {
                row: 5,
                distance: -0.5
            }
        ]
    );
}

#[test]
fn the_scalar_file_is_read() {
    let index = ScalarIndex::open(SCALAR.into(), 4).unwrap();
    assert_eq!(index.kind(), ScalarIndexKind::Bitmap);
    let rows = index.equal(&Value::Str("b".into())).unwrap();
    assert_eq!(rows.iter().collect::<Vec<_>>(), [0, 3]);
    assert_eq!(index.is_null().iter().collect::<Vec<_>>(), [1]);
}
