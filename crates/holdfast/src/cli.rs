//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::config::LogFormat;

/// A vector database that speaks the Milvus wire.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in this process, with nothing else to install.
    Standalone(Flags),
    /// Run some of the roles of a cluster in this process.
    Server(ServerFlags),
    /// Look after a running cluster.
    Ctl {
        #[command(flatten)]
        cluster: ClusterFlags,
        #[command(subcommand)]
        command: CtlCommand,
    },
    /// Look after the object store.
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Show or check the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Try what the configured bucket can do, and say what of it is needed and what to change.
    Check(StoreFlags),
}

/// Which object store is meant.
#[derive(Debug, Args)]
pub(crate) struct StoreFlags {
    /// Configuration file (TOML), of a standalone server or of a cluster's node.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration in force, as a file that can be read back.
    Show(Flags),
    /// Check the configuration and say what is wrong with it.
    Check(Flags),
}

/// Settings given on the command line; they come before those of the environment and the file.
#[derive(Debug, Default, Args)]
pub(crate) struct Flags {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where all data is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address of the public gRPC API.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) grpc_address: Option<SocketAddr>,
    /// Address of health, readiness, metrics and version.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) http_address: Option<SocketAddr>,
    /// Memory that data and queries may take, such as 8GiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_budget: Option<String>,
    /// Form of log lines.
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// What is logged, such as info,holdfast_wal=debug.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log_filter: Option<String>,
}

/// Settings of `holdfast server` given on the command line.
#[derive(Debug, Default, Args)]
pub(crate) struct ServerFlags {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The roles, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) roles: Option<Vec<Role>>,
    /// Name of this node, unique in the cluster.
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// What is lost together with this node: its availability zone or rack.
    #[arg(long, value_name = "NAME")]
    pub(crate) zone: Option<String>,
    /// Where this node keeps its data.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address that the log-node listens on.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) log_node_address: Option<SocketAddr>,
    /// Address of the public gRPC API.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) grpc_address: Option<SocketAddr>,
    /// Address of health, readiness, metrics and version.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) http_address: Option<SocketAddr>,
    /// Addresses of etcd, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    pub(crate) etcd: Option<Vec<String>>,
    /// Form of log lines.
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// What is logged, such as info,holdfast_log_node=debug.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log_filter: Option<String>,
}

/// What a process does in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Keeps copies of the log.
    LogNode,
    /// The public API.
    Proxy,
    /// Definitions, and jobs in the background.
    Coordinator,
    /// Owns the channels: writes, and fresh rows.
    StreamNode,
    /// Serves flushed rows.
    QueryNode,
    /// Builds indexes and merges segments.
    Worker,
    /// All of them.
    All,
}

/// Which cluster is meant.
#[derive(Debug, Args)]
pub(crate) struct ClusterFlags {
    /// Configuration file (TOML) of any of its nodes.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Addresses of etcd, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    pub(crate) etcd: Option<Vec<String>>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CtlCommand {
    /// The quorum log.
    Wal {
        #[command(subcommand)]
        command: WalCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WalCommand {
    /// Log-nodes and logs: who writes, where the copies are, which lack one.
    Status,
    /// One log, segment by segment and copy by copy.
    Inspect {
        /// The log.
        log: u32,
    },
    /// Read every copy of every segment that ended, check all checksums, and compare the copies.
    Verify {
        /// Only this log.
        log: Option<u32>,
    },
    /// Give a log-node no new segments, so that it can be taken away; says what still needs it.
    Drain {
        /// The node's name.
        node: String,
        /// Give it new segments again.
        #[arg(long)]
        cancel: bool,
        /// Wait until nothing needs it any more.
        #[arg(long, conflicts_with = "cancel")]
        wait: bool,
    },
}
