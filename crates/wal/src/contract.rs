//! What every [`Wal`] owes its callers, as tests. An implementation calls [`run`] with a way to open
//! the same stored log again; each clause uses a channel of its own.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use holdfast_types::{ChannelId, Epoch, Lsn};

use crate::wal::{AppendError, TailStream, Wal, WalEntry, WalError, WalWriter};

/// Longest time that anything may take here; only a failing run waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs all clauses. `open` opens the stored logs; it is called again after the previous one was
/// dropped, and must then show what was durable.
///
/// # Panics
/// When a clause is broken.
pub async fn run<W: Wal>(open: impl AsyncFn() -> W) {
    let wal = open().await;
    an_empty_log_ends_at_zero(&wal).await;
    lsns_are_dense_in_call_order(&wal).await;
    an_older_epoch_is_fenced(&wal).await;
    an_epoch_is_taken_once(&wal).await;
    a_tail_sees_everything_in_order(&wal).await;
    channels_do_not_mix(&wal).await;
    a_reader_ahead_of_the_log_is_told(&wal).await;
    trimmed_records_are_named_as_such(&wal).await;
    what_is_acknowledged_survives(wal, open).await;
}

async fn an_empty_log_ends_at_zero(wal: &impl Wal) {
    let channel = ChannelId(1);
    assert_eq!(wal.committed(channel).await.expect("committed"), Lsn(0));
    let (_writer, last) = writer(wal, channel, 1).await;
    assert_eq!(last, Lsn(0));
}

async fn lsns_are_dense_in_call_order(wal: &impl Wal) {
    let (writer, _) = writer(wal, ChannelId(2), 1).await;
    let appends: Vec<_> = (1..=100).map(|i| writer.append(payload(i))).collect();
    for (expected, (lsn, done)) in (1..).zip(appends) {
        assert_eq!(lsn, Lsn(expected));
        assert_eq!(patiently(done).await.expect("append"), lsn);
    }
    assert_eq!(
        wal.committed(ChannelId(2)).await.expect("committed"),
        Lsn(100)
    );
}

async fn an_older_epoch_is_fenced(wal: &impl Wal) {
    let channel = ChannelId(3);
    let (old, _) = writer(wal, channel, 1).await;
    append(&*old, 1).await;
    let (new, last) = writer(wal, channel, 5).await;
    assert_eq!(last, Lsn(1));
    let refused = patiently(old.append(payload(2)).1).await;
    assert!(
        matches!(refused, Err(AppendError::Fenced { newer: Epoch(5) })),
        "{refused:?}"
    );
    assert_eq!(append(&*new, 2).await, Lsn(2));
}

async fn an_epoch_is_taken_once(wal: &impl Wal) {
    let channel = ChannelId(4);
    let (_writer, _) = writer(wal, channel, 7).await;
    for epoch in [6, 7] {
        let refused = wal.open_writer(channel, Epoch(epoch)).await;
        assert!(
            matches!(refused, Err(WalError::Fenced { newer: Epoch(7) })),
            "epoch {epoch}"
        );
    }
}

async fn a_tail_sees_everything_in_order(wal: &impl Wal) {
    let channel = ChannelId(5);
    let (writer, _) = writer(wal, channel, 3).await;
    let mut from_before = wal.tail(channel, Lsn(0)).await.expect("tail");
    for i in 1..=10 {
        append(&*writer, i).await;
    }
    let mut from_middle = wal.tail(channel, Lsn(6)).await.expect("tail");
    for i in 11..=20 {
        append(&*writer, i).await;
    }
    for i in 1..=20 {
        expect_entry(&mut from_before, i, 3).await;
    }
    for i in 6..=20 {
        expect_entry(&mut from_middle, i, 3).await;
    }
    let next = tokio::spawn(async move { from_middle.next().await });
    append(&*writer, 21).await;
    let woken = patiently(next).await.expect("task").expect("entry");
    assert_eq!(woken.expect("entry").lsn, Lsn(21));
}

async fn channels_do_not_mix(wal: &impl Wal) {
    let (a, _) = writer(wal, ChannelId(6), 1).await;
    let (b, _) = writer(wal, ChannelId(7), 1).await;
    append(&*a, 1).await;
    append(&*b, 77).await;
    append(&*a, 2).await;
    assert_eq!(
        wal.committed(ChannelId(6)).await.expect("committed"),
        Lsn(2)
    );
    let mut tail = wal.tail(ChannelId(7), Lsn(1)).await.expect("tail");
    let entry = patiently(tail.next()).await.expect("entry").expect("entry");
    assert_eq!((entry.lsn, entry.payload), (Lsn(1), payload(77)));
}

async fn a_reader_ahead_of_the_log_is_told(wal: &impl Wal) {
    let channel = ChannelId(8);
    let (writer, _) = writer(wal, channel, 1).await;
    append(&*writer, 1).await;
    assert!(
        wal.tail(channel, Lsn(2)).await.is_ok(),
        "the next record may be waited for"
    );
    let ahead = wal.tail(channel, Lsn(3)).await.err();
    assert!(
        matches!(
            ahead,
            Some(WalError::BeyondEnd {
                from: Lsn(3),
                last: Lsn(1)
            })
        ),
        "{ahead:?}"
    );
}

async fn trimmed_records_are_named_as_such(wal: &impl Wal) {
    let channel = ChannelId(9);
    let (writer, _) = writer(wal, channel, 1).await;
    // Large enough that any implementation with files of a test's size has several.
    let bulk = Bytes::from(vec![7; 40_000]);
    for _ in 0..20 {
        patiently(writer.append(bulk.clone()).1)
            .await
            .expect("append");
    }
    wal.trim(channel, Lsn(15)).await.expect("trim");
    let mut kept = wal.tail(channel, Lsn(16)).await.expect("untrimmed");
    let entry = patiently(kept.next()).await.expect("entry").expect("entry");
    assert_eq!(entry.lsn, Lsn(16));
    match wal.tail(channel, Lsn(1)).await {
        Ok(_) => {} // An implementation may keep what it is allowed to forget.
        Err(WalError::Trimmed { first }) => {
            assert!(first <= Lsn(16), "{first} was not to be trimmed");
            assert!(wal.tail(channel, first).await.is_ok());
        }
        Err(other) => panic!("{other}"),
    }
    assert_eq!(append(&*writer, 21).await, Lsn(21));
}

async fn what_is_acknowledged_survives<W: Wal>(wal: W, open: impl AsyncFn() -> W) {
    let channel = ChannelId(10);
    let (writer_1, _) = writer(&wal, channel, 1).await;
    for i in 1..=30 {
        append(&*writer_1, i).await;
    }
    drop((writer_1, wal));
    let wal = open().await;
    assert_eq!(wal.committed(channel).await.expect("committed"), Lsn(30));
    let refused = wal.open_writer(channel, Epoch(1)).await;
    assert!(matches!(refused, Err(WalError::Fenced { newer: Epoch(1) })));
    let (writer_2, last) = writer(&wal, channel, 2).await;
    assert_eq!(last, Lsn(30));
    append(&*writer_2, 31).await;
    let mut tail = wal.tail(channel, Lsn(1)).await.expect("tail");
    for i in 1..=31 {
        expect_entry(&mut tail, i, if i <= 30 { 1 } else { 2 }).await;
    }
}

async fn writer(wal: &impl Wal, channel: ChannelId, epoch: u64) -> (Box<dyn WalWriter>, Lsn) {
    let opened = wal.open_writer(channel, Epoch(epoch)).await;
    opened.unwrap_or_else(|e| panic!("open_writer: {e}"))
}

async fn append(writer: &dyn WalWriter, i: u64) -> Lsn {
    patiently(writer.ready()).await;
    patiently(writer.append(payload(i)).1)
        .await
        .expect("append")
}

async fn expect_entry(tail: &mut TailStream, i: u64, epoch: u64) {
    let entry = patiently(tail.next()).await.expect("the stream goes on");
    let expected = WalEntry {
        lsn: Lsn(i),
        epoch: Epoch(epoch),
        payload: payload(i),
    };
    assert_eq!(entry.expect("entry"), expected);
}

fn payload(i: u64) -> Bytes {
    Bytes::from(format!("record {i}"))
}

async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened")
}
