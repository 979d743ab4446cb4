//! Real etcd members on this machine, to be killed, paused and started again by tests.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "only tests are compiled with this"
)]

use std::{
    env,
    fs::{self, File},
    future::Future,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use etcd_client::{Certificate, Client, CompactionOptions, ConnectOptions, Identity, TlsOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::{Options, Tls};

/// Longest wait for members to start, and for what tests expect of them. Generous: machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// The etcd program: what `HOLDFAST_ETCD` names, or the first `etcd` on the path.
#[must_use]
pub fn program() -> Option<PathBuf> {
    if let Some(named) = env::var_os("HOLDFAST_ETCD") {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "HOLDFAST_ETCD: {} is no file",
            named.display()
        );
        return Some(named);
    }
    on_path("etcd")
}

/// A program of the path.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Looks again and again until `look` finds something.
///
/// # Panics
/// When it has not within a minute.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(25)).await;
    }
}

/// How members are started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// How many.
    pub members: usize,
    /// Certificates: with them the members speak TLS to clients, and ask clients for a certificate.
    pub certificates: Option<Certificates>,
    /// More arguments for each.
    pub arguments: Vec<String>,
}

/// Certificates of members and clients, as PEM files. One serves both.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// Who signed.
    pub ca: PathBuf,
    /// The certificate, for `127.0.0.1` and `localhost`.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A cluster of real etcd processes. They are killed and their data is removed when this is dropped.
#[derive(Debug)]
pub struct EtcdCluster {
    setup: Setup,
    members: Vec<Member>,
    // Dropped after the processes are gone.
    dir: TempDir,
}

#[derive(Debug)]
struct Member {
    name: String,
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Member {
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may be gone already.
            drop(process.kill());
            drop(process.wait());
        }
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the member runs");
        kill_process(Pid::from_child(process), signal).unwrap();
    }
}

impl EtcdCluster {
    /// Starts members and waits until they have a leader.
    pub async fn start(members: usize) -> Self {
        Self::start_with(Setup {
            members,
            ..Setup::default()
        })
        .await
    }

    /// Starts members and waits until they have a leader.
    pub async fn start_with(setup: Setup) -> Self {
        // A port may be taken between choosing it and using it; then others are tried.
        for _ in 0..3 {
            let mut cluster = Self::prepare(setup.clone());
            for at in 0..setup.members {
                cluster.spawn(at);
            }
            if cluster.came_up().await {
                return cluster;
            }
            cluster.print_logs();
        }
        panic!("etcd does not start");
    }

    fn prepare(setup: Setup) -> Self {
        // Members preallocate their logs, and memory does it faster than a disk.
        let shared_memory = Path::new("/dev/shm");
        let dir = if shared_memory.is_dir() {
            tempfile::Builder::new()
                .prefix("holdfast-etcd-")
                .tempdir_in(shared_memory)
        } else {
            tempfile::tempdir()
        };
        let mut ports = free_ports(setup.members * 2).into_iter();
        let members = (0..setup.members)
            .map(|at| Member {
                name: format!("m{at}"),
                client_port: ports.next().unwrap(),
                peer_port: ports.next().unwrap(),
                process: None,
            })
            .collect();
        Self {
            setup,
            members,
            dir: dir.unwrap(),
        }
    }

    fn spawn(&mut self, at: usize) {
        let peers: Vec<String> = self
            .members
            .iter()
            .map(|m| format!("{}=http://127.0.0.1:{}", m.name, m.peer_port))
            .collect();
        let client = self.endpoint(at);
        let member = &self.members[at];
        let peer = format!("http://127.0.0.1:{}", member.peer_port);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file(at))
            .unwrap();
        let mut command = Command::new(program().expect("etcd is installed"));
        command
            .args(["--name", &member.name])
            .arg("--data-dir")
            .arg(self.dir.path().join(&member.name))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers.join(",")])
            .args(["--initial-cluster-token", &peer_token(&peers)])
            .args(["--logger", "zap", "--log-level", "warn"]);
        if let Some(Certificates { ca, cert, key }) = &self.setup.certificates {
            command
                .arg("--cert-file")
                .arg(cert)
                .arg("--key-file")
                .arg(key)
                .arg("--trusted-ca-file")
                .arg(ca)
                .arg("--client-cert-auth");
        }
        command.args(&self.setup.arguments);
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members[at].process = Some(process);
    }

    async fn came_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        for at in 0..self.members.len() {
            while self.serves(at).await.is_none() {
                let process = self.members[at].process.as_mut().unwrap();
                if process.try_wait().unwrap().is_some() || Instant::now() > deadline {
                    return false;
                }
                sleep(Duration::from_millis(25)).await;
            }
        }
        true
    }

    /// Some, once the member answers a read that all members agree on.
    async fn serves(&self, at: usize) -> Option<()> {
        let mut client = self.client(at).await?;
        client.get("ready", None).await.ok().map(|_| ())
    }

    fn log_file(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("m{at}.log"))
    }

    fn print_logs(&self) {
        for at in 0..self.members.len() {
            let log = fs::read_to_string(self.log_file(at)).unwrap_or_default();
            eprintln!("---- etcd member {at}\n{log}");
        }
    }

    /// A client of one member, without any of our own code in between.
    pub async fn client(&self, at: usize) -> Option<Client> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(1))
            .with_timeout(Duration::from_secs(5));
        if let Some(Certificates { ca, cert, key }) = &self.setup.certificates {
            let read = |path: &PathBuf| fs::read(path).unwrap();
            options = options.with_tls(
                TlsOptions::new()
                    .ca_certificate(Certificate::from_pem(read(ca)))
                    .identity(Identity::from_pem(read(cert), read(key))),
            );
        }
        let connecting = Client::connect([self.endpoint(at)], Some(options));
        timeout(Duration::from_secs(5), connecting).await.ok()?.ok()
    }

    /// The client address of a member.
    #[must_use]
    pub fn endpoint(&self, at: usize) -> String {
        let scheme = if self.setup.certificates.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}", self.members[at].client_port)
    }

    /// Settings for a store of this name on all members, patient enough for a busy machine.
    #[must_use]
    pub fn options(&self, name: &str) -> Options {
        let tls = match &self.setup.certificates {
            None => Tls::default(),
            Some(Certificates { ca, cert, key }) => Tls {
                ca_file: Some(ca.clone()),
                cert_file: Some(cert.clone()),
                key_file: Some(key.clone()),
                server_name: None,
            },
        };
        Options {
            endpoints: (0..self.members.len())
                .map(|at| self.endpoint(at))
                .collect(),
            prefix: format!("/holdfast/{name}/"),
            tls,
            operation_timeout: Duration::from_secs(20),
            ..Options::default()
        }
    }

    /// Which member leads.
    pub async fn leader(&self) -> usize {
        wait_for("a leader", || async {
            for (at, member) in self.members.iter().enumerate() {
                if member.process.is_none() {
                    continue;
                }
                let Some(mut client) = self.client(at).await else {
                    continue;
                };
                if let Ok(status) = client.status().await
                    && status.header()?.member_id() == status.leader()
                {
                    return Some(at);
                }
            }
            None
        })
        .await
    }

    /// Forgets all history up to now. Returns the revision.
    pub async fn compact(&self) -> u64 {
        wait_for("a compaction", || async {
            for at in 0..self.members.len() {
                let Some(mut client) = self.client(at).await else {
                    continue;
                };
                let Ok(status) = client.get("now", None).await else {
                    continue;
                };
                let now = status.header()?.revision();
                let physical = CompactionOptions::new().with_physical();
                if client.compact(now, Some(physical)).await.is_ok() {
                    return u64::try_from(now).ok();
                }
            }
            None
        })
        .await
    }

    /// `kill -9`.
    pub fn kill(&mut self, at: usize) {
        self.members[at].kill();
    }

    /// Starts a killed member again on its data.
    pub fn start_again(&mut self, at: usize) {
        self.spawn(at);
    }

    /// Starts a killed member again on its data, and waits until it serves.
    pub async fn restart(&mut self, at: usize) {
        self.spawn(at);
        let cluster = &*self;
        wait_for("the member to be back", || cluster.serves(at)).await;
    }

    /// Kills all members, then starts them again.
    pub async fn restart_all(&mut self) {
        for at in 0..self.members.len() {
            self.kill(at);
        }
        for at in 0..self.members.len() {
            self.spawn(at);
        }
        let cluster = &*self;
        for at in 0..self.members.len() {
            wait_for("all members to be back", || cluster.serves(at)).await;
        }
    }

    /// SIGSTOP: the member keeps its connections and answers nothing.
    pub fn pause(&self, at: usize) {
        self.members[at].signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self, at: usize) {
        self.members[at].signal(Signal::CONT);
    }
}

/// Tells clusters of this machine apart, so that a member that gets another's old port is refused.
fn peer_token(peers: &[String]) -> String {
    format!(
        "{}-{}",
        process::id(),
        peers.join("-").replace([':', '/', '='], ".")
    )
}

/// Ports that nobody listens on, below those that the system gives to outgoing connections.
fn free_ports(count: usize) -> Vec<u16> {
    const FIRST: u16 = 10_000;
    const SPAN: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let pid = u16::try_from(process::id() % u32::from(SPAN)).unwrap();
    let mut held = Vec::new();
    while held.len() < count {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Processes begin far apart, so that two of them rarely try the same port.
        let port = FIRST + (pid.wrapping_mul(97).wrapping_add(step)) % SPAN;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, listener));
        }
    }
    held.into_iter().map(|(port, _)| port).collect()
}
