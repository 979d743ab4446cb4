//! Round trips, golden bytes, damage.

use holdfast_types::CollectionId;
use proptest::prelude::*;

use super::*;

fn covered() -> Covered {
    Covered {
        shard: ShardId {
            collection: CollectionId(7),
            index: 1,
        },
        first: Lsn(5),
        last: Lsn(9),
        epoch: Epoch(2),
        attempt: 0,
    }
}

fn path() -> ObjectPath {
    paths::delete_log(covered().shard, Lsn(5), Lsn(9), Epoch(2), 0)
}

fn text(keys: &[&str]) -> DeleteLog {
    let stamps = (10..).take(keys.len()).map(Timestamp).collect();
    DeleteLog::new(
        PkList::Str(keys.iter().map(|k| (*k).into()).collect()),
        stamps,
    )
}

fn logs() -> impl Strategy<Value = DeleteLog> {
    let ints = prop::collection::vec((any::<i64>(), any::<u64>()), 0..50).prop_map(|pairs| {
        let (keys, stamps): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        DeleteLog::new(
            PkList::Int(keys),
            stamps.into_iter().map(Timestamp).collect(),
        )
    });
    let texts = prop::collection::vec((".{0,9}", any::<u64>()), 0..50).prop_map(|pairs| {
        let (keys, stamps): (Vec<String>, Vec<_>) = pairs.into_iter().unzip();
        DeleteLog::new(
            PkList::Str(keys.into_iter().map(Into::into).collect()),
            stamps.into_iter().map(Timestamp).collect(),
        )
    });
    prop_oneof![ints, texts]
}

/// A payload that was never written, in a valid envelope.
fn forged(payload: &[u8]) -> Result<DeleteLog, StorageError> {
    decode(&path(), &envelope::seal(MAGIC, FORMAT_VERSION, payload))
}

proptest! {
    #[test]
    fn a_log_survives(log in logs()) {
        prop_assert_eq!(decode(&path(), &encode(&log)).unwrap(), log);
    }

    #[test]
    fn no_payload_makes_it_panic(payload in prop::collection::vec(any::<u8>(), 0..80), kind in 0u8..4, count in 0u64..6) {
        let mut payload = payload;
        if let Some(head) = payload.get_mut(..FIXED_BYTES) {
            head.fill(0);
            head[0] = kind;
            head[8] = count as u8;
        }
        if let Ok(log) = forged(&payload) {
            prop_assert_eq!(log.len() as u64, count);
        }
    }
}

#[test]
fn the_bytes_are_those_of_version_1() {
    let ints = DeleteLog::new(PkList::Int(vec![-1, 7]), vec![Timestamp(3), Timestamp(4)]);
    let mut golden = b"HFDL\x01\0\0\0\x30\0\0\0\0\0\0\0".to_vec();
    let mut payload = vec![1, 0, 0, 0, 0, 0, 0, 0];
    for word in [2, 3, 4, u64::MAX, 7] {
        payload.extend_from_slice(&word.to_le_bytes());
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&golden), &payload);
    golden.extend_from_slice(&crc.to_le_bytes());
    golden.extend_from_slice(&payload);
    assert_eq!(encode(&ints), golden);

    let mut payload = vec![2, 0, 0, 0, 0, 0, 0, 0];
    for word in [3u64, 10, 11, 12, 1, 1, 4] {
        payload.extend_from_slice(&word.to_le_bytes());
    }
    payload.extend_from_slice("a\u{20ac}".as_bytes());
    assert_eq!(
        encode(&text(&["a", "", "\u{20ac}"]))[envelope::HEADER_BYTES..],
        payload
    );
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused_by_name() {
    let sealed = encode(&text(&["one", "two"]));
    for i in 0..sealed.len() {
        let mut damaged = sealed.to_vec();
        damaged[i] ^= 0x10;
        let error = decode(&path(), &damaged.into()).unwrap_err();
        assert!(error.to_string().contains(path().as_str()), "{error}");
        assert!(decode(&path(), &sealed.slice(..i)).is_err());
    }
}

#[test]
fn a_count_that_does_not_fit_is_refused_before_anything_is_allocated() {
    for count in [1, 1 << 60, 1 << 61, u64::MAX] {
        for kind in [INT, STR] {
            let mut payload = vec![kind, 0, 0, 0, 0, 0, 0, 0];
            payload.extend_from_slice(&u64::to_le_bytes(count));
            payload.extend_from_slice(&[0; 8]);
            let error = forged(&payload).unwrap_err();
            assert!(error.to_string().contains("do not fit"), "{error}");
        }
    }
}

#[test]
fn keys_that_overlap_leave_gaps_or_split_characters_are_refused() {
    let payload = |ends: [u64; 2], text: &[u8]| {
        let mut out = vec![STR, 0, 0, 0, 0, 0, 0, 0];
        for word in [2, 1, 1, ends[0], ends[1]] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(text);
        out
    };
    assert!(forged(&payload([1, 2], b"ab")).is_ok());
    for (ends, text) in [
        ([2, 1], &b"ab"[..]),
        ([1, 3], b"ab"),
        ([1, 1], b"ab"),
        ([u64::MAX, 2], b"ab"),
        ([1, 2], "\u{e9}".as_bytes()),
    ] {
        assert!(forged(&payload(ends, text)).is_err(), "{ends:?}");
    }
}

#[tokio::test]
async fn a_written_log_is_read_back_and_an_empty_one_is_not_written() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open_local(root.path()).unwrap();
    let log = text(&["k1", "k2", "k3"]);
    let entry = write(&store, covered(), &log).await.unwrap().unwrap();
    assert_eq!(
        (entry.min_ts, entry.max_ts, entry.count),
        (Timestamp(10), Timestamp(12), 3)
    );
    assert_eq!(read(&store, &entry).await.unwrap(), log);
    let other = DeleteLogEntry { count: 2, ..entry };
    let error = read(&store, &other).await.unwrap_err();
    assert!(error.to_string().contains("3 deletes, not 2"), "{error}");
    let nothing = Covered {
        attempt: 1,
        ..covered()
    };
    assert_eq!(write(&store, nothing, &text(&[])).await.unwrap(), None);
}
