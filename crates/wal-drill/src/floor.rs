//! What any log with a process for each of three copies pays on this machine: a message over the loopback to three
//! processes that write a block, sync it and answer; done when two have.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::OwnedWriteHalf,
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

use crate::latency::Latencies;

/// The word on the command line that makes a process of this program one of the three.
pub const WORD: &str = "floor-node";

const NODES: usize = 3;
const QUORUM: usize = 2;
const MESSAGE: usize = 256;
const BLOCK: usize = 4 << 10;
/// Blocks of the file that is written over.
const BLOCKS: u64 = 4_096;
const TIME: Duration = Duration::from_secs(3);

/// One of the three: says its port, serves one client, ends with it.
///
/// # Errors
/// The disk's, the network's.
pub fn serve(path: &Path) -> anyhow::Result<()> {
    let file = File::create_new(path)?;
    for block in 0..BLOCKS {
        file.write_all_at(&[0; BLOCK], block * BLOCK as u64)?;
    }
    file.sync_all()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
    let (mut stream, _): (TcpStream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut block = [0; BLOCK];
    for at in (0..BLOCKS).cycle() {
        if stream.read_exact(&mut block[..MESSAGE]).is_err() {
            break;
        }
        file.write_all_at(&block, at * BLOCK as u64)?;
        file.sync_data()?;
        if stream.write_all(&[1]).is_err() {
            // The client does not wait for the third answer to its last message.
            break;
        }
    }
    Ok(std::fs::remove_file(path)?)
}

/// One message at a time, for some seconds.
///
/// # Errors
/// A process does not start, or ends.
pub async fn measure(dir: &Path) -> anyhow::Result<Latencies> {
    let (answered, mut answers) = mpsc::channel(2 * NODES);
    let (mut nodes, mut readers) = (Vec::new(), JoinSet::new());
    for node in 0..NODES {
        let (child, port) = start(&dir.join(format!("floor-{node}")))?;
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (mut read, write) = stream.into_split();
        let answered = answered.clone();
        readers.spawn(async move {
            for round in 0_u64.. {
                if read.read_u8().await.is_err() || answered.send(round).await.is_err() {
                    return;
                }
            }
        });
        nodes.push((child, write));
    }
    drop(answered);
    let (mut took, begin) = (Vec::new(), Instant::now());
    while begin.elapsed() < TIME {
        let round = took.len() as u64;
        let began = Instant::now();
        for (_, write) in &mut nodes {
            write.write_all(&[7; MESSAGE]).await?;
        }
        let mut missing = QUORUM;
        while missing > 0 {
            // The third answers late, as a third log-node does.
            let of = answers
                .recv()
                .await
                .context("a process of the floor ended")?;
            missing -= usize::from(of == round);
        }
        took.push((began, began.elapsed()));
    }
    stop(nodes)?;
    let mut latencies = Latencies::default();
    latencies.extend(took);
    Ok(latencies)
}

fn start(path: &Path) -> anyhow::Result<(Child, u16)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(WORD)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok((child, line.trim().parse().context("a port")?))
}

fn stop(nodes: Vec<(Child, OwnedWriteHalf)>) -> anyhow::Result<()> {
    for (mut child, write) in nodes {
        // The process reads the end of its stream.
        drop(write);
        child.wait()?;
    }
    Ok(())
}
