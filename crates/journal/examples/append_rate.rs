//! Appends to a journal beside what the disk alone can do, in one run: a raw loop of write and `fdatasync`, a raw
//! sequential write, then appends of several sizes with 1, 16 and 256 of them under way;
//! at last a start, and a look at every byte.
//!
//! `cargo run --release -p holdfast-journal --example append_rate -- DIRECTORY [SECONDS]`; the directory is on the
//! disk in question. Figures of different machines cannot be compared without the raw lines of each.

use std::{
    collections::VecDeque,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use holdfast_journal::{Completion, Journal, JournalThread, Options, Owner};
use holdfast_qlog::{Copies, Entry, NodeRecord, SegmentOpen, messages::ClusterId};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

const RAW_FILE: u64 = 64 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().map(PathBuf::from).expect("a directory");
    let seconds = arguments.next().map_or(2, |s| s.parse().expect("seconds"));
    let time = Duration::from_secs(seconds);
    let dir = root.join(format!("append-rate-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the directory can be made");
    println!(
        "{:<28}{:>10}{:>10}{:>10}{:>10}{:>12}",
        "", "p50 ms", "p99 ms", "max ms", "MB/s", "appends/s"
    );
    raw(&dir, time);
    let options = Options {
        file_bytes: 128 << 20,
        queue_bytes_max: 256 << 20,
        ..Options::default()
    };
    let owner = Owner::new(ClusterId([0; 16]));
    let (mut journal, _) = Journal::open_real(&dir.join("journal"), &owner, &options).expect("new");
    for log in 1..=10 {
        let open = SegmentOpen {
            epoch: Epoch(1),
            first: Lsn(1),
            copies: Copies {
                holders: Vec::new(),
                quorum: 0,
                zones: 0,
            },
        };
        let segment = LogSegment(1);
        let log = ChannelId(log);
        let record = NodeRecord::SegmentOpen { log, segment, open };
        journal.append(&[record]).expect("room");
    }
    journal.prepare().expect("room");
    let thread = JournalThread::start(journal).expect("a thread");
    let mut log = 0;
    for (name, bytes) in [("256 B", 256), ("4 KiB", 4 << 10), ("256 KiB", 256 << 10)] {
        for in_flight in [1, 16, 256] {
            log += 1;
            let mut run = Run::new(format!("append {name}, {in_flight} under way"));
            appends(&thread, ChannelId(log), bytes, in_flight, time, &mut run);
            run.print(bytes);
            let (log, segment) = (ChannelId(log), LogSegment(1));
            let trim = NodeRecord::Trim { log, segment };
            thread.submit(vec![trim]).wait().expect("trim");
        }
    }
    let mut run = Run::new("append 16 KiB, 256 under way".to_owned());
    appends(&thread, ChannelId(10), 16 << 10, 256, time, &mut run);
    run.print(16 << 10);
    drop(thread);
    let begun = Instant::now();
    let (journal, _) = Journal::open_real(&dir.join("journal"), &owner, &options).expect("whole");
    let files = journal.inspect().expect("open").files.len();
    println!("start with {files} files: {:?}", begun.elapsed());
    let begun = Instant::now();
    let report = journal.verify().expect("open");
    println!("verify {} MB: {:?}", report.bytes >> 20, begun.elapsed());
    assert_eq!(report.damage, []);
    drop(journal);
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

/// What the disk does by itself.
fn raw(dir: &Path, time: Duration) {
    let file = File::create_new(dir.join("raw")).expect("a new file");
    let zeros = vec![0; 1 << 20];
    for at in (0..RAW_FILE).step_by(1 << 20) {
        file.write_all_at(&zeros, at).expect("room");
    }
    file.sync_all().expect("sync");
    let block = vec![7; 4 << 20];
    for (name, len) in [
        ("fdatasync after 4 KiB", 4 << 10),
        ("fdatasync after 4 MiB", 4 << 20),
    ] {
        let mut run = Run::new(name.to_owned());
        let mut at = 0;
        while run.started.elapsed() < time {
            let begun = Instant::now();
            file.write_all_at(&block[..len], at).expect("write");
            file.sync_data().expect("sync");
            run.took.push(begun.elapsed());
            at = (at + len as u64) % RAW_FILE;
        }
        run.print(len);
    }
}

fn appends(
    thread: &JournalThread,
    log: ChannelId,
    bytes: usize,
    in_flight: usize,
    time: Duration,
    run: &mut Run,
) {
    let payload = Bytes::from(vec![7; bytes]);
    let mut under_way: VecDeque<(Instant, Completion)> = VecDeque::new();
    let mut lsn = 0;
    while run.started.elapsed() < time {
        if under_way.len() == in_flight {
            run.finish(under_way.pop_front());
        }
        lsn += 1;
        let entry = Entry::new(log, Lsn(lsn), Timestamp(lsn), None, payload.clone());
        let record = NodeRecord::Append {
            log,
            segment: LogSegment(1),
            epoch: Epoch(1),
            committed: Lsn(lsn - 1),
            entry,
        };
        under_way.push_back((Instant::now(), thread.submit(vec![record])));
    }
    while !under_way.is_empty() {
        run.finish(under_way.pop_front());
    }
}

struct Run {
    name: String,
    started: Instant,
    took: Vec<Duration>,
}

impl Run {
    fn new(name: String) -> Self {
        Self {
            name,
            started: Instant::now(),
            took: Vec::new(),
        }
    }

    fn finish(&mut self, oldest: Option<(Instant, Completion)>) {
        let (begun, completion) = oldest.expect("one is under way");
        completion.wait().expect("append");
        self.took.push(begun.elapsed());
    }

    fn print(&mut self, bytes: usize) {
        let elapsed = self.started.elapsed().as_secs_f64();
        self.took.sort_unstable();
        let at = |share: f64| {
            let last = self.took.len() - 1;
            self.took[(last as f64 * share) as usize].as_secs_f64() * 1e3
        };
        let count = self.took.len() as f64;
        println!(
            "{:<28}{:>10.3}{:>10.3}{:>10.3}{:>10.1}{:>12.0}",
            self.name,
            at(0.5),
            at(0.99),
            at(1.0),
            count * bytes as f64 / elapsed / 1e6,
            count / elapsed
        );
    }
}
