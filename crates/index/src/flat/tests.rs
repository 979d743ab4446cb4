//! Tests of `flat`.

use std::ops::Bound;

use half::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{BitSet, SparseRows};

fn brute(
    n: usize,
    allow: Allow<'_>,
    k: usize,
    within: &Within,
    d: impl Fn(usize) -> f32,
) -> Vec<Neighbor> {
    let mut all: Vec<Neighbor> = (0..n)
        .filter(|&row| allow.allows(row))
        .map(|row| Neighbor {
            row: row as u32,
            distance: d(row),
        })
        .filter(|hit| within.contains(hit.distance))
        .collect();
    all.sort();
    all.truncate(k);
    all
}

#[test]
fn small_integers_give_the_exact_answer_in_every_type() {
    let mut rng = StdRng::seed_from_u64(1);
    let (n, dim) = (200, 24);
    let ints: Vec<i8> = (0..n * dim).map(|_| rng.random_range(-8..=8)).collect();
    let q: Vec<i8> = (0..dim).map(|_| rng.random_range(-8..=8)).collect();
    let f: Vec<f32> = ints.iter().map(|&x| f32::from(x)).collect();
    let h: Vec<f16> = ints.iter().map(|&x| f16::from_f32(f32::from(x))).collect();
    let b: Vec<bf16> = ints.iter().map(|&x| bf16::from_f32(f32::from(x))).collect();
    let cases = [
        (
            VectorData::F32 { dim, data: &f },
            QueryVector::F32(q.iter().map(|&x| f32::from(x)).collect()),
        ),
        (
            VectorData::F16 { dim, data: &h },
            QueryVector::F16(q.iter().map(|&x| f16::from_f32(f32::from(x))).collect()),
        ),
        (
            VectorData::Bf16 { dim, data: &b },
            QueryVector::Bf16(q.iter().map(|&x| bf16::from_f32(f32::from(x))).collect()),
        ),
        (
            VectorData::I8 { dim, data: &ints },
            QueryVector::I8(q.clone()),
        ),
    ];
    let mut allow = BitSet::new(n);
    (0..n).filter(|r| r % 3 != 0).for_each(|r| allow.set(r));
    for (data, query) in &cases {
        for metric in [Metric::L2, Metric::Ip] {
            let exact = |row: usize| -> f32 {
                let pairs = q.iter().zip(&ints[row * dim..]);
                let sum: i32 = match metric {
                    Metric::L2 => pairs
                        .map(|(&a, &b)| (i32::from(a) - i32::from(b)).pow(2))
                        .sum(),
                    _ => pairs.map(|(&a, &b)| -i32::from(a) * i32::from(b)).sum(),
                };
                sum as f32
            };
            let ring = Within {
                from: Bound::Excluded(exact(7)),
                to: Bound::Unbounded,
            };
            for allow in [Allow::All, Allow::Bits(&allow)] {
                for within in [Within::ALL, ring] {
                    for k in [0, 1, 10, 1000] {
                        let got =
                            flat_search(data, query, metric, allow, k, &within, &Cancel::new())
                                .unwrap();
                        assert_eq!(
                            got,
                            brute(n, allow, k, &within, exact),
                            "{:?} {metric}",
                            data.data_type()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn bits_are_counted() {
    let data = VectorData::Binary {
        dim: 16,
        data: &[0, 0, 0xff, 0x0f, 1, 0],
    };
    let query = QueryVector::Binary(vec![0x0f, 0]);
    let search = |metric| {
        flat_search(
            &data,
            &query,
            metric,
            Allow::All,
            9,
            &Within::ALL,
            &Cancel::new(),
        )
        .unwrap()
        .iter()
        .map(|h| (h.row, h.distance))
        .collect::<Vec<_>>()
    };
    assert_eq!(search(Metric::Hamming), [(2, 3.0), (0, 4.0), (1, 8.0)]);
    assert_eq!(
        search(Metric::Jaccard),
        [(1, (1.0_f64 - 4.0 / 12.0) as f32), (2, 0.75), (0, 1.0)]
    );
    let zero = QueryVector::Binary(vec![0, 0]);
    let hit = flat_search(
        &data,
        &zero,
        Metric::Jaccard,
        Allow::All,
        1,
        &Within::ALL,
        &Cancel::new(),
    );
    assert_eq!(
        hit.unwrap(),
        [Neighbor {
            row: 0,
            distance: 0.0
        }]
    );
}

#[test]
fn sparse_rows_that_share_nothing_are_no_hits() {
    let mut bytes = Vec::new();
    for (i, v) in [(1_u32, 2.0_f32), (9, 1.0), (3, 5.0), (9, -4.0)] {
        bytes.extend(i.to_le_bytes());
        bytes.extend(v.to_le_bytes());
    }
    let rows = SparseRows::new(&[0, 16, 24, 24, 32], &bytes).unwrap();
    let query = QueryVector::Sparse(vec![(1, 1.0), (9, 0.5)]);
    let got = flat_search(
        &VectorData::Sparse(rows),
        &query,
        Metric::Ip,
        Allow::All,
        9,
        &Within::ALL,
        &Cancel::new(),
    );
    let hit = |row, distance| Neighbor { row, distance };
    assert_eq!(got.unwrap(), [hit(0, -2.5), hit(3, 2.0)]);
    assert!(SparseRows::new(&[0, 7], &bytes).is_err());
    assert!(SparseRows::new(&[0, 40], &bytes).is_err());
    assert!(SparseRows::new(&[8, 0], &bytes).is_err());
    assert!(SparseRows::new(&[-8, 0], &bytes).is_err());
}

#[test]
fn a_raised_flag_stops_the_scan() {
    let cancel = Cancel::new();
    cancel.clone().cancel();
    let data = VectorData::F32 {
        dim: 2,
        data: &[0.0; 8],
    };
    let query = QueryVector::F32(vec![0.0; 2]);
    let got = flat_search(
        &data,
        &query,
        Metric::L2,
        Allow::All,
        1,
        &Within::ALL,
        &cancel,
    );
    assert_eq!(got, Err(Cancelled));
}

#[test]
fn zero_vectors_have_cosine_zero() {
    let data = VectorData::F32 {
        dim: 2,
        data: &[0.0, 0.0, 1.0, 0.0, -1.0, 0.0],
    };
    let search = |q: Vec<f32>| {
        flat_search(
            &data,
            &QueryVector::F32(q),
            Metric::Cosine,
            Allow::All,
            3,
            &Within::ALL,
            &Cancel::new(),
        )
        .unwrap()
        .iter()
        .map(|h| (h.row, h.distance))
        .collect::<Vec<_>>()
    };
    assert_eq!(search(vec![2.0, 0.0]), [(1, -1.0), (0, 0.0), (2, 1.0)]);
    assert_eq!(search(vec![0.0, 0.0]), [(0, 0.0), (1, 0.0), (2, 0.0)]);
}
