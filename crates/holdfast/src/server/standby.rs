//! One process of a cluster serves, the others wait to take over.
//!
//! Who serves is elected with a session of etcd. The session suggests, it does not decide: what must not happen twice is
//! fenced: appends by the epochs of the logs, manifests by commits that happen only while the key of the election is still
//! this process's. Reads have no such fence, so a process whose session may have ended answers nothing ([`Switch`]) and
//! stops. That is judged by the machine's own clock, which must not stand still (as in a suspended virtual machine)
//! while those of others go on.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use holdfast_meta::{Compare, Expect, MetaError, MetaStore, Session, Sessions, elected};
use holdfast_meta_etcd::EtcdStore;
use holdfast_qlog::messages::{ClusterId, Owner};
use holdfast_quorum_wal::{QuorumWal, TcpConnect};
use holdfast_runtime::{MemoryBudget, MemoryKind, Reservation, Shutdown};
use holdfast_wal::Wal;
use tokio::net::TcpListener;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{Server, config::ServerConfig, log_store, switch::Switch};
use crate::{
    data_dir::DataDir,
    http::{Endpoints, Readiness},
    serving::{self, Parts, Resources, Roles, Settings},
};

/// Key of whoever serves.
const ACTIVE: &str = "server/active";
/// Pause before etcd is asked again for a session.
const AGAIN: Duration = Duration::from_millis(500);
/// Of the memory budget: the part that records on their way to the log-nodes may take, all logs together.
const WINDOW_SHARE: u64 = 16;

/// What standing by and serving need.
pub(super) struct Node<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) data: &'a DataDir,
    pub(super) store: Arc<EtcdStore>,
    pub(super) cluster: ClusterId,
    pub(super) shutdown: &'a Shutdown,
    pub(super) endpoints: &'a Endpoints,
}

/// The process's place in the election, and what it serves once it won.
pub(super) struct Serving {
    session: Arc<dyn Session>,
    roles: Option<Roles>,
    _log_memory: Option<Reservation>,
}

impl Serving {
    /// Returns when another process may have taken over.
    pub(super) async fn replaced(&self) {
        self.session.ended().await;
    }

    /// Takes no more writes; whether those under way were decided in time.
    pub(super) async fn close(&self) -> bool {
        match &self.roles {
            Some(roles) => roles.close().await,
            None => true,
        }
    }

    /// Lets the next one take over at once.
    pub(super) async fn resign(self) {
        if let Err(error) = self.session.close().await {
            tracing::warn!(%error, "the session with etcd could not be closed: it runs out by itself");
        }
    }
}

impl Node<'_> {
    /// Begins to listen, and refuses until [`Self::take_over`].
    pub(super) fn refuse(
        &self,
        listener: TcpListener,
    ) -> anyhow::Result<(Switch, HealthReporter, Server)> {
        let switch = Switch::default();
        let (health, server) = serving::serve(switch.clone(), listener, self.shutdown)?;
        Ok((switch, health, server))
    }

    /// Waits until this process is the one to serve. `waits` is called when it has joined the election.
    pub(super) async fn stand_by(
        &self,
        serving: &mut Option<Serving>,
        waits: impl FnOnce(),
    ) -> anyhow::Result<Owner> {
        self.endpoints.set(Readiness::StandingBy);
        let mut waits = Some(waits);
        loop {
            // New with each session: a key that an earlier one may have taken goes with that one.
            let me = Owner {
                node: self.config.node.as_str().into(),
                incarnation: rand::random(),
            };
            let store = Arc::clone(&self.store);
            let won = match store.open_session(self.config.session_ttl).await {
                Ok(session) => {
                    let session: Arc<dyn Session> = session.into();
                    // Kept outside, so that a signal to stop gives the place in the election back.
                    *serving = Some(Serving {
                        session: Arc::clone(&session),
                        roles: None,
                        _log_memory: None,
                    });
                    if let Some(waits) = waits.take() {
                        tracing::info!(node = %me, "standing by");
                        waits();
                    }
                    elected(&*self.store, &*session, ACTIVE, &name(&me)).await
                }
                Err(error) => Err(error),
            };
            match won {
                Ok(revision) => {
                    tracing::info!(node = %me, revision, "elected to serve");
                    return Ok(me);
                }
                Err(
                    error @ (MetaError::OutOfReach { .. }
                    | MetaError::OutcomeUnknown { .. }
                    | MetaError::Closed(_)),
                ) => {
                    tracing::warn!(%error, "standing by without etcd");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error).context("etcd"),
            }
        }
    }

    /// Opens the parts and every role, and lets requests in.
    pub(super) async fn take_over(
        &self,
        me: Owner,
        switch: &Switch,
        health: &HealthReporter,
        serving: &mut Option<Serving>,
    ) -> anyhow::Result<()> {
        let began = std::time::Instant::now();
        let config = self.config;
        let serving = serving.as_mut().context("nobody was elected")?;
        self.endpoints.set(Readiness::TakingOver);
        let resources = Resources::open(config.cpu_threads, config.memory_budget)?;
        let meta: Arc<dyn MetaStore> = Arc::clone(&self.store) as Arc<dyn MetaStore>;
        let objects = self.data.objects();
        let store = config.store.open(&objects, self.data.cache(), self.cluster);
        let store = Arc::new(store.await.context("store")?);
        let store_open = began.elapsed();
        let (options, log_memory) =
            log_within(&config.quorum_wal, config.channels, &resources.budget);
        let components = holdfast_quorum_wal::Components {
            meta: Arc::clone(&meta),
            connect: Arc::new(TcpConnect),
            clock: Arc::clone(&resources.clock),
            cluster: self.cluster,
            owner: me.clone(),
            objects: log_store(config, self.cluster)?,
        };
        let wal: Arc<dyn Wal> = Arc::new(QuorumWal::open(options, components).await?);
        let settings = Settings {
            owner: &config.node,
            channels: config.channels,
            proxy: &config.proxy,
            coordinator: &config.coordinator,
            stream_node: &config.stream_node,
            query_node: &config.query_node,
        };
        let parts = Parts {
            meta,
            wal,
            store,
            condition: Some(Compare {
                key: ACTIVE.to_owned(),
                expect: Expect::Value(name(&me)),
            }),
        };
        let roles = Roles::open(&settings, parts, resources, self.shutdown).await?;
        switch.let_in(
            roles.proxy.clone().into_server(),
            Arc::clone(&serving.session),
        );
        self.endpoints.set_damage(roles.damaged());
        serving.roles = Some(roles);
        serving._log_memory = Some(log_memory);
        health.set_service_status("", ServingStatus::Serving).await;
        tracing::info!(node = %me, ?store_open, took = ?began.elapsed(), "took over");
        Ok(())
    }
}

/// What the elected one's key holds.
fn name(me: &Owner) -> Bytes {
    Bytes::from(me.to_string().into_bytes())
}

/// The log's settings with its window within its part of the budget, and that part set aside for good.
fn log_within(
    options: &holdfast_quorum_wal::Options,
    channels: u32,
    budget: &Arc<MemoryBudget>,
) -> (holdfast_quorum_wal::Options, Reservation) {
    let part = budget.total() / WINDOW_SHARE / u64::from(channels);
    let part = usize::try_from(part).unwrap_or(usize::MAX);
    let options = holdfast_quorum_wal::Options {
        window_bytes: options.window_bytes.min(part).max(1),
        ..options.clone()
    };
    let bytes = options.window_bytes as u64 * u64::from(channels);
    (options, budget.charge(MemoryKind::Wal, bytes))
}
