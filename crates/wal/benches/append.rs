//! Appends to the local log beside what the disk alone can do: how long a record waits to be durable,
//! and how group commit spreads the cost of a sync.
//!
//! Figures of different machines cannot be compared without the `fdatasync` line of each. The directory
//! is `TMPDIR`: make sure that it is on the disk in question.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holdfast_types::{ChannelId, Epoch, Lsn};
use holdfast_wal::{LocalWal, Wal, WalWriter, local::Options};

/// One block, written over and synced: the least that a durable append can cost on this disk.
fn raw_sync(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = File::create_new(dir.path().join("raw")).expect("a new file");
    let blocks = 4_096_u64;
    for block in 0..blocks {
        file.write_all_at(&[0; 4_096], block * 4_096).expect("room");
    }
    file.sync_all().expect("sync");
    let mut at = 0;
    c.bench_function("fdatasync/4KiB", |b| {
        b.iter(|| {
            file.write_all_at(&[7; 4_096], at % blocks * 4_096)
                .expect("write");
            file.sync_data().expect("sync");
            at += 1;
        });
    });
}

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let wal = LocalWal::open(dir.path(), Options::default()).expect("a log");
    let mut group = c.benchmark_group("append");
    for (id, (name, bytes)) in (1..).zip([("256B", 256), ("4KiB", 4 << 10), ("256KiB", 256 << 10)])
    {
        let channel = ChannelId(id);
        let (writer, _) = runtime
            .block_on(wal.open_writer(channel, Epoch(1)))
            .expect("a writer");
        let payload = Bytes::from(vec![7; bytes]);
        group.throughput(Throughput::Bytes(bytes as u64));
        for in_flight in [1, 16, 256] {
            group.bench_function(BenchmarkId::new(name, in_flight), |b| {
                b.iter_custom(|count| {
                    let took = runtime.block_on(run(&*writer, &payload, in_flight, count));
                    let end = runtime.block_on(wal.committed(channel)).expect("open");
                    runtime
                        .block_on(wal.trim(channel, Lsn(end.0 - 1)))
                        .expect("trim");
                    took
                });
            });
        }
    }
    group.finish();
}

/// `count` appends, `in_flight` of them under way at a time.
async fn run(writer: &dyn WalWriter, payload: &Bytes, in_flight: usize, count: u64) -> Duration {
    let started = Instant::now();
    let mut under_way = std::collections::VecDeque::new();
    for _ in 0..count {
        if under_way.len() == in_flight {
            let oldest: holdfast_wal::AppendDone = under_way.pop_front().expect("some");
            oldest.await.expect("append");
        }
        writer.ready().await;
        under_way.push_back(writer.append(payload.clone()).1);
    }
    for done in under_way {
        done.await.expect("append");
    }
    started.elapsed()
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = raw_sync, append
}
criterion_main!(benches);
