//! Settings of `holdfast server`: defaults, then a file, then the environment, then flags.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use figment::value::{Dict, Map, Value};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{ClusterFlags, Role, ServerFlags},
    config::{self, Log},
};

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
    /// Address of health, readiness, metrics and version.
    pub(crate) http_address: SocketAddr,
    pub(crate) log: Log,
    pub(crate) etcd: holdfast_meta_etcd::Options,
    pub(crate) log_node: holdfast_log_node::Options,
    pub(crate) keeper: holdfast_log_keeper::Options,
    pub(crate) objects: holdfast_log_store::Options,
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
            http_address: local(9_091),
            log: Log::default(),
            etcd: holdfast_meta_etcd::Options::default(),
            log_node: holdfast_log_node::Options::default(),
            keeper: holdfast_log_keeper::Options::default(),
            objects: holdfast_log_store::Options::default(),
        }
    }
}

impl ServerConfig {
    fn validate(&self) -> anyhow::Result<()> {
        ensure!(
            !self.roles.is_empty(),
            "roles: none is given, such as --roles log-node"
        );
        check_name("node", &self.node)?;
        check_name("zone", &self.zone)?;
        self.validate_etcd()?;
        let log_node = self.log_node.validate();
        log_node.map_err(anyhow::Error::msg).context("log_node")?;
        let keeper = self.keeper.validate();
        keeper.map_err(anyhow::Error::msg).context("keeper")?;
        let objects = self.objects.validate();
        objects.map_err(anyhow::Error::msg).context("objects")
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
    }
}
