//! What the disk and the loopback can do without us.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::Duration,
};

use tokio::time::Instant;

use crate::latency::Latencies;

const BLOCK: usize = 4 << 10;
/// Blocks of the file that is written over.
const BLOCKS: u64 = 4_096;
const SYNC_TIME: Duration = Duration::from_secs(3);
const CHUNK: usize = 4 << 20;
/// Bytes that are written in order.
const SEQUENTIAL: u64 = 1 << 30;
const ROUND_TRIPS: usize = 20_000;

/// The figures.
#[derive(Clone, Debug)]
pub struct Raw {
    /// One block written over and synced.
    pub sync: Latencies,
    /// One byte there and back.
    pub round_trip: Latencies,
    /// Writing over a file in order, and syncing it at the end.
    pub megabytes_per_second: f64,
    /// The same when the file is made: some disks, virtual ones above all, are far slower at blocks that are new to them.
    pub fresh_megabytes_per_second: f64,
}

/// Measures for some seconds.
///
/// # Errors
/// The disk's, the network's.
pub fn measure(dir: &Path) -> anyhow::Result<Raw> {
    let (fresh, over) = sequential(dir)?;
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

/// Rates of making a file, and of writing over it.
fn sequential(dir: &Path) -> anyhow::Result<(f64, f64)> {
    let path = dir.join("raw-sequential");
    let file = File::create_new(&path)?;
    let chunk = vec![7; CHUNK];
    let pass = || -> anyhow::Result<f64> {
        let began = Instant::now();
        for at in (0..SEQUENTIAL).step_by(CHUNK) {
            file.write_all_at(&chunk, at)?;
        }
        file.sync_data()?;
        Ok(SEQUENTIAL as f64 / began.elapsed().as_secs_f64() / 1e6)
    };
    let fresh = pass()?;
    let over = pass()?.max(pass()?);
    std::fs::remove_file(path)?;
    Ok((fresh, over))
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
