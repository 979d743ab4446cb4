//! Tests of `sparse`.

use std::ops::Bound;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{BitSet, QueryVector, file::damage, flat_search};

struct Column {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Column {
    fn new(rows: &[Vec<(u32, f32)>]) -> Self {
        let mut column = Self {
            offsets: vec![0],
            bytes: Vec::new(),
        };
        for row in rows {
            for (index, value) in row {
                column.bytes.extend(index.to_le_bytes());
                column.bytes.extend(value.to_le_bytes());
            }
            column.offsets.push(column.bytes.len() as i32);
        }
        column
    }

    fn rows(&self) -> SparseRows<'_> {
        SparseRows::new(&self.offsets, &self.bytes).unwrap()
    }
}

fn random_row(rng: &mut StdRng, entries: usize) -> Vec<(u32, f32)> {
    let mut dims: Vec<u32> = (0..entries).map(|_| rng.random_range(0..200)).collect();
    dims.sort_unstable();
    dims.dedup();
    dims.into_iter()
        .map(|d| (d, rng.random_range(-0.3..1.0)))
        .collect()
}

#[test]
fn lists_answer_exactly_what_a_scan_answers() {
    let mut rng = StdRng::seed_from_u64(11);
    let rows: Vec<_> = (0..400)
        .map(|_| {
            let n = rng.random_range(0..20);
            random_row(&mut rng, n)
        })
        .collect();
    let column = Column::new(&rows);
    let data = VectorData::Sparse(column.rows());
    let index = FrozenSparse::open(
        build_sparse(&column.rows(), None, &Cancel::new())
            .unwrap()
            .into(),
    )
    .unwrap();
    let mut some = BitSet::new(400);
    (0..400).filter(|r| r % 3 == 1).for_each(|r| some.set(r));
    for round in 0..60 {
        let query = random_row(&mut rng, round % 15);
        let wrapped = QueryVector::Sparse(query.clone());
        for allow in [Allow::All, Allow::Bits(&some)] {
            for within in [
                Within::ALL,
                Within {
                    from: Bound::Excluded(-0.8),
                    to: Bound::Included(-0.1),
                },
            ] {
                for k in [0, 1, 10, 1000] {
                    let exact = flat_search(
                        &data,
                        &wrapped,
                        Metric::Ip,
                        allow,
                        k,
                        &within,
                        &Cancel::new(),
                    )
                    .unwrap();
                    let got = index
                        .search(&data, &query, k, 0.0, allow, &within, &Cancel::new())
                        .unwrap();
                    assert_eq!(got, exact);
                }
            }
        }
    }
}

#[test]
fn dropped_entries_cost_recall_but_never_exactness() {
    let mut rng = StdRng::seed_from_u64(12);
    let rows: Vec<_> = (0..1000).map(|_| random_row(&mut rng, 30)).collect();
    let column = Column::new(&rows);
    let data = VectorData::Sparse(column.rows());
    let index = FrozenSparse::open(
        build_sparse(&column.rows(), None, &Cancel::new())
            .unwrap()
            .into(),
    )
    .unwrap();
    let mut kept = 0;
    for _ in 0..50 {
        let query = random_row(&mut rng, 30);
        let wrapped = QueryVector::Sparse(query.clone());
        let all = flat_search(
            &data,
            &wrapped,
            Metric::Ip,
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
                0.2,
                Allow::All,
                &Within::ALL,
                &Cancel::new(),
            )
            .unwrap();
        assert!(
            got.iter().all(|hit| all.contains(hit)),
            "distances are exact"
        );
        kept += got.iter().filter(|hit| all[..10].contains(hit)).count();
    }
    assert!(kept >= 490, "{kept} of 500");
}

#[test]
fn null_rows_are_mapped_and_nothing_is_found_in_nothing() {
    let column = Column::new(&[vec![(1, 1.0)], vec![(1, 2.0)]]);
    let data = VectorData::Sparse(column.rows());
    let bytes = build_sparse(&column.rows(), Some(&[4, 9]), &Cancel::new()).unwrap();
    let index = FrozenSparse::open(bytes.into()).unwrap();
    let mut allow = BitSet::new(10);
    allow.set(9);
    let search = |allow| {
        index
            .search(
                &data,
                &[(1, 1.0)],
                5,
                0.5,
                allow,
                &Within::ALL,
                &Cancel::new(),
            )
            .unwrap()
    };
    assert_eq!(
        search(Allow::All),
        [
            Neighbor {
                row: 9,
                distance: -2.0
            },
            Neighbor {
                row: 4,
                distance: -1.0
            }
        ]
    );
    assert_eq!(
        search(Allow::Bits(&allow)),
        [Neighbor {
            row: 9,
            distance: -2.0
        }]
    );
    assert!(build_sparse(&column.rows(), Some(&[4]), &Cancel::new()).is_err());

    let empty = Column::new(&[]);
    let index = FrozenSparse::open(
        build_sparse(&empty.rows(), None, &Cancel::new())
            .unwrap()
            .into(),
    )
    .unwrap();
    let none = index.search(
        &VectorData::Sparse(empty.rows()),
        &[(1, 1.0)],
        5,
        0.0,
        Allow::All,
        &Within::ALL,
        &Cancel::new(),
    );
    assert!(none.unwrap().is_empty() && index.is_empty());
}

#[test]
fn damage_is_refused() {
    let column = Column::new(&[vec![(1, 1.0), (7, 2.0)], vec![(7, 2.0)]]);
    let good = build_sparse(&column.rows(), Some(&[0, 5]), &Cancel::new()).unwrap();
    damage::is_refused(&good, FrozenSparse::open);
    let set = |tag, at: usize, value: u32| {
        let bad = damage::forge(&good, Kind::Sparse, tag, |b| {
            b[at * 4..][..4].copy_from_slice(&value.to_le_bytes());
        });
        FrozenSparse::open(bad).unwrap_err().to_string()
    };
    assert!(set(tag::POSTING_ROWS, 2, 2).contains("section list rows"));
    assert!(set(tag::OFFSETS, 1, 9).contains("descend"));
    assert!(set(tag::OFFSETS, 2, 2).contains("end at 3"));
    assert!(set(tag::DIMS, 1, 1).contains("ascend"));
    assert!(set(tag::META, 0, 3).contains("section rows"));
    assert!(set(tag::META, 1, 2).contains("flag"));
}
