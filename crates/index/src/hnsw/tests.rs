//! Tests of `hnsw`.

use std::ops::Bound;

use bytes::Bytes;
use half::{bf16, f16};
use holdfast_types::Metric;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    freeze::{meta, tag},
    *,
};
use crate::{
    Allow, BitSet, BuildError, Cancel, Cancelled, Neighbor, QueryVector, VectorData, Within,
    file::{Kind, damage},
    flat_search,
};

const PARAMS: HnswParams = HnswParams {
    m: 16,
    ef_construction: 100,
};
const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

/// Built by one thread, so that the same rows make the same graph in every run.
fn build(data: &VectorData<'_>, rows: Option<&[u32]>, metric: Metric) -> FrozenHnsw {
    build_by(1, data, rows, metric)
}

fn build_by(
    threads: usize,
    data: &VectorData<'_>,
    rows: Option<&[u32]>,
    metric: Metric,
) -> FrozenHnsw {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let built = pool.install(|| build_hnsw(data, rows, metric, PARAMS, &Cancel::new()));
    FrozenHnsw::open(Bytes::from(built.unwrap())).unwrap()
}

fn uniform(rng: &mut StdRng, elements: usize) -> Vec<f32> {
    (0..elements).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Points around centres, as real embeddings are rather than evenly spread.
fn clustered(rng: &mut StdRng, n: usize, dim: usize, spread: f32) -> Vec<f32> {
    let centres = uniform(rng, 40 * dim);
    let mut data = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let centre = rng.random_range(0..40) * dim;
        data.extend(
            (0..dim).map(|i| centres[centre + i] + spread * rng.random_range(-1.0..1.0_f32)),
        );
    }
    data
}

/// Recall@10 at ef 128, by distance: of equally far rows any are right.
fn recall(
    index: &FrozenHnsw,
    data: &VectorData<'_>,
    queries: &[QueryVector],
    allow: Allow<'_>,
    within: &Within,
) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for q in queries {
        let exact =
            flat_search(data, q, index.metric(), allow, 10, within, &Cancel::new()).unwrap();
        let got = index
            .search(data, q, 10, 128, allow, within, &Cancel::new())
            .unwrap();
        assert!(got.is_sorted(), "nearest first");
        assert!(
            got.iter()
                .all(|hit| allow.allows(hit.row as usize) && within.contains(hit.distance))
        );
        if let Some(last) = exact.last() {
            found += got
                .iter()
                .filter(|hit| hit.distance <= last.distance)
                .count();
        }
        wanted += exact.len();
    }
    found as f64 / wanted as f64
}

#[test]
fn recall_has_a_bound_for_every_metric_filter_and_window() {
    let mut rng = StdRng::seed_from_u64(5);
    let (n, dim) = (3000, 32);
    let data = clustered(&mut rng, n, dim, 0.5);
    let rows = VectorData::F32 { dim, data: &data };
    let queries: Vec<QueryVector> = clustered(&mut rng, 200, dim, 0.5)
        .chunks(dim)
        .map(|q| QueryVector::F32(q.to_vec()))
        .collect();
    for metric in METRICS {
        let index = build(&rows, None, metric);
        assert!(index.is_coded());
        for share in [1.0, 0.5, 0.1, 0.01] {
            let mut bits = BitSet::new(n);
            (0..n)
                .filter(|_| rng.random_bool(share))
                .for_each(|r| bits.set(r));
            let allow = if share == 1.0 {
                Allow::All
            } else {
                Allow::Bits(&bits)
            };
            let got = recall(&index, &rows, &queries, allow, &Within::ALL);
            assert!(got >= 0.97, "{metric} {share}: {got}");
            // A filter that goes with the place: the walk starts far from all that passes.
            let corner = BitSet::from_rows(
                &(0..n as u32)
                    .filter(|&r| data[r as usize * dim] > 0.9)
                    .collect(),
                n,
            );
            let got = recall(&index, &rows, &queries, Allow::Bits(&corner), &Within::ALL);
            assert!(got >= 0.97, "{metric} corner: {got}");
        }
        // What an iterator asks for after 100 hits, and a ring.
        let (mut next_recall, mut ring_found) = (0.0, 0);
        for q in &queries {
            let exact = flat_search(
                &rows,
                q,
                metric,
                Allow::All,
                200,
                &Within::ALL,
                &Cancel::new(),
            )
            .unwrap();
            let next = Within {
                from: Bound::Excluded(exact[99].distance),
                to: Bound::Unbounded,
            };
            next_recall += recall(&index, &rows, std::slice::from_ref(q), Allow::All, &next);
            let ring = Within {
                from: Bound::Included(exact[3].distance),
                to: Bound::Excluded(exact[8].distance),
            };
            let hits = index
                .search(&rows, q, 10, 128, Allow::All, &ring, &Cancel::new())
                .unwrap();
            assert!(
                hits.iter().all(|hit| exact[3..8].contains(hit)),
                "{metric} ring"
            );
            ring_found += hits.len();
        }
        let next_recall = next_recall / queries.len() as f64;
        assert!(next_recall >= 0.97, "{metric} next: {next_recall}");
        assert!(
            ring_found >= queries.len() * 5 * 97 / 100,
            "{metric} ring: {ring_found}"
        );
    }
}

#[test]
fn rows_of_very_different_length_are_grown_by_inner_product() {
    let mut rng = StdRng::seed_from_u64(15);
    let (n, dim) = (3000, 32);
    let mut data = clustered(&mut rng, n, dim, 0.5);
    for row in data.chunks_mut(dim) {
        let length = rng.random_range(0.3..1.5_f32);
        row.iter_mut().for_each(|x| *x *= length);
    }
    let rows = VectorData::F32 { dim, data: &data };
    let queries: Vec<QueryVector> = clustered(&mut rng, 200, dim, 0.5)
        .chunks(dim)
        .map(|q| QueryVector::F32(q.to_vec()))
        .collect();
    let index = build(&rows, None, Metric::Ip);
    // By Euclidean distance it would be 0.9 or less.
    let got = recall(&index, &rows, &queries, Allow::All, &Within::ALL);
    assert!(got >= 0.97, "{got}");
}

#[test]
fn a_graph_that_several_threads_grow_is_as_good() {
    let mut rng = StdRng::seed_from_u64(12);
    let (n, dim) = (3000, 32);
    let data = clustered(&mut rng, n, dim, 0.5);
    let rows = VectorData::F32 { dim, data: &data };
    let queries: Vec<QueryVector> = clustered(&mut rng, 200, dim, 0.5)
        .chunks(dim)
        .map(|q| QueryVector::F32(q.to_vec()))
        .collect();
    let index = build_by(4, &rows, None, Metric::L2);
    let got = recall(&index, &rows, &queries, Allow::All, &Within::ALL);
    assert!(got >= 0.97, "{got}");
}

#[test]
fn every_dense_type_is_searched_with_its_exact_distances() {
    let mut rng = StdRng::seed_from_u64(6);
    let (n, dim) = (1000, 24);
    let data = uniform(&mut rng, n * dim);
    let query = uniform(&mut rng, dim);
    let halves: Vec<f16> = data.iter().map(|&x| f16::from_f32(x)).collect();
    let brains: Vec<bf16> = data.iter().map(|&x| bf16::from_f32(x)).collect();
    let bytes: Vec<i8> = data.iter().map(|&x| (x * 127.0) as i8).collect();
    let cases = [
        (
            VectorData::F16 { dim, data: &halves },
            QueryVector::F16(query.iter().map(|&x| f16::from_f32(x)).collect()),
        ),
        (
            VectorData::Bf16 { dim, data: &brains },
            QueryVector::Bf16(query.iter().map(|&x| bf16::from_f32(x)).collect()),
        ),
        (
            VectorData::I8 { dim, data: &bytes },
            QueryVector::I8(query.iter().map(|&x| (x * 127.0) as i8).collect()),
        ),
    ];
    for (data, query) in cases {
        for metric in METRICS {
            let index = build(&data, None, metric);
            let exact = flat_search(
                &data,
                &query,
                metric,
                Allow::All,
                1000,
                &Within::ALL,
                &Cancel::new(),
            )
            .unwrap();
            let got = index
                .search(
                    &data,
                    &query,
                    10,
                    200,
                    Allow::All,
                    &Within::ALL,
                    &Cancel::new(),
                )
                .unwrap();
            assert!(
                got.iter().all(|hit| exact.contains(hit)),
                "distances are exact"
            );
            let found = got.iter().filter(|hit| exact[..10].contains(hit)).count();
            assert!(found >= 9, "{:?} {metric}: {found}", data.data_type());
        }
    }
}

#[test]
fn tight_clusters_are_walked_by_the_vectors_themselves() {
    let mut rng = StdRng::seed_from_u64(7);
    let (n, dim) = (2000, 16);
    let data = clustered(&mut rng, n, dim, 1e-4);
    let rows = VectorData::F32 { dim, data: &data };
    let index = build(&rows, None, Metric::L2);
    assert!(
        !index.is_coded(),
        "codes cannot tell these neighbours apart"
    );
    let queries: Vec<QueryVector> = data
        .chunks(dim)
        .step_by(50)
        .map(|q| QueryVector::F32(q.to_vec()))
        .collect();
    let got = recall(&index, &rows, &queries, Allow::All, &Within::ALL);
    assert!(got >= 0.95, "{got}");
}

#[test]
fn small_equal_and_zero_rows_are_all_found() {
    let dim = 4;
    for n in [0_usize, 1, 2, 9, 127, 130, 600] {
        for (what, row) in [("equal", [1.0_f32, 2.0, -3.0, 0.5]), ("zero", [0.0; 4])] {
            let data = row.repeat(n);
            let rows = VectorData::F32 { dim, data: &data };
            for metric in METRICS {
                let index = build(&rows, None, metric);
                for query in [vec![1.0, 0.0, 0.0, 1.0], vec![0.0; 4]] {
                    let query = QueryVector::F32(query);
                    let hits = index
                        .search(
                            &rows,
                            &query,
                            20,
                            20,
                            Allow::All,
                            &Within::ALL,
                            &Cancel::new(),
                        )
                        .unwrap();
                    assert_eq!(hits.len(), n.min(20), "{n} {what} rows by {metric}");
                }
            }
        }
    }
}

#[test]
fn values_at_the_ends_of_f32_neither_panic_nor_yield_nan() {
    let data: Vec<f32> = (0..400)
        .flat_map(|i| match i % 5 {
            0 => [f32::MAX, f32::MIN],
            1 => [1e-42, 0.0],
            2 => [f32::INFINITY, f32::NAN],
            3 => [0.0, 0.0],
            _ => [i as f32, 1.0],
        })
        .collect();
    let rows = VectorData::F32 {
        dim: 2,
        data: &data,
    };
    for metric in METRICS {
        let index = build(&rows, None, metric);
        for query in [
            [1.0, 1.0],
            [f32::MAX, f32::MAX],
            [f32::NAN, 0.0],
            [0.0, 1e-44],
        ] {
            let query = QueryVector::F32(query.to_vec());
            let hits = index
                .search(
                    &rows,
                    &query,
                    10,
                    32,
                    Allow::All,
                    &Within::ALL,
                    &Cancel::new(),
                )
                .unwrap();
            assert_eq!(hits.len(), 10, "{metric}");
            assert!(hits.iter().all(|hit| !hit.distance.is_nan()));
        }
    }
}

#[test]
fn null_rows_are_mapped() {
    let mut rng = StdRng::seed_from_u64(8);
    let (n, dim) = (500, 8);
    let data = uniform(&mut rng, n * dim);
    let vectors = VectorData::F32 { dim, data: &data };
    let numbers: Vec<u32> = (0..n as u32).map(|i| i * 3 + 1).collect();
    let plain = build(&vectors, None, Metric::L2);
    let mapped = build(&vectors, Some(&numbers), Metric::L2);
    let mut allow = BitSet::new(n);
    let mut mapped_allow = BitSet::new(n * 3);
    for row in (0..n).step_by(2) {
        allow.set(row);
        mapped_allow.set(row * 3 + 1);
    }
    let query = QueryVector::F32(uniform(&mut rng, dim));
    let search = |index: &FrozenHnsw, allow| {
        index
            .search(
                &vectors,
                &query,
                10,
                200,
                allow,
                &Within::ALL,
                &Cancel::new(),
            )
            .unwrap()
    };
    for (a, b) in [
        (Allow::All, Allow::All),
        (Allow::Bits(&allow), Allow::Bits(&mapped_allow)),
    ] {
        let expected: Vec<Neighbor> = search(&plain, a)
            .iter()
            .map(|hit| Neighbor {
                row: hit.row * 3 + 1,
                ..*hit
            })
            .collect();
        assert_eq!(search(&mapped, b), expected);
    }
}

#[test]
fn wrong_requests_are_refused_with_their_reason() {
    let data = VectorData::F32 {
        dim: 2,
        data: &[0.0; 8],
    };
    let bits = VectorData::Binary {
        dim: 8,
        data: &[0; 8],
    };
    let build = |data, metric, m, ef_construction| {
        build_hnsw(
            data,
            None,
            metric,
            HnswParams { m, ef_construction },
            &Cancel::new(),
        )
        .unwrap_err()
    };
    assert_eq!(
        build(&data, Metric::L2, 1, 10).to_string(),
        "index_params.M: 1 is not in 2..=255"
    );
    assert!(matches!(
        build(&data, Metric::L2, 16, 0),
        BuildError::Parameter {
            name: "efConstruction",
            ..
        }
    ));
    assert!(matches!(
        build(&data, Metric::Jaccard, 16, 10),
        BuildError::Unsupported { .. }
    ));
    assert!(matches!(
        build(&bits, Metric::Hamming, 16, 10),
        BuildError::Unsupported { .. }
    ));
    let wrong = build_hnsw(&data, Some(&[1]), Metric::L2, PARAMS, &Cancel::new());
    assert!(matches!(wrong, Err(BuildError::Column { .. })));

    let cancel = Cancel::new();
    cancel.cancel();
    let built = build_hnsw(&data, None, Metric::L2, PARAMS, &cancel);
    assert_eq!(built, Err(BuildError::Cancelled(Cancelled)));
}

fn tiny() -> Vec<u8> {
    let data: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let rows = VectorData::F32 {
        dim: 2,
        data: &data,
    };
    let params = HnswParams {
        m: 2,
        ef_construction: 8,
    };
    build_hnsw(
        &rows,
        Some(&[0, 1, 2, 3, 4, 9]),
        Metric::L2,
        params,
        &Cancel::new(),
    )
    .unwrap()
}

#[test]
fn damage_is_refused() {
    damage::is_refused(&tiny(), FrozenHnsw::open);
}

#[test]
fn links_and_numbers_that_lead_astray_are_refused() {
    let mut rng = StdRng::seed_from_u64(9);
    let data = uniform(&mut rng, 400 * 4);
    let rows = VectorData::F32 {
        dim: 4,
        data: &data,
    };
    let params = HnswParams {
        m: 3,
        ef_construction: 16,
    };
    let good = build_hnsw(&rows, None, Metric::L2, params, &Cancel::new()).unwrap();
    let set = |tag, at: usize, value: u32| {
        let bad = damage::forge(&good, Kind::Hnsw, tag, |b| {
            b[at * 4..][..4].copy_from_slice(&value.to_le_bytes());
        });
        FrozenHnsw::open(bad).expect_err("astray").section
    };
    assert_eq!(set(tag::LINKS, 17, 400), "links");
    assert_eq!(set(tag::ORDER, 5, 400), "order");
    assert_eq!(set(tag::OFFSETS, 3, u32::MAX), "link offsets");
    assert_eq!(set(tag::LEVEL_NODES, 0, 400), "level nodes");
    assert_eq!(set(tag::LEVEL_LINKS, 0, 400), "level links");
    assert_eq!(set(tag::LEVEL_OFFSETS, 0, 1), "level link offsets");
    assert_eq!(set(tag::LEVEL_ENDS, 0, 0), "level ends");
    assert_eq!(set(tag::META, meta::ENTRY, 400), "meta");
    assert_eq!(set(tag::META, meta::DIM, 0), "meta");
    assert_eq!(set(tag::META, meta::DIM, 65), "codes");
    assert_eq!(set(tag::META, meta::METRIC, 9), "meta");
    assert_eq!(set(tag::META, meta::DATA_TYPE, 100), "meta");
    assert_eq!(set(tag::META, meta::LEVELS, 200), "meta");
    assert_eq!(set(tag::META, meta::SCALE, 0), "meta");
    assert_eq!(set(tag::META, meta::CODED, 2), "meta");
    assert_eq!(set(tag::META, meta::MAPPED, 1), "rows");
    assert_eq!(set(tag::META, meta::ROWS, 401), "order");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        rng_seed: proptest::test_runner::RngSeed::Fixed(13),
        ..ProptestConfig::default()
    })]

    /// With `ef` as large as the graph the walk is a scan or visits everything, so answers are exact.
    #[test]
    fn a_walk_as_broad_as_the_graph_is_exact(
        seed in any::<u64>(),
        n in 0_usize..300,
        k in 1_usize..20,
        values in 1_i32..4,
        metric in prop::sample::select(METRICS.to_vec()),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let dim = 3;
        // Few distinct values: many rows are equal.
        let data: Vec<f32> = (0..n * dim).map(|_| rng.random_range(-values..=values) as f32).collect();
        let rows = VectorData::F32 { dim, data: &data };
        let index = build(&rows, None, metric);
        let query = QueryVector::F32((0..dim).map(|_| rng.random_range(-values..=values) as f32).collect());
        let mut bits = BitSet::new(n);
        (0..n).filter(|_| rng.random_bool(0.3)).for_each(|r| bits.set(r));
        for allow in [Allow::All, Allow::Bits(&bits)] {
            let exact = flat_search(&rows, &query, metric, allow, k, &Within::ALL, &Cancel::new()).unwrap();
            let got = index.search(&rows, &query, k, n, allow, &Within::ALL, &Cancel::new()).unwrap();
            prop_assert_eq!(got, exact);
            // A narrow walk finds as many, whichever they are.
            let got = index.search(&rows, &query, k, k, allow, &Within::ALL, &Cancel::new()).unwrap();
            let allowed = (0..n).filter(|&r| allow.allows(r)).count();
            prop_assert_eq!(got.len(), k.min(allowed));
        }
    }
}
