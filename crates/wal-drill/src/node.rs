//! One log-node as a process, and what can be done to it and to its disk.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
};

use anyhow::{Context, bail, ensure};
use rand::{Rng, rngs::StdRng};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    cluster::{PATIENCE, program},
    network::Namespace,
};

/// Bytes of a node's small disk.
const SMALL_DISK: u64 = 768 << 20;

/// Where a node stands.
#[derive(Debug)]
pub struct Place {
    /// Its number.
    pub index: usize,
    /// The directory of all nodes.
    pub dir: PathBuf,
    /// Where etcd is, seen from there.
    pub etcd: String,
    /// On a small disk of its own.
    pub small_disk: bool,
    /// Bytes of one file of its journal.
    pub journal_file_bytes: u64,
    /// Object storage, which all nodes share.
    pub objects: PathBuf,
    /// Its network, where it has one of its own.
    pub namespace: Option<Namespace>,
}

/// One log-node. Its process is killed when this is dropped.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    place: Place,
    data: PathBuf,
    /// What it says.
    pub(crate) log: PathBuf,
    process: Option<Child>,
    mount: Option<Mount>,
    /// Where it tells its metrics.
    http: Option<String>,
}

/// A file system in memory. Unmounted when dropped.
#[derive(Debug)]
struct Mount(PathBuf);

impl Mount {
    fn make(at: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        let size = format!("size={SMALL_DISK}");
        let done = Blocking::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "mount: {said}");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = Blocking::new("umount").arg("-l").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            tracing::warn!(at = %self.0.display(), "a mount is left over");
        }
    }
}

impl Node {
    /// A node that does not run yet.
    ///
    /// # Errors
    /// There is no small disk.
    pub fn prepare(place: Place) -> anyhow::Result<Self> {
        let data = place.dir.join(format!("node-{}", place.index));
        let mount = place.small_disk.then(|| Mount::make(&data)).transpose()?;
        Ok(Self {
            name: format!("log-{}", place.index),
            log: place.dir.join(format!("node-{}.log", place.index)),
            place,
            data,
            process: None,
            mount,
            http: None,
        })
    }

    /// Its network, where it has one of its own.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        self.place.namespace.as_ref()
    }

    /// Where it tells its metrics.
    #[must_use]
    pub fn http(&self) -> Option<&str> {
        self.http.as_deref()
    }

    fn command(&self, program: &Path) -> Command {
        let zone = format!("zone-{}", self.place.index % 3);
        let (mut command, address) = match self.namespace() {
            None => (Command::new(program), "127.0.0.1:0".to_owned()),
            Some(namespace) => {
                let [first, rest @ ..] = namespace.prefix();
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                (command, format!("{}:19540", namespace.inside))
            }
        };
        command
            .args(["server", "--roles", "log-node"])
            .args(["--node", &self.name, "--zone", &zone])
            .args(["--etcd", &self.place.etcd])
            .args(["--log-node-address", &address])
            .args(["--http-address", "127.0.0.1:0", "--data-dir"])
            .arg(&self.data)
            .env_remove("HOLDFAST_BIN")
            .env_remove("HOLDFAST_ETCD")
            .env("HOLDFAST_OBJECTS__DIR", &self.place.objects)
            // Patient enough for the faults, and quick enough for the next one.
            .env("HOLDFAST_KEEPER__LOOK_EVERY", "500ms")
            .env("HOLDFAST_KEEPER__LOSS_GRACE", "5s")
            .env("HOLDFAST_KEEPER__UPLOAD_PATIENCE", "5s")
            .env("HOLDFAST_KEEPER__STORE_RETRY", "2s")
            .env("HOLDFAST_KEEPER__LOCAL_AGE", "10s")
            .env("HOLDFAST_KEEPER__GARBAGE_EVERY", "5s")
            .env("HOLDFAST_KEEPER__GARBAGE_GRACE", "5s")
            .env("HOLDFAST_KEEPER__SCRUB_EVERY", "20s")
            .env(
                "HOLDFAST_LOG_NODE__JOURNAL__FILE_BYTES",
                self.place.journal_file_bytes.to_string(),
            );
        if self.mount.is_none() {
            // The machine's disk may be nearly full; only small disks are filled on purpose.
            command
                .env("HOLDFAST_LOG_NODE__LITTLE_PERCENT", "0")
                .env("HOLDFAST_LOG_NODE__FULL_PERCENT", "0")
                .env("HOLDFAST_LOG_NODE__JOURNAL__RESERVE_PERCENT", "0");
        }
        command
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or is not ready in time.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let program = program()?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut child = self
            .command(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let stdout = child.stdout.take().context("stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("holdfast ready") {
                    return Ok::<_, io::Error>(Some(line));
                }
            }
            Ok(None)
        };
        match timeout(PATIENCE, ready).await {
            Ok(Ok(Some(line))) => {
                let http = line.split(' ').find_map(|word| word.strip_prefix("http="));
                self.http = http.map(str::to_owned);
                self.process = Some(child);
                Ok(())
            }
            Ok(_) => {
                let status = child.wait().await?;
                bail!("{} ended with {status}: {}", self.name, self.last_words())
            }
            Err(_) => bail!("{} is not ready: {}", self.name, self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// How the process ended, if it did so by itself.
    ///
    /// # Errors
    /// The system's.
    pub fn ended(&mut self) -> anyhow::Result<Option<String>> {
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        let Some(status) = process.try_wait()? else {
            return Ok(None);
        };
        self.process = None;
        let (name, said) = (&self.name, self.last_words());
        Ok(Some(format!("{name} ended with {status}: {said}")))
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    ///
    /// # Errors
    /// The system's.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// The system's.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.process.as_ref().and_then(Child::id);
        let id = i32::try_from(id.context("it does not run")?)?;
        Ok(kill_process(
            Pid::from_raw(id).context("a process id")?,
            signal,
        )?)
    }

    /// Takes everything from the disk of a node that does not run.
    ///
    /// # Errors
    /// The disk's.
    pub fn wipe(&self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "{} runs", self.name);
        for entry in fs::read_dir(&self.data)? {
            let path = entry?.path();
            match path.is_dir() {
                true => fs::remove_dir_all(path)?,
                false => fs::remove_file(path)?,
            }
        }
        Ok(())
    }

    /// Turns bits over in the journal of a node that does not run. Returns where.
    ///
    /// # Errors
    /// The disk's.
    pub fn flip(&self, rng: &mut StdRng, bytes: usize) -> anyhow::Result<Vec<String>> {
        ensure!(self.process.is_none(), "{} runs", self.name);
        let mut files = Vec::new();
        for entry in fs::read_dir(self.data.join("journal"))? {
            let entry = entry?;
            let len = entry.metadata()?.len();
            if entry.file_type()?.is_file() && len > 0 {
                files.push((entry.path(), len));
            }
        }
        ensure!(!files.is_empty(), "{} has no journal", self.name);
        // Directories have no order; the seed decides.
        files.sort();
        let all: u64 = files.iter().map(|(_, len)| len).sum();
        let mut flipped = Vec::new();
        for _ in 0..bytes {
            // Each byte is as likely as any other, so that small files mostly stay whole.
            let mut at = rng.random_range(0..all);
            let mut hit = files.iter();
            let path = loop {
                let (path, len) = hit.next().expect("a position below the sum is in a file");
                match at.checked_sub(*len) {
                    Some(beyond) => at = beyond,
                    None => break path,
                }
            };
            let file = File::options().read(true).write(true).open(path)?;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            byte[0] ^= 1 << rng.random_range(0..8);
            file.write_all_at(&byte, at)?;
            flipped.push(format!("{}@{at}", path.display()));
        }
        Ok(flipped)
    }

    /// Whether its disk can be filled without harm to others.
    #[must_use]
    pub fn has_small_disk(&self) -> bool {
        self.mount.is_some()
    }

    /// Fills the small disk, but for so many bytes.
    ///
    /// # Errors
    /// It has none, or the disk's.
    pub fn fill(&self, but_for: u64) -> anyhow::Result<()> {
        ensure!(self.mount.is_some(), "{} has no disk of its own", self.name);
        let file = File::create(self.data.join("filler"))?;
        let chunk = vec![0x55; 64 << 10];
        let mut at = 0;
        loop {
            match file.write_at(&chunk, at) {
                Ok(written) => at += written as u64,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(file.set_len(at.saturating_sub(but_for))?)
    }

    /// Makes room again.
    ///
    /// # Errors
    /// The disk's.
    pub fn empty(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.data.join("filler"))?)
    }
}
