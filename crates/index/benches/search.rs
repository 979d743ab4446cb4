//! Exact search and the frozen graph against hnsw_rs's own search, with recall beside time.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use half::f16;
use hnsw_rs::{anndists::dist::DistL2, hnsw::Hnsw};
use holdfast_index::{
    Allow, BitSet, Cancel, FrozenHnsw, HnswParams, Neighbor, QueryVector, VectorData, Within,
    build_hnsw, flat_search,
};
use holdfast_types::Metric;
use rand::{Rng, SeedableRng, rngs::StdRng};

const K: usize = 10;

/// Points around 200 centres.
fn clustered(rng: &mut StdRng, n: usize, dim: usize) -> Vec<f32> {
    let centres: Vec<f32> = (0..200 * dim)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    let mut data = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let centre = rng.random_range(0..200) * dim;
        data.extend((0..dim).map(|i| centres[centre + i] + rng.random_range(-0.5..0.5_f32)));
    }
    data
}

fn flat(
    data: &VectorData<'_>,
    query: &QueryVector,
    metric: Metric,
    allow: Allow<'_>,
) -> Vec<Neighbor> {
    flat_search(data, query, metric, allow, K, &Within::ALL, &Cancel::new())
        .expect("nobody cancels")
}

/// `scan/<metric>/<type>/<dim>`: 1,000 rows, so a time is 1,000 distances.
fn scans(c: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut group = c.benchmark_group("scan");
    for dim in [128, 768] {
        let wide = clustered(&mut rng, 1001, dim);
        let halves: Vec<f16> = wide.iter().map(|&x| f16::from_f32(x)).collect();
        let bytes: Vec<i8> = wide.iter().map(|&x| (x * 80.0) as i8).collect();
        let cases = [
            (
                "f32",
                VectorData::F32 {
                    dim,
                    data: &wide[dim..],
                },
                QueryVector::F32(wide[..dim].to_vec()),
            ),
            (
                "f16",
                VectorData::F16 {
                    dim,
                    data: &halves[dim..],
                },
                QueryVector::F16(halves[..dim].to_vec()),
            ),
            (
                "i8",
                VectorData::I8 {
                    dim,
                    data: &bytes[dim..],
                },
                QueryVector::I8(bytes[..dim].to_vec()),
            ),
        ];
        for (name, data, query) in &cases {
            for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
                let id = BenchmarkId::new(format!("{metric}/{name}"), dim);
                group.bench_function(id, |b| {
                    b.iter(|| flat(data, black_box(query), metric, Allow::All));
                });
            }
        }
    }
    group.finish();
}

fn graphs(c: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(2);
    let (n, dim) = (10_000, 96);
    let base = clustered(&mut rng, n + 100, dim);
    let (queries, base) = base.split_at(100 * dim);
    let data = VectorData::F32 { dim, data: base };
    let params = HnswParams {
        m: 16,
        ef_construction: 100,
    };
    let bytes =
        build_hnsw(&data, None, Metric::L2, params, &Cancel::new()).expect("the build succeeds");
    let index = FrozenHnsw::open(Bytes::from(bytes)).expect("the file is good");
    let rows: Vec<Vec<f32>> = base.chunks(dim).map(<[f32]>::to_vec).collect();
    let graph = Hnsw::<f32, DistL2>::new(16, n, 16, 100, DistL2 {});
    graph.parallel_insert(&rows.iter().zip(0..).collect::<Vec<_>>());
    let mut half = BitSet::new(n);
    (0..n).step_by(2).for_each(|row| half.set(row));

    let queries: Vec<QueryVector> = queries
        .chunks(dim)
        .map(|q| QueryVector::F32(q.to_vec()))
        .collect();
    let mut group = c.benchmark_group("hnsw");
    for (filter, allow) in [("all", Allow::All), ("half", Allow::Bits(&half))] {
        let truth: Vec<Vec<Neighbor>> = queries
            .iter()
            .map(|q| flat(&data, q, Metric::L2, allow))
            .collect();
        for ef in [32, 128] {
            let search = |q: &QueryVector| {
                index
                    .search(&data, q, K, ef, allow, &Within::ALL, &Cancel::new())
                    .expect("nobody cancels")
            };
            let found: usize = queries
                .iter()
                .zip(&truth)
                .map(|(q, truth)| search(q).iter().filter(|hit| truth.contains(hit)).count())
                .sum();
            println!(
                "hnsw/frozen/{filter}/{ef}: recall@{K} {:.3}",
                found as f64 / (K * queries.len()) as f64
            );
            group.bench_function(BenchmarkId::new(format!("frozen/{filter}"), ef), |b| {
                b.iter(|| {
                    queries
                        .iter()
                        .map(|q| search(black_box(q)).len())
                        .sum::<usize>()
                });
            });
        }
        if filter == "half" {
            continue;
        }
        for ef in [32, 128] {
            let search = |q: &QueryVector| {
                let QueryVector::F32(q) = q else {
                    unreachable!("queries are f32")
                };
                graph.search(q, K, ef)
            };
            let found: usize = queries
                .iter()
                .zip(&truth)
                .map(|(q, truth)| {
                    let rows: Vec<u32> = truth.iter().map(|hit| hit.row).collect();
                    search(q)
                        .iter()
                        .filter(|hit| rows.contains(&(hit.d_id as u32)))
                        .count()
                })
                .sum();
            println!(
                "hnsw/hnsw_rs/{filter}/{ef}: recall@{K} {:.3}",
                found as f64 / (K * queries.len()) as f64
            );
            group.bench_function(BenchmarkId::new(format!("hnsw_rs/{filter}"), ef), |b| {
                b.iter(|| {
                    queries
                        .iter()
                        .map(|q| search(black_box(q)).len())
                        .sum::<usize>()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, scans, graphs);
criterion_main!(benches);
