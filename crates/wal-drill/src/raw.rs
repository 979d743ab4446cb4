//! What the disk and the loopback can do without us.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

use crate::latency::Latencies;

const BLOCK: usize = 4 << 10;
/// Blocks of the file that is written over.
const BLOCKS: u64 = 4_096;
const SYNC_TIME: Duration = Duration::from_secs(3);
/// What a journal makes durable with one sync, at most.
const BATCH: usize = 4 << 20;
/// A journal's file.
const FILE: u64 = 256 << 20;
/// Journals that share the disk.
const WRITERS: usize = 3;
const WRITE_TIME: Duration = Duration::from_secs(4);
/// Time between two syncs beside something else: short against what it looks for, long against a sync.
const BESIDE: Duration = Duration::from_millis(2);
const ROUND_TRIPS: usize = 20_000;

/// The figures.
#[derive(Clone, Debug)]
pub struct Raw {
    /// One block written over and synced.
    pub sync: Latencies,
    /// One byte there and back.
    pub round_trip: Latencies,
    /// What one of three writers gets that write at the same time as a journal does: batches into a file that was filled
    /// with zeros before, a sync after each. One writer alone, one sync at the end, or a file that is in memory anyway
    /// would tell of something that no three journals on one disk can have.
    pub megabytes_per_second: f64,
    /// The same into blocks that are new to the file.
    pub fresh_megabytes_per_second: f64,
}

/// Measures for some seconds.
///
/// # Errors
/// The disk's, the network's.
pub fn measure(dir: &Path) -> anyhow::Result<Raw> {
    let fresh = writers(dir, Blocks::New)?;
    let over = writers(dir, Blocks::Zeroed)?;
    Ok(Raw {
        sync: sync_loop(dir)?,
        round_trip: round_trips()?,
        megabytes_per_second: over,
        fresh_megabytes_per_second: fresh,
    })
}

fn sync_loop(dir: &Path) -> anyhow::Result<Latencies> {
    let path = dir.join("raw-sync");
    let file = File::create_new(&path)?;
    for block in 0..BLOCKS {
        file.write_all_at(&[0; BLOCK], block * BLOCK as u64)?;
    }
    file.sync_all()?;
    let (mut took, begin) = (Vec::new(), Instant::now());
    while begin.elapsed() < SYNC_TIME {
        let began = Instant::now();
        let at = took.len() as u64 % BLOCKS * BLOCK as u64;
        file.write_all_at(&[7; BLOCK], at)?;
        file.sync_data()?;
        took.push((began, began.elapsed()));
    }
    std::fs::remove_file(path)?;
    let mut latencies = Latencies::default();
    latencies.extend(took);
    Ok(latencies)
}

#[derive(Clone, Copy, PartialEq)]
enum Blocks {
    New,
    Zeroed,
}

/// Megabytes a second of one of three writers.
fn writers(dir: &Path, blocks: Blocks) -> anyhow::Result<f64> {
    let mut files = Vec::new();
    for writer in 0..WRITERS {
        let path = dir.join(format!("raw-writer-{writer}"));
        let file = File::create_new(&path)?;
        if blocks == Blocks::Zeroed {
            let zeros = vec![0; BATCH];
            for at in (0..FILE).step_by(BATCH) {
                file.write_all_at(&zeros, at)?;
            }
            file.sync_all()?;
        }
        files.push((path, file));
    }
    let began = Instant::now();
    let written = thread::scope(|scope| {
        let write = |file| scope.spawn(move || write_batches(file, blocks, began + WRITE_TIME));
        let running: Vec<_> = files.iter().map(|(_, file)| write(file)).collect();
        let done = running.into_iter().map(|r| r.join().expect("no panic"));
        done.sum::<std::io::Result<u64>>()
    })?;
    let seconds = began.elapsed().as_secs_f64();
    for (path, _) in files {
        std::fs::remove_file(path)?;
    }
    Ok(written as f64 / WRITERS as f64 / seconds / 1e6)
}

fn write_batches(file: &File, blocks: Blocks, until: Instant) -> std::io::Result<u64> {
    let batch = vec![7; BATCH];
    let mut written = 0;
    while Instant::now() < until {
        let at = match blocks {
            Blocks::New => written,
            Blocks::Zeroed => written % FILE,
        };
        file.write_all_at(&batch, at)?;
        file.sync_data()?;
        written += BATCH as u64;
    }
    Ok(written)
}

/// Syncs a block now and then beside something else, so that a pause of the disk is known for one.
#[derive(Debug)]
pub struct Beside {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<std::io::Result<Latencies>>,
}

impl Beside {
    /// Begins.
    ///
    /// # Errors
    /// The disk's.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("raw-beside");
        let file = File::create(&path)?;
        file.write_all_at(&[0; BLOCK], 0)?;
        file.sync_all()?;
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut took = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let began = Instant::now();
                file.write_all_at(&[7; BLOCK], 0)?;
                file.sync_data()?;
                took.push((began, began.elapsed()));
                thread::park_timeout(BESIDE);
            }
            std::fs::remove_file(path)?;
            let mut latencies = Latencies::default();
            latencies.extend(took);
            Ok(latencies)
        });
        Ok(Self { stop, thread })
    }

    /// Ends. What the syncs took.
    ///
    /// # Errors
    /// The disk's.
    pub fn stop(self) -> anyhow::Result<Latencies> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().expect("it does not panic")?)
    }
}

fn round_trips() -> anyhow::Result<Latencies> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            stream.write_all(&byte)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut took = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let began = Instant::now();
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        took.push((began, began.elapsed()));
    }
    drop(stream);
    echo.join().expect("the echo does not panic")?;
    let mut latencies = Latencies::default();
    latencies.extend(took);
    Ok(latencies)
}
