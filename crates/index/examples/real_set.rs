//! Builds, opens and searches an HNSW index over a real set, and prints recall beside every rate.
//!
//! `real_set BASE.npy QUERIES.npy [M] [EF_CONSTRUCTION]`: BASE is float16 or float32 rows, QUERIES float32
//! rows. Rows are widened to f32 and normalised; the ground truth is computed by exact search.

use std::{fs, hint::black_box, path::Path, time::Instant};

use bytes::Bytes;
use half::f16;
use holdfast_index::{
    Allow, BitSet, Cancel, FrozenHnsw, HnswParams, QueryVector, VectorData, Within, build_hnsw,
    flat_search,
};
use holdfast_types::Metric;
use rand::{Rng, SeedableRng, rngs::StdRng};

const K: usize = 10;

/// Rows of a two-dimensional little-endian float array, normalised.
fn read_npy(path: &Path) -> (Vec<f32>, usize) {
    let bytes = fs::read(path).expect("the file can be read");
    assert_eq!(&bytes[..6], b"\x93NUMPY", "not an npy file");
    assert_eq!(bytes[6], 1, "npy version 1");
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_end]).expect("the header is text");
    let shape = header
        .split('(')
        .nth(1)
        .and_then(|s| s.split(')').next())
        .expect("a shape");
    let dim = shape
        .split(',')
        .nth(1)
        .expect("two dimensions")
        .trim()
        .parse()
        .expect("a number");
    let body = &bytes[header_end..];
    let mut data: Vec<f32> = if header.contains("<f2") {
        body.as_chunks::<2>()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect()
    } else {
        assert!(header.contains("<f4"), "float16 or float32");
        body.as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    };
    for row in data.chunks_mut(dim) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    (data, dim)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default| {
        args.get(i)
            .map_or(default, |a| a.parse().expect("a number"))
    };
    let (base, dim) = read_npy(Path::new(&args[1]));
    let (queries, _) = read_npy(Path::new(&args[2]));
    let data = VectorData::F32 { dim, data: &base };
    let params = HnswParams {
        m: number(3, 16),
        ef_construction: number(4, 200),
    };
    let queries: Vec<QueryVector> = queries
        .chunks(dim)
        .map(|q| QueryVector::F32(q.to_vec()))
        .collect();
    let cancel = Cancel::new();

    let start = Instant::now();
    let bytes = build_hnsw(&data, None, Metric::Ip, params, &cancel).expect("the build succeeds");
    println!(
        "{} x {dim}: built in {:.1} s on {} threads, {:.1} MiB",
        data.len(),
        start.elapsed().as_secs_f64(),
        rayon::current_num_threads(),
        bytes.len() as f64 / 1048576.0
    );
    let bytes = Bytes::from(bytes);
    let start = Instant::now();
    let index = FrozenHnsw::open(bytes).expect("the file is good");
    println!(
        "opened in {:.1} ms, by codes: {}",
        start.elapsed().as_secs_f64() * 1e3,
        index.is_coded()
    );

    let mut rng = StdRng::seed_from_u64(1);
    for share in [1.0, 0.5, 0.1] {
        let mut bits = BitSet::new(data.len());
        (0..data.len())
            .filter(|_| rng.random_bool(share))
            .for_each(|row| bits.set(row));
        let allow = if share == 1.0 {
            Allow::All
        } else {
            Allow::Bits(&bits)
        };
        let start = Instant::now();
        let truth: Vec<Vec<u32>> = queries
            .iter()
            .map(|q| {
                let exact = flat_search(&data, q, Metric::Ip, allow, K, &Within::ALL, &cancel);
                exact
                    .expect("nobody cancels")
                    .iter()
                    .map(|hit| hit.row)
                    .collect()
            })
            .collect();
        let flat = queries.len() as f64 / start.elapsed().as_secs_f64();
        println!("filter passes {:3.0} %: exact {flat:.0} QPS", share * 100.0);
        for ef in [10, 16, 32, 64, 128, 256] {
            let mut best = f64::MAX;
            let mut found = 0;
            for _ in 0..3 {
                found = 0;
                let start = Instant::now();
                for (q, truth) in queries.iter().zip(&truth) {
                    let hits = index
                        .search(&data, q, K, ef, allow, &Within::ALL, &cancel)
                        .expect("nobody cancels");
                    found += black_box(hits)
                        .iter()
                        .filter(|hit| truth.contains(&hit.row))
                        .count();
                }
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!(
                "  ef {ef:3}: recall@{K} {:.4}, {:.0} QPS on one thread",
                found as f64 / (K * queries.len()) as f64,
                queries.len() as f64 / best
            );
        }
    }
}
