use bytes::Bytes;
use holdfast_types::Metric;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{Allow, BitSet, Cancel, QueryVector, VectorData, Within, flat_search};

#[test]
fn recall_smoke() {
    let mut rng = StdRng::seed_from_u64(5);
    let (n, dim) = (3000, 32);
    let data: Vec<f32> = (0..n * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
    let rows = VectorData::F32 { dim, data: &data };
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        let bytes = build_hnsw(
            &rows,
            None,
            metric,
            HnswParams {
                m: 16,
                ef_construction: 100,
            },
            &Cancel::new(),
        )
        .unwrap();
        let index = FrozenHnsw::open(Bytes::from(bytes)).unwrap();
        let mut allow = BitSet::new(n);
        (0..n)
            .filter(|_| rng.random_bool(0.2))
            .for_each(|r| allow.set(r));
        for allow in [Allow::All, Allow::Bits(&allow)] {
            let mut found = 0;
            for _ in 0..50 {
                let q = QueryVector::F32((0..dim).map(|_| rng.random_range(-1.0..1.0)).collect());
                let exact = flat_search(&rows, &q, metric, allow, 10, &Within::ALL, &Cancel::new())
                    .unwrap();
                let got = index
                    .search(&rows, &q, 10, 128, allow, &Within::ALL, &Cancel::new())
                    .unwrap();
                found += got.iter().filter(|g| exact.contains(g)).count();
            }
            assert!(found >= 480, "{metric} {found}");
        }
    }
}
