//! Settings: defaults, then a file, then the environment (`HOLDFAST_WAL__SEGMENT_BYTES=...`), then flags.

#[cfg(test)]
mod documented;
mod size;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::ValueEnum;
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Map},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use size::Size;

use crate::{cli::Flags, store::StoreConfig};

/// Prefix of environment variables.
const ENVIRONMENT: &str = "HOLDFAST_";

/// Everything that can be set. A key that is not here is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where all data is kept.
    pub(crate) data_dir: PathBuf,
    /// Address of the public gRPC API.
    pub(crate) grpc_address: SocketAddr,
    /// Address of health, readiness, metrics and version.
    pub(crate) http_address: SocketAddr,
    /// Memory that data and queries may take; 0 is half of what the machine or its container has.
    pub(crate) memory_budget: Size,
    /// Threads that compute; 0 is one a core.
    pub(crate) cpu_threads: usize,
    /// Logs that the shards of all collections are spread over. Fixed once there is data.
    pub(crate) channels: u32,
    pub(crate) log: Log,
    pub(crate) store: StoreConfig,
    pub(crate) wal: holdfast_wal::local::Options,
    pub(crate) proxy: holdfast_proxy::Options,
    pub(crate) coordinator: holdfast_coordinator::Options,
    pub(crate) stream_node: holdfast_stream_node::Options,
    pub(crate) query_node: holdfast_query_node::Options,
}

/// Settings of the log lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `text` for people, `json` for machines.
    pub(crate) format: LogFormat,
    /// What is logged.
    pub(crate) filter: String,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

impl From<LogFormat> for holdfast_runtime::telemetry::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            filter: "info,hnsw_rs=warn".to_owned(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            data_dir: PathBuf::from("holdfast-data"),
            grpc_address: local(19_530),
            http_address: local(9_091),
            memory_budget: Size(0),
            cpu_threads: 0,
            channels: 1,
            log: Log::default(),
            store: StoreConfig::default(),
            wal: holdfast_wal::local::Options::default(),
            proxy: holdfast_proxy::Options::default(),
            coordinator: holdfast_coordinator::Options::default(),
            stream_node: holdfast_stream_node::Options::default(),
            query_node: holdfast_query_node::Options::default(),
        }
    }
}

impl Config {
    /// The configuration as a file.
    pub(crate) fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string(self).context("the configuration can't be shown")
    }

    fn validate(&self) -> anyhow::Result<()> {
        check_channels(self.channels)?;
        self.store.validate().context("store")?;
        self.wal.validate().context("wal")?;
        check_roles(&self.coordinator, &self.stream_node, &self.query_node)
    }
}

pub(crate) fn check_channels(channels: u32) -> anyhow::Result<()> {
    let sensible = (1..=64).contains(&channels);
    anyhow::ensure!(sensible, "channels: {channels} is not in 1..=64");
    Ok(())
}

pub(crate) fn check_roles(
    coordinator: &holdfast_coordinator::Options,
    stream_node: &holdfast_stream_node::Options,
    query_node: &holdfast_query_node::Options,
) -> anyhow::Result<()> {
    let named =
        |problem: Result<(), String>, table| problem.map_err(anyhow::Error::msg).context(table);
    named(coordinator.validate(), "coordinator")?;
    named(stream_node.validate(), "stream_node")?;
    named(query_node.validate(), "query_node")
}

/// Reads the configuration that these flags lead to, and checks it.
pub(crate) fn load(flags: &Flags) -> anyhow::Result<Config> {
    let config: Config = merge(Config::default(), flags.config.as_deref(), Given(flags))?;
    config.validate().context("configuration")?;
    Ok(config)
}

/// Defaults, then the file, then the environment, then what was given on the command line.
pub(crate) fn merge<T: Serialize + DeserializeOwned>(
    defaults: T,
    file: Option<&Path>,
    given: impl figment::Provider,
) -> anyhow::Result<T> {
    let mut figment = Figment::from(Serialized::defaults(defaults));
    if let Some(file) = file {
        anyhow::ensure!(file.is_file(), "{} is not a file", file.display());
        figment = figment.merge(Toml::file_exact(file));
    }
    figment
        .merge(Env::prefixed(ENVIRONMENT).split("__"))
        .merge(given)
        .extract()
        .map_err(|e| anyhow::anyhow!("configuration: {e}"))
}

/// The settings that were given as flags.
struct Given<'a>(&'a Flags);

impl figment::Provider for Given<'_> {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named("command line")
    }

    fn data(&self) -> Result<Map<figment::Profile, Dict>, figment::Error> {
        let Flags {
            config: _,
            data_dir,
            grpc_address,
            http_address,
            memory_budget,
            log_format,
            log_filter,
        } = self.0;
        let mut given = Dict::new();
        let mut log = Dict::new();
        if let Some(dir) = data_dir {
            given.insert("data_dir".into(), figment::value::Value::serialize(dir)?);
        }
        for (key, address) in [
            ("grpc_address", grpc_address),
            ("http_address", http_address),
        ] {
            if let Some(address) = address {
                given.insert(key.into(), address.to_string().into());
            }
        }
        if let Some(budget) = memory_budget {
            given.insert("memory_budget".into(), budget.as_str().into());
        }
        if let Some(format) = log_format {
            log.insert("format".into(), figment::value::Value::serialize(format)?);
        }
        if let Some(filter) = log_filter {
            log.insert("filter".into(), filter.as_str().into());
        }
        if !log.is_empty() {
            given.insert("log".into(), log.into());
        }
        Ok(figment::Profile::Default.collect(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_back() {
        let shown = Config::default().to_toml().unwrap();
        let read: Config = toml::from_str(&shown).unwrap();
        assert_eq!(read, Config::default());
    }

    #[track_caller]
    fn check(file: &str, expect: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdfast.toml");
        std::fs::write(&path, file).unwrap();
        let error = load(&Flags {
            config: Some(path),
            ..Flags::default()
        })
        .unwrap_err();
        assert!(format!("{error:#}").contains(expect), "{error:#}");
    }

    #[test]
    fn a_wrong_key_or_value_is_refused_by_name() {
        check("no_such_key = 1", "no_such_key");
        check("[wal]\nno_such_key = 1", "no_such_key");
        check("channels = 0", "channels: 0");
        check("[store]\nkind = \"ftp\"", "kind");
        check("[store]\nkind = \"s3\"", "store: s3: bucket");
        check("[store.s3]\nsecret_key = \"x\"", "secret_key");
        check("grpc_address = \"here\"", "grpc_address");
        check("memory_budget = \"lots\"", "memory_budget");
        check("[stream_node]\nsegment_bytes_max = 1", "segment_bytes_max");
        check(
            "[query_node]\nmaintenance_period = \"0s\"",
            "query_node: maintenance_period",
        );
    }

    #[test]
    fn flags_come_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdfast.toml");
        std::fs::write(
            &path,
            "memory_budget = \"1GiB\"\n[log]\nfilter = \"warn\"\n",
        )
        .unwrap();
        let flags = Flags {
            config: Some(path),
            memory_budget: Some("64MiB".to_owned()),
            ..Flags::default()
        };
        let config = load(&flags).unwrap();
        assert_eq!(config.memory_budget, Size(64 << 20));
        assert_eq!(config.log.filter, "warn");
    }
}
