//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

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
    /// Show or check the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
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
