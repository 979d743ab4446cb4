//! Tests of `record`.

use std::sync::Arc;

use arrow_array::{FixedSizeListArray, Float32Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;

fn rows(ids: &[i64]) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false)
            .with_metadata([("holdfast.field_id".to_owned(), "100".to_owned())]),
        Field::new("title", DataType::Utf8, true),
        Field::new("vector", DataType::FixedSizeList(item.clone(), 2), false),
    ]);
    let titles = ids.iter().map(|i| (i % 3 != 0).then(|| format!("t{i}")));
    let floats = ids.iter().flat_map(|&i| [i as f32, -(i as f32)]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int64Array::from(ids.to_vec())),
            Arc::new(titles.collect::<StringArray>()),
            Arc::new(FixedSizeListArray::new(
                item,
                2,
                Arc::new(Float32Array::from_iter_values(floats)),
                None,
            )),
        ],
    )
    .unwrap()
}

fn write() -> Record {
    Record::Write(WriteRecord {
        ts: Timestamp(77),
        collection: CollectionId(5),
        request: Some((0, 9)),
        parts: vec![
            RecordPart {
                shard: 1,
                partition: PartitionId(3),
                rows: Some(rows(&[1, 2, 3])),
                deletes: Some(PkList::Int(vec![1, 2, 3])),
                delete_partition: None,
            },
            RecordPart {
                shard: 2,
                partition: PartitionId(3),
                rows: None,
                deletes: Some(PkList::Str(vec!["a".into(), "".into()])),
                delete_partition: Some(PartitionId(0)),
            },
        ],
    })
}

#[test]
fn every_kind_of_record_survives_the_round_trip() {
    let (ts, collection, partition) = (Timestamp(9), CollectionId(-1), PartitionId(4));
    let records = [
        write(),
        Record::Truncate { ts, collection },
        Record::DropPartition {
            ts,
            collection,
            partition,
        },
        Record::DropCollection { ts, collection },
    ];
    for record in records {
        let decoded = Record::decode(record.encode().unwrap()).unwrap();
        assert_eq!(decoded, record);
    }
}

#[test]
fn a_batch_without_rows_and_a_part_without_rows_stay_different() {
    let Record::Write(mut record) = write() else {
        unreachable!()
    };
    record.parts[0].rows = Some(rows(&[]));
    let record = Record::Write(record);
    assert_eq!(Record::decode(record.encode().unwrap()).unwrap(), record);
}

#[test]
fn an_empty_message_and_a_cut_one_are_refused() {
    assert!(matches!(
        Record::decode(Bytes::new()),
        Err(RecordError::UnknownKind)
    ));
    let bytes = write().encode().unwrap();
    for cut in 1..bytes.len() {
        assert!(Record::decode(bytes.slice(..cut)).is_err(), "cut at {cut}");
    }
}

#[test]
fn two_batches_in_one_part_are_refused() {
    let batch = rows(&[1]);
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch).unwrap();
    let stream = Bytes::from(writer.into_inner().unwrap());
    assert!(matches!(
        decode_rows(0, stream.clone()),
        Err(RecordError::NotOneBatch {
            problem: "more than one batch",
            ..
        })
    ));
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(at in 0_usize..4_096, with in any::<u8>()) {
        let mut bytes = write().encode().unwrap().to_vec();
        let at = at % bytes.len();
        bytes[at] = with;
        // Without a checksum damage inside a value cannot be seen; what matters is that it answers.
        drop(Record::decode(bytes.into()));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        drop(decode_rows(0, bytes.clone().into()));
        drop(Record::decode(bytes.into()));
    }
}
