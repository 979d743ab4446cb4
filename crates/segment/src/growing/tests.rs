//! Tests of `growing`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use holdfast_index::Cancel;
use holdfast_types::{CollectionSchema, DataType, Lsn, Metric, Pk, PkList, RowIdx, Timestamp};

use super::*;
use crate::{
    QuerySpec,
    fixture::{
        ID, field, growing, hit_ids, ints_of, query_spec, rows, schema_of, search_spec, vector,
    },
};

fn plain() -> Arc<CollectionSchema> {
    schema_of(vec![
        field(ID.0, "id", DataType::Int64),
        field(101, "n", DataType::Int64),
        vector(120, "v", DataType::FloatVector, 8),
    ])
}

fn put(segment: &GrowingSegment, keys: &[i64], ts: u64) {
    let batch = rows(segment.schema(), keys, ts);
    segment.append(&batch, Timestamp(ts), Lsn(ts)).unwrap();
}

fn remove(segment: &GrowingSegment, keys: &[i64], ts: u64) -> usize {
    segment.delete(&PkList::Int(keys.to_vec()), Timestamp(ts))
}

fn ids_at(segment: &GrowingSegment, at: u64) -> Vec<i64> {
    let spec = QuerySpec {
        at: Timestamp(at),
        ..query_spec()
    };
    ints_of(&segment.query(&spec, &Cancel::new()).unwrap())
}

#[test]
fn every_stamp_sees_its_own_rows() {
    let segment = growing(&plain(), 1);
    put(&segment, &[3, 1], 10);
    put(&segment, &[2], 20);
    assert_eq!(remove(&segment, &[1, 9], 30), 1);
    // An upsert: the insert and the delete of the old row, at one stamp.
    put(&segment, &[2], 40);
    assert_eq!(remove(&segment, &[2], 40), 1);
    for (at, ids) in [
        (9, vec![]),
        (10, vec![1, 3]),
        (20, vec![1, 2, 3]),
        (29, vec![1, 2, 3]),
        (30, vec![2, 3]),
        (40, vec![2, 3]),
        (u64::MAX, vec![2, 3]),
    ] {
        assert_eq!(ids_at(&segment, at), ids, "at {at}");
    }
    assert!(segment.contains(&Pk::Int(2)) && !segment.contains(&Pk::Int(1)));
    assert_eq!(
        (segment.len(), segment.deleted(), segment.lsn()),
        (4, 2, Lsn(40))
    );
    assert_eq!(segment.ts_range(), Some((Timestamp(10), Timestamp(40))));
}

#[test]
fn deletes_are_idempotent_and_the_earliest_counts() {
    let segment = growing(&plain(), 1);
    put(&segment, &[1], 10);
    assert_eq!(remove(&segment, &[1], 30), 1);
    assert_eq!(remove(&segment, &[1], 30), 0);
    assert_eq!(remove(&segment, &[1], 40), 0);
    assert_eq!(remove(&segment, &[1], 20), 0);
    assert_eq!(
        remove(&segment, &[1], 10),
        0,
        "a delete does not hit rows of its own stamp"
    );
    assert_eq!(ids_at(&segment, 19), [1]);
    assert_eq!(ids_at(&segment, 20), [0; 0]);
}

#[test]
fn the_last_of_equal_keys_in_one_batch_is_the_row() {
    let segment = growing(&plain(), 1);
    put(&segment, &[5, 6, 5, 5], 10);
    assert_eq!(ids_at(&segment, 10), [5, 6]);
    let found = segment.query(&query_spec(), &Cancel::new()).unwrap();
    assert_eq!(found.len(), 2);
    let hits = segment
        .search(
            &search_spec(segment.schema().field("v").unwrap(), Metric::L2, 9),
            &Cancel::new(),
        )
        .unwrap();
    let mut hit_rows: Vec<u32> = hits[0].iter().map(|hit| hit.row.row.0).collect();
    hit_rows.sort_unstable();
    assert_eq!(hit_rows, [1, 3]);
}

#[test]
fn rows_written_one_by_one_end_up_in_few_chunks_and_all_bytes_are_counted() {
    let segment = growing(&plain(), 1);
    let mut last = 0;
    for i in 0..1_000 {
        put(&segment, &[i], 10 + i as u64);
        assert!(
            segment.bytes() > last / 2,
            "bytes only shrink by what merging saves"
        );
        last = segment.bytes();
    }
    assert!(
        segment.snapshot().len() <= 11,
        "{} chunks",
        segment.snapshot().len()
    );
    // $ts, id and n are 8 bytes each, the delete stamp 8, the vector 32.
    let data: usize = segment.snapshot().iter().map(|chunk| chunk.bytes()).sum();
    assert!((64_000..66_000).contains(&data), "{data}");
    assert!(segment.bytes() > data + 1_000 * 12);
    assert_eq!(ids_at(&segment, 500).len(), 491);
}

#[test]
fn hits_point_at_rows_that_fetch_returns_in_any_order() {
    let segment = growing(&plain(), 7);
    for i in 0..100 {
        put(&segment, &[i], 10 + i as u64);
    }
    let field = segment.schema().field("v").unwrap().clone();
    let hits = &segment
        .search(&search_spec(&field, Metric::Cosine, 10), &Cancel::new())
        .unwrap()[0];
    assert_eq!(hits.len(), 10);
    assert!(
        hits.windows(2)
            .all(|pair| pair[0].distance <= pair[1].distance)
    );
    let addresses: Vec<RowIdx> = hits.iter().map(|hit| hit.row.row).collect();
    let batch = segment.fetch(&addresses, &[ID, field.id]).unwrap();
    let fetched = crate::Rows { batch };
    assert_eq!(ints_of(&fetched), hit_ids(hits));
    segment.fetch(&[RowIdx(100)], &[ID]).unwrap_err();
    assert_eq!(segment.fetch(&[], &[field.id]).unwrap().num_rows(), 0);
}

#[test]
fn readers_see_a_fixed_stamp_while_the_writer_goes_on() {
    let segment = Arc::new(growing(&plain(), 1));
    let applied = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    // At stamp t (a multiple of 10) the keys are t - 100 .. t, ten of them, each once.
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (segment, applied, done) = (segment.clone(), applied.clone(), done.clone());
            std::thread::spawn(move || {
                let mut reads = 0;
                while !done.load(SeqCst) || reads == 0 {
                    let at = applied.load(SeqCst);
                    let expect: Vec<i64> = (1..=at as i64 / 10)
                        .map(|i| i * 10)
                        .filter(|k| *k > at as i64 - 100)
                        .collect();
                    assert_eq!(ids_at(&segment, at), expect, "at {at}");
                    reads += 1;
                }
            })
        })
        .collect();
    for i in 1..=400_i64 {
        let ts = i as u64 * 10;
        put(&segment, &[i * 10], ts);
        remove(&segment, &[i * 10 - 100], ts);
        applied.store(ts, SeqCst);
    }
    done.store(true, SeqCst);
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn rows_that_do_not_fit_the_schema_are_refused_and_nothing_is_added() {
    let segment = growing(&plain(), 1);
    let other = schema_of(vec![
        field(ID.0, "id", DataType::Int64),
        field(101, "n", DataType::VarChar),
        vector(120, "v", DataType::FloatVector, 8),
    ]);
    let batch = rows(&other, &[1], 1);
    segment.append(&batch, Timestamp(1), Lsn(1)).unwrap_err();
    assert!(segment.is_empty());
}

/// A field that was added while its segment grew was unknown to every read until the segment was flushed.
#[test]
fn fields_added_later_are_read_from_older_rows() {
    let segment = growing(&plain(), 1);
    put(&segment, &[1, 2], 10);
    let mut younger = CollectionSchema::clone(&plain());
    younger.version += 1;
    let mut number = field(130, "later", DataType::Int64);
    number.default = Some(holdfast_types::Value::Int(7));
    let mut vector = vector(131, "w", DataType::FloatVector, 4);
    (number.nullable, vector.nullable) = (true, true);
    younger.fields.extend([number.clone(), vector.clone()]);
    let younger = Arc::new(younger);
    let fetch = || segment.fetch(&[RowIdx(1)], &[number.id, vector.id]);
    assert!(fetch().is_err(), "nobody told it");
    segment.show_schema(&younger);
    segment.show_schema(&plain());
    let fetched = fetch().unwrap();
    let numbers = holdfast_types::columns::column(&fetched, number.id).unwrap();
    assert_eq!(
        arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(numbers).value(0),
        7
    );
    let vectors = holdfast_types::columns::column(&fetched, vector.id).unwrap();
    assert!(arrow_array::Array::is_null(&**vectors, 0));
    let hits = segment
        .search(&search_spec(&vector, Metric::L2, 9), &Cancel::new())
        .unwrap();
    assert!(hit_ids(&hits[0]).is_empty());
}
