//! The one binary: every role of Holdfast.
//!
//! | module         | what it knows                                                        |
//! |----------------|----------------------------------------------------------------------|
//! | [`cli`]        | the command line                                                     |
//! | [`config`]     | settings: defaults, then a file, then the environment, then flags    |
//! | [`data_dir`]   | the directory of a standalone server, and who may use it             |
//! | [`machine`]    | what the machine has                                                 |
//! | [`store`]      | where objects are kept: a local folder or a bucket                   |
//! | [`serving`]    | the roles that serve, composed over their parts                      |
//! | [`standalone`] | all roles in one process over embedded parts                         |
//! | [`server`]     | some roles of a cluster in one process, over etcd                    |
//! | [`ctl`]        | an operator's questions to a cluster                                 |
//! | [`http`]       | health, readiness, metrics, version                                  |

mod cli;
mod config;
mod ctl;
mod data_dir;
mod http;
mod machine;
mod server;
mod serving;
mod standalone;
mod store;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

fn main() -> ExitCode {
    match run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be gone; there is nobody else to tell then.
            drop(std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("holdfast: {error:#}\n").as_bytes(),
            ));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: cli::Cli) -> anyhow::Result<()> {
    match cli.command {
        cli::Command::Standalone(flags) => {
            let config = config::load(&flags)?;
            holdfast_runtime::telemetry::init(config.log.format.into(), &config.log.filter)
                .context("log.filter")?;
            runtime(None)?.block_on(standalone::run(config))
        }
        cli::Command::Server(flags) => {
            let config = server::config::load(&flags)?;
            holdfast_runtime::telemetry::init(config.log.format.into(), &config.log.filter)
                .context("log.filter")?;
            let threads = (!config.serves()).then(log_node_threads);
            runtime(threads)?.block_on(server::run(config))
        }
        cli::Command::Ctl { cluster, command } => {
            let answer = runtime(None)?.block_on(ctl::run(&cluster, &command))?;
            print(&answer)
        }
        cli::Command::Store {
            command: cli::StoreCommand::Check(flags),
        } => {
            let (report, suffices) = runtime(None)?.block_on(store::check(&flags))?;
            print(&report)?;
            anyhow::ensure!(suffices, "the bucket lacks what is required");
            Ok(())
        }
        cli::Command::Config {
            command: cli::ConfigCommand::Show(flags),
        } => print(&config::load(&flags)?.to_toml()?),
        cli::Command::Config {
            command: cli::ConfigCommand::Check(flags),
        } => {
            config::load(&flags)?;
            print("the configuration is valid\n")
        }
    }
}

/// Async threads of a process that is a log-node alone. One task owns the node, and the journal has a thread of its own: with more
/// threads an append is handed from one to the other, which costs a third of its time on two cores.
fn log_node_threads() -> usize {
    (machine::cores() / 4).max(1)
}

/// With so many async threads; by default one a core.
fn runtime(threads: Option<usize>) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .thread_name("holdfast-io")
        .build()
        .context("cannot start the async runtime")
}

/// Writes to standard output. A reader that went away is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}
