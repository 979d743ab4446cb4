//! One connection a member, and which member is asked next.
//!
//! The client library would balance over all members by itself, but it keeps asking a member that is cut off
//! from the others. So each member has a client of its own here, one member is preferred, and any failure
//! makes the next one preferred. A member is connected, logged in to and asked for its cluster before it gets a
//! request, so that one that is dead or paused is noticed while nothing is at stake.

use std::{
    fmt, fs,
    future::Future,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{Channel, Client, ConnectOptions, Error};
use holdfast_meta::MetaError;
use holdfast_types::Coded;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout, timeout_at},
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{Options, fault::Fault, metrics};

/// How often an idle connection is asked for a sign of life. etcd closes connections that ask more often than
/// every 5 s. Requests have deadlines of their own, and a watch listens for its member, so this is only for
/// connections that nobody uses.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What a request may cost when it is sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// Nothing: it reads, or doing it twice is doing it once.
    Always,
    /// It must not happen twice.
    IfNotApplied,
}

/// All members of the etcd cluster.
#[derive(Debug)]
pub(crate) struct Members {
    all: Vec<Member>,
    preferred: AtomicUsize,
    options: Options,
    /// The etcd cluster all members must belong to: that of the first one reached.
    cluster: OnceLock<u64>,
    /// The members' addresses, for messages.
    name: String,
}

struct Member {
    address: String,
    endpoint: Endpoint,
    client: Mutex<Option<Connected>>,
    /// Whether the last attempt failed, so that a failure is logged once.
    failing: AtomicBool,
}

#[derive(Clone)]
struct Connected {
    client: Arc<Client>,
    /// Tells a client from the one that replaced it.
    number: u64,
}

/// A client of the member that is asked next.
pub(crate) struct Chosen {
    pub(crate) client: Arc<Client>,
    at: usize,
    number: u64,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Pauses that double, for repetitions after every member has failed.
#[derive(Debug)]
pub(crate) struct Pauses {
    members: usize,
    failed: usize,
    next: Duration,
}

impl Pauses {
    /// How long to wait after one more failure: not at all until all members had their turn.
    pub(crate) fn after_failure(&mut self) -> Duration {
        self.failed += 1;
        if !self.failed.is_multiple_of(self.members) {
            return Duration::ZERO;
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

impl Members {
    /// Reads the certificates; connects to nobody yet.
    pub(crate) async fn new(options: Options) -> Result<Self, MetaError> {
        options.validate().map_err(MetaError::Refused)?;
        let read = options.clone();
        let tls = tokio::task::spawn_blocking(move || tls(&read))
            .await
            .map_err(|e| MetaError::Refused(format!("tls: {e}")))??;
        let mut all = Vec::new();
        for address in &options.endpoints {
            let wrong = |e: &dyn fmt::Display| MetaError::Refused(format!("{address}: {e}"));
            let mut endpoint = Endpoint::from_shared(address.clone())
                .map_err(|e| wrong(&e))?
                .connect_timeout(options.connect_timeout)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(options.read_timeout)
                .keep_alive_while_idle(true);
            if let Some(tls) = &tls {
                endpoint = endpoint.tls_config(tls.clone()).map_err(|e| wrong(&e))?;
            }
            all.push(Member {
                address: address.clone(),
                endpoint,
                client: Mutex::new(None),
                failing: AtomicBool::new(false),
            });
        }
        Ok(Self {
            all,
            preferred: AtomicUsize::new(0),
            cluster: OnceLock::new(),
            name: format!("etcd at {}", options.endpoints.join(", ")),
            options,
        })
    }

    /// The servers, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn pauses(&self) -> Pauses {
        Pauses {
            members: self.all.len(),
            failed: 0,
            next: PAUSE_MIN,
        }
    }

    /// Asks one member after the other until one answers, the request is refused, or the time is over.
    ///
    /// A request that must not happen twice is asked again only when it is certain that it did not happen.
    pub(crate) async fn call<T, F>(
        &self,
        operation: &'static str,
        repeatable: Repeatable,
        ask: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let answer = self.ask_all(operation, repeatable, ask, began).await;
        let result = match &answer {
            Ok(_) => "ok",
            Err(fault) => fault.clone().into_meta("").code().name(),
        };
        metrics::operation(operation, result, began.elapsed());
        answer
    }

    async fn ask_all<T, F>(
        &self,
        operation: &'static str,
        repeatable: Repeatable,
        ask: impl Fn(Arc<Client>) -> F,
        began: Instant,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = began + self.options.operation_timeout;
        let patience = match repeatable {
            Repeatable::Always => self.options.read_timeout,
            Repeatable::IfNotApplied => self.options.txn_timeout,
        };
        let mut pauses = self.pauses();
        loop {
            let fault = match timeout_at(deadline, self.choose()).await {
                Ok(Ok(chosen)) => {
                    let until = deadline.min(Instant::now() + patience);
                    let answer = timeout_at(until, ask(Arc::clone(&chosen.client))).await;
                    let fault = match answer {
                        Ok(Ok(answer)) => {
                            self.succeeded(&chosen);
                            return Ok(answer);
                        }
                        Ok(Err(error)) => Fault::from(&error),
                        Err(_) => Fault::Unknown(format!(
                            "{} did not answer in time",
                            self.all[chosen.at].address
                        )),
                    };
                    if fault.is_passing() {
                        metrics::member_failed(operation);
                        self.failed(chosen, &fault).await;
                    }
                    fault
                }
                Ok(Err(fault)) => {
                    if fault.is_passing() {
                        metrics::member_failed(operation);
                    }
                    fault
                }
                Err(_) => Fault::NotApplied("no member could be connected in time".to_owned()),
            };
            let fault = match (fault, repeatable) {
                (Fault::Unknown(problem), Repeatable::Always) => Fault::NotApplied(problem),
                (fault @ Fault::NotApplied(_), _) => fault,
                (final_fault, _) => return Err(final_fault),
            };
            let pause = pauses.after_failure();
            if Instant::now() + pause >= deadline {
                return Err(fault);
            }
            sleep(pause).await;
        }
    }

    /// A client of the preferred member. A member that cannot be connected loses its preference.
    pub(crate) async fn choose(&self) -> Result<Chosen, Fault> {
        let at = self.preferred.load(Ordering::Relaxed) % self.all.len();
        let member = &self.all[at];
        // On the heap, for it is large and seldom does anything.
        let connecting = Box::pin(self.connected(member));
        let connected = timeout(self.options.connect_timeout, connecting).await;
        let fault = match connected {
            Ok(Ok(Connected { client, number })) => return Ok(Chosen { client, at, number }),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::NotApplied("took too long to connect".to_owned()),
        };
        let fault = match fault {
            // Connecting applies nothing.
            Fault::Unknown(problem) | Fault::NotApplied(problem) => {
                Fault::NotApplied(format!("{}: {problem}", member.address))
            }
            other => other,
        };
        self.log_failure(member, &fault);
        self.prefer_next(at);
        Err(fault)
    }

    /// The chosen member did its work.
    pub(crate) fn succeeded(&self, chosen: &Chosen) {
        let member = &self.all[chosen.at];
        if member.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(member = member.address, "etcd member answers again");
        }
    }

    /// The chosen member failed: its connection is dropped, and the next member is preferred.
    pub(crate) async fn failed(&self, chosen: Chosen, fault: &Fault) {
        let member = &self.all[chosen.at];
        self.log_failure(member, fault);
        self.forget(chosen).await;
    }

    /// Drops the connection, so that the next one logs in anew, and prefers the next member.
    pub(crate) async fn forget(&self, chosen: Chosen) {
        self.prefer_next(chosen.at);
        let mut client = self.all[chosen.at].client.lock().await;
        client.take_if(|c| c.number == chosen.number);
    }

    fn log_failure(&self, member: &Member, fault: &Fault) {
        if !member.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                member = member.address,
                problem = fault.problem(),
                "etcd member failed, the next one is asked"
            );
        }
    }

    fn prefer_next(&self, at: usize) {
        // Of many requests that failed at the same member only one moves on.
        let moved = self.preferred.compare_exchange(
            at,
            (at + 1) % self.all.len(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        tracing::debug!(from = at, moved = moved.is_ok(), "etcd member changed");
    }

    async fn connected(&self, member: &Member) -> Result<Connected, Fault> {
        let mut slot = member.client.lock().await;
        if let Some(connected) = &*slot {
            return Ok(connected.clone());
        }
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let connected = Connected {
            client: Arc::new(self.connect(member).await?),
            number: NUMBER.fetch_add(1, Ordering::Relaxed) as u64,
        };
        Ok(slot.insert(connected).clone())
    }

    /// Connects, logs in, and checks that the member is one of this cluster and not too old.
    async fn connect(&self, member: &Member) -> Result<Client, Fault> {
        let channel = member
            .endpoint
            .connect()
            .await
            .map_err(|e| Fault::from(&Error::TransportError(e)))?;
        let mut options = ConnectOptions::new()
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let (Some(user), Some(password)) = (&self.options.username, &self.options.password) {
            options = options.with_user(user, password.reveal());
        }
        let mut client = Client::from_channel(Channel::Tonic(channel), Some(options))
            .await
            .map_err(|e| Fault::from(&e))?;
        let status = client.status().await.map_err(|e| Fault::from(&e))?;
        check_version(status.version())?;
        let cluster = status
            .header()
            .map_or(0, etcd_client::ResponseHeader::cluster_id);
        let first = self.cluster.get_or_init(|| cluster);
        if *first != cluster {
            return Err(Fault::Refused(format!(
                "{} belongs to another etcd cluster ({cluster:x}) than the first member reached ({first:x})",
                member.address
            )));
        }
        Ok(client)
    }
}

/// Watches that can be asked for their progress came with 3.4.
fn check_version(version: &str) -> Result<(), Fault> {
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (3, 4) => Ok(()),
        _ => Err(Fault::Refused(format!(
            "etcd {version} is too old, 3.4 or later is needed"
        ))),
    }
}

/// The certificates, read from their files.
fn tls(options: &Options) -> Result<Option<ClientTlsConfig>, MetaError> {
    let tls = &options.tls;
    let Some(ca) = &tls.ca_file else {
        return Ok(None);
    };
    let mut config =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("tls.ca_file", ca)?));
    if let (Some(cert), Some(key)) = (&tls.cert_file, &tls.key_file) {
        config = config.identity(Identity::from_pem(
            read("tls.cert_file", cert)?,
            read("tls.key_file", key)?,
        ));
    }
    if let Some(name) = &tls.server_name {
        config = config.domain_name(name);
    }
    Ok(Some(config))
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, MetaError> {
    fs::read(path).map_err(|e| MetaError::Refused(format!("{key}: {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_3_4_are_refused() {
        for fine in ["3.4.23", "3.6.0-rc.1", "4.0.0"] {
            check_version(fine).unwrap();
        }
        for old in ["3.3.27", "2.3.8", "", "x.y"] {
            assert!(check_version(old).is_err(), "{old}");
        }
    }

    #[tokio::test]
    async fn a_pause_comes_when_all_members_have_failed() {
        let options = Options {
            endpoints: vec!["http://a:1".to_owned(), "http://b:1".to_owned()],
            ..Options::default()
        };
        let mut pauses = Members::new(options).await.unwrap().pauses();
        let some: Vec<u128> = (0..12)
            .map(|_| pauses.after_failure().as_millis())
            .collect();
        assert_eq!(some, [0, 20, 0, 40, 0, 80, 0, 160, 0, 320, 0, 500]);
    }
}
