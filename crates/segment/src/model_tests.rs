//! Random writes against a list of rows: growing, sealed and merged segments answer alike at every stamp.

use std::sync::Arc;

use holdfast_index::Cancel;
use holdfast_types::{
    CollectionSchema, DataType, Lsn, Metric, Pk, PkList, Timestamp, time::visible,
};
use proptest::prelude::*;

use crate::{
    GrowingSegment, Hit, QuerySpec, SealedSegment, SearchSpec,
    fixture::{
        ID, field, growing, keys_of, number, open, pk, predicate, query_spec, rows, schema_of,
        search_spec, vector,
    },
    merge, merge_hits, merge_rows,
};

#[derive(Clone, Debug)]
enum Op {
    /// Rows of these keys, replacing what is there.
    Write(Vec<i64>),
    Delete(Vec<i64>),
    /// The growing segment becomes a sealed one.
    Seal,
    /// All sealed segments become one; what was deleted before this share of time is dropped.
    Merge(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let keys = || prop::collection::vec(0_i64..12, 1..6);
    prop_oneof![
        5 => keys().prop_map(Op::Write),
        2 => keys().prop_map(Op::Delete),
        1 => Just(Op::Seal),
        1 => (0_u64..4).prop_map(Op::Merge),
    ]
}

/// A row as the model has it. Its content depends on key and stamp.
#[derive(Debug)]
struct Row {
    key: i64,
    ts: u64,
    deleted: Option<u64>,
}

struct World {
    schema: Arc<CollectionSchema>,
    model: Vec<Row>,
    growing: GrowingSegment,
    sealed: Vec<Arc<SealedSegment>>,
    next_segment: i64,
    now: u64,
    /// Reads before this stamp are no longer answered.
    floor: u64,
}

impl World {
    fn new(key_type: DataType) -> Self {
        let schema = schema_of(vec![
            field(ID.0, "id", key_type),
            field(101, "n", DataType::Int64),
            vector(120, "v", DataType::FloatVector, 3),
        ]);
        Self {
            growing: growing(&schema, 0),
            schema,
            model: Vec::new(),
            sealed: Vec::new(),
            next_segment: 1,
            now: 10,
            floor: 0,
        }
    }

    fn keys(&self, keys: &[i64]) -> PkList {
        match self.schema.primary().data_type {
            DataType::Int64 => PkList::Int(keys.to_vec()),
            _ => PkList::Str(
                keys.iter()
                    .map(|k| crate::fixture::text_key(*k).into())
                    .collect(),
            ),
        }
    }

    fn delete(&mut self, keys: &[i64]) {
        for row in &mut self.model {
            if keys.contains(&row.key) && row.ts < self.now && row.deleted.is_none() {
                row.deleted = Some(self.now);
            }
        }
        let keys = self.keys(keys);
        self.growing.delete(&keys, Timestamp(self.now));
        for segment in &self.sealed {
            segment.delete(&keys, Timestamp(self.now));
            // Replay delivers deletes twice.
            segment.delete(&keys, Timestamp(self.now));
        }
    }

    fn apply(&mut self, op: &Op) {
        self.now += 2;
        match op {
            Op::Write(keys) => {
                let batch = rows(&self.schema, keys, self.now);
                self.growing
                    .append(&batch, Timestamp(self.now), Lsn(self.now))
                    .unwrap();
                self.delete(keys);
                for (i, key) in keys.iter().enumerate() {
                    if !keys[i + 1..].contains(key) {
                        self.model.push(Row {
                            key: *key,
                            ts: self.now,
                            deleted: None,
                        });
                    }
                }
            }
            Op::Delete(keys) => self.delete(keys),
            Op::Seal => {
                let files = self.growing.seal(&Cancel::new()).unwrap();
                if files.stats.is_some() {
                    self.sealed
                        .push(open(&self.schema, self.next_segment, files));
                }
                self.growing = growing(&self.schema, self.next_segment + 1);
                self.next_segment += 2;
            }
            Op::Merge(share) => {
                let drop_before = self.now * share / 4;
                let files = merge(
                    &self.sealed,
                    Timestamp(drop_before),
                    &self.schema,
                    None,
                    &Cancel::new(),
                )
                .unwrap();
                self.sealed.clear();
                if files.stats.is_some() {
                    self.sealed
                        .push(open(&self.schema, self.next_segment, files));
                }
                self.next_segment += 1;
                self.floor = self.floor.max(drop_before);
            }
        }
    }

    fn check(&self, at: u64, ttl_before: Option<u64>, filter: Option<i64>) {
        let mut expect: Vec<(Pk, u64)> = self
            .model
            .iter()
            .filter(|row| {
                visible(Timestamp(row.ts), row.deleted.map(Timestamp), Timestamp(at))
                    && ttl_before.is_none_or(|expired| row.ts > expired)
                    && filter
                        .is_none_or(|below| ((number(row.ts, row.key, 101) % 10) as i64) < below)
            })
            .map(|row| (pk(&self.schema, row.key), row.ts))
            .collect();
        expect.sort();
        let filter = filter.map(|below| predicate(&self.schema, &format!("n < {below}")));
        let query = QuerySpec {
            filter: filter.clone(),
            at: Timestamp(at),
            ttl_before: ttl_before.map(Timestamp),
            ..query_spec()
        };
        let cancel = Cancel::new();
        let mut count = self.growing.count(&query, &cancel).unwrap();
        let mut parts = vec![self.growing.query(&query, &cancel).unwrap()];
        for segment in &self.sealed {
            count += segment.count(&query, &cancel).unwrap();
            parts.push(segment.query(&query, &cancel).unwrap());
        }
        let found = merge_rows(parts, None).unwrap();
        let keys: Vec<Pk> = expect.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys_of(&found), keys, "query at {at}");
        assert_eq!(count, expect.len() as u64, "count at {at}");
        let stamps = crate::table::stamps(&found.batch).unwrap();
        let stamps: Vec<u64> = stamps.values().to_vec();
        assert_eq!(stamps, expect.iter().map(|e| e.1).collect::<Vec<_>>());

        let search = |top_k: usize| -> Vec<Hit> {
            let spec = SearchSpec {
                filter: filter.clone(),
                at: Timestamp(at),
                ttl_before: ttl_before.map(Timestamp),
                ..search_spec(self.schema.field("v").unwrap(), Metric::L2, top_k)
            };
            let mut parts = self.growing.search(&spec, &cancel).unwrap();
            for segment in &self.sealed {
                parts.extend(segment.search(&spec, &cancel).unwrap());
            }
            merge_hits(parts, top_k, None)
        };
        let all = search(1_000);
        let mut found: Vec<(Pk, u64)> = all.iter().map(|h| (h.pk.clone(), h.ts.0)).collect();
        found.sort();
        assert_eq!(found, expect, "search at {at}");
        let best: Vec<f32> = search(3).iter().map(|h| h.distance).collect();
        let expect: Vec<f32> = all.iter().take(3).map(|h| h.distance).collect();
        assert_eq!(best, expect, "top 3 at {at}");
    }
}

fn run(key_type: DataType, ops: &[Op]) {
    let mut world = World::new(key_type);
    for op in ops {
        world.apply(op);
    }
    for at in (world.floor..=world.now + 1).chain([u64::MAX]) {
        world.check(at, None, None);
    }
    world.check(world.now, None, Some(5));
    world.check(world.now, Some(world.now / 2), None);
    world.check(world.floor, Some(world.floor / 2), Some(7));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_121),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_of_integer_keys_reads_the_same_everywhere(
        ops in prop::collection::vec(op(), 1..30)
    ) {
        run(DataType::Int64, &ops);
    }

    #[test]
    fn any_history_of_text_keys_reads_the_same_everywhere(
        ops in prop::collection::vec(op(), 1..30)
    ) {
        run(DataType::VarChar, &ops);
    }
}
