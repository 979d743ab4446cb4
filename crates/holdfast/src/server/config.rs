//! Settings of `holdfast server`: defaults, then a file, then the environment, then flags.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use figment::value::{Dict, Map, Value};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{ClusterFlags, Role, ServerFlags},
    config::{self, Log, Size},
    store::{StoreConfig, StoreKind},
};

/// The roles that serve. They run together in one process for now.
const SERVING: [Role; 5] = [
    Role::Proxy,
    Role::Coordinator,
    Role::StreamNode,
    Role::QueryNode,
    Role::Worker,
];

/// Everything that can be set of a cluster's node. A key that is not here is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerConfig {
    /// What this process does.
    pub(crate) roles: Vec<Role>,
    /// Name of this node, unique in the cluster, the same at every start.
    pub(crate) node: String,
    /// What is lost together with this node.
    pub(crate) zone: String,
    /// Where this node keeps its data.
    pub(crate) data_dir: PathBuf,
    /// Address that the log-node listens on.
    pub(crate) log_node_address: SocketAddr,
    /// Under which `host:port` others reach the log-node; empty: the address it listens on.
    pub(crate) log_node_advertised: String,
    /// Address of the public gRPC API.
    pub(crate) grpc_address: SocketAddr,
    /// Address of health, readiness, metrics and version.
    pub(crate) http_address: SocketAddr,
    /// Memory that data and queries may take; 0 is half of what the machine or its container has.
    pub(crate) memory_budget: Size,
    /// Threads that compute; 0 is one a core.
    pub(crate) cpu_threads: usize,
    /// Logs that the shards of all collections are spread over. Fixed once there is data, the same in all processes.
    pub(crate) channels: u32,
    /// After this long without a word from the process that serves, another takes over.
    #[serde(with = "humantime_serde")]
    pub(crate) session_ttl: Duration,
    pub(crate) log: Log,
    pub(crate) etcd: holdfast_meta_etcd::Options,
    pub(crate) store: StoreConfig,
    pub(crate) quorum_wal: holdfast_quorum_wal::Options,
    pub(crate) log_node: holdfast_log_node::Options,
    pub(crate) keeper: holdfast_log_keeper::Options,
    pub(crate) objects: holdfast_log_store::Options,
    pub(crate) proxy: holdfast_proxy::Options,
    pub(crate) coordinator: holdfast_coordinator::Options,
    pub(crate) stream_node: holdfast_stream_node::Options,
    pub(crate) query_node: holdfast_query_node::Options,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            roles: Vec::new(),
            node: String::new(),
            zone: "zone-1".to_owned(),
            data_dir: PathBuf::from("holdfast-data"),
            log_node_address: local(19_540),
            log_node_advertised: String::new(),
            grpc_address: local(19_530),
            http_address: local(9_091),
            memory_budget: Size(0),
            cpu_threads: 0,
            channels: 1,
            session_ttl: Duration::from_secs(5),
            log: Log::default(),
            etcd: holdfast_meta_etcd::Options::default(),
            store: StoreConfig::default(),
            quorum_wal: holdfast_quorum_wal::Options::default(),
            log_node: holdfast_log_node::Options::default(),
            keeper: holdfast_log_keeper::Options::default(),
            objects: holdfast_log_store::Options::default(),
            proxy: holdfast_proxy::Options::default(),
            coordinator: holdfast_coordinator::Options::default(),
            stream_node: holdfast_stream_node::Options::default(),
            query_node: holdfast_query_node::Options::default(),
        }
    }
}

impl ServerConfig {
    fn validate(&self) -> anyhow::Result<()> {
        ensure!(
            !self.roles.is_empty(),
            "roles: none is given, such as --roles log-node or --roles all"
        );
        let serving = SERVING.iter().filter(|role| self.has(**role)).count();
        ensure!(
            serving == 0 || serving == SERVING.len(),
            "roles: {} is not built yet: proxy, coordinator, stream-node, query-node and worker run together in one \
             process for now; give all five, with or without log-node, or log-node alone",
            self.role_names()
        );
        check_name("node", &self.node)?;
        check_name("zone", &self.zone)?;
        self.validate_etcd()?;
        let log_node = self.log_node.validate();
        log_node.map_err(anyhow::Error::msg).context("log_node")?;
        let keeper = self.keeper.validate();
        keeper.map_err(anyhow::Error::msg).context("keeper")?;
        let objects = self.objects.validate();
        objects.map_err(anyhow::Error::msg).context("objects")?;
        if self.serves() {
            self.validate_serving()?;
        }
        Ok(())
    }

    fn validate_serving(&self) -> anyhow::Result<()> {
        config::check_channels(self.channels)?;
        let ttl = self.session_ttl;
        ensure!(
            (2..=60).contains(&ttl.as_secs()),
            "session_ttl: {ttl:?} is not in 2s..=60s"
        );
        ensure!(
            self.store.kind == StoreKind::S3 || !self.store.path.as_os_str().is_empty(),
            "store: a cluster's objects lie where all its processes reach them: kind = \"s3\" with a bucket, or path, a \
             folder that they share"
        );
        self.store.validate().context("store")?;
        let quorum_wal = self.quorum_wal.validate();
        quorum_wal
            .map_err(anyhow::Error::msg)
            .context("quorum_wal")?;
        config::check_roles(&self.coordinator, &self.stream_node, &self.query_node)
    }

    /// Whether this process has the role.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.contains(&role) || self.roles.contains(&Role::All)
    }

    /// Whether this process may serve clients.
    pub(crate) fn serves(&self) -> bool {
        SERVING.iter().all(|role| self.has(*role))
    }

    /// The roles as on the command line.
    pub(crate) fn role_names(&self) -> String {
        let names = self.roles.iter().filter_map(ValueEnum::to_possible_value);
        names
            .map(|name| name.get_name().to_owned())
            .collect::<Vec<_>>()
            .join(",")
    }

    fn validate_etcd(&self) -> anyhow::Result<()> {
        let etcd = self.etcd.validate();
        etcd.map_err(anyhow::Error::msg).context("etcd")
    }
}

/// Names become parts of keys and labels.
fn check_name(field: &str, name: &str) -> anyhow::Result<()> {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        (1..=64).contains(&name.len()) && name.chars().all(ordinary),
        "{field}: {name:?} is not 1 to 64 letters, digits, '-', '_' or '.'"
    );
    Ok(())
}

/// Reads the configuration that these flags lead to, and checks it.
pub(crate) fn load(flags: &ServerFlags) -> anyhow::Result<ServerConfig> {
    let file = flags.config.as_deref();
    let config: ServerConfig = config::merge(ServerConfig::default(), file, Given(flags))?;
    config.validate().context("configuration")?;
    Ok(config)
}

/// Where the metadata of the cluster is that an operator means.
pub(crate) fn load_etcd(flags: &ClusterFlags) -> anyhow::Result<holdfast_meta_etcd::Options> {
    let given = ServerFlags {
        etcd: flags.etcd.clone(),
        ..ServerFlags::default()
    };
    let file = flags.config.as_deref();
    let config: ServerConfig = config::merge(ServerConfig::default(), file, Given(&given))?;
    config.validate_etcd().context("configuration")?;
    Ok(config.etcd)
}

/// The settings that were given as flags.
struct Given<'a>(&'a ServerFlags);

impl figment::Provider for Given<'_> {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named("command line")
    }

    fn data(&self) -> Result<Map<figment::Profile, Dict>, figment::Error> {
        let ServerFlags {
            config: _,
            roles,
            node,
            zone,
            data_dir,
            log_node_address,
            grpc_address,
            http_address,
            etcd,
            log_format,
            log_filter,
        } = self.0;
        let mut given = Dict::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                given.insert(key.into(), value);
            }
        };
        put("roles", roles.as_ref().map(Value::serialize).transpose()?);
        put("node", node.as_ref().map(Value::serialize).transpose()?);
        put("zone", zone.as_ref().map(Value::serialize).transpose()?);
        put(
            "data_dir",
            data_dir.as_ref().map(Value::serialize).transpose()?,
        );
        put(
            "log_node_address",
            log_node_address
                .as_ref()
                .map(Value::serialize)
                .transpose()?,
        );
        put(
            "grpc_address",
            grpc_address.as_ref().map(Value::serialize).transpose()?,
        );
        put(
            "http_address",
            http_address.as_ref().map(Value::serialize).transpose()?,
        );
        let mut log = Dict::new();
        if let Some(format) = log_format {
            log.insert("format".into(), Value::serialize(format)?);
        }
        if let Some(filter) = log_filter {
            log.insert("filter".into(), Value::serialize(filter)?);
        }
        put("log", (!log.is_empty()).then(|| Value::from(log)));
        if let Some(endpoints) = etcd {
            let mut etcd = Dict::new();
            etcd.insert("endpoints".into(), Value::serialize(endpoints)?);
            put("etcd", Some(Value::from(etcd)));
        }
        Ok(figment::Profile::Default.collect(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> ServerFlags {
        ServerFlags {
            roles: Some(vec![Role::LogNode]),
            node: Some("log-1".to_owned()),
            etcd: Some(vec!["http://127.0.0.1:2379".to_owned()]),
            ..ServerFlags::default()
        }
    }

    #[test]
    fn flags_are_enough() {
        let config = load(&flags()).unwrap();
        assert_eq!(config.node, "log-1");
        assert_eq!(config.etcd.endpoints, ["http://127.0.0.1:2379"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        #[track_caller]
        fn check(change: impl Fn(&mut ServerFlags), expect: &str) {
            let mut flags = flags();
            change(&mut flags);
            let error = format!("{:#}", load(&flags).unwrap_err());
            assert!(error.contains(expect), "{error}");
        }
        check(|f| f.roles = None, "roles: none is given");
        check(|f| f.node = None, "node: \"\"");
        check(|f| f.node = Some("../x".to_owned()), "node: \"../x\"");
        check(|f| f.zone = Some(String::new()), "zone: \"\"");
        check(|f| f.etcd = Some(vec![]), "etcd");
        check(
            |f| f.roles = Some(vec![Role::Proxy]),
            "roles: proxy is not built yet",
        );
        check(
            |f| f.roles = Some(vec![Role::LogNode, Role::QueryNode]),
            "roles: log-node,query-node is not built yet",
        );
        check(
            |f| f.roles = Some(vec![Role::All]),
            "store: a cluster's objects",
        );
    }
}
