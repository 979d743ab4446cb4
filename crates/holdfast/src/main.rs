//! The one binary: every role of Holdfast.
//!
//! | module         | what it knows                                                        |
//! |----------------|----------------------------------------------------------------------|
//! | [`cli`]        | the command line                                                     |
//! | [`config`]     | settings: defaults, then a file, then the environment, then flags    |
//! | [`data_dir`]   | the directory of a standalone server, and who may use it             |
//! | [`machine`]    | what the machine has                                                 |
//! | [`standalone`] | all roles in one process over embedded parts                         |
//! | [`http`]       | health, readiness, metrics, version                                  |

mod cli;
mod config;
mod data_dir;
mod http;
mod machine;
mod standalone;

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
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .thread_name("holdfast-io")
                .build()
                .context("cannot start the async runtime")?;
            runtime.block_on(standalone::run(config))
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

/// Writes to standard output. A reader that went away is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}
