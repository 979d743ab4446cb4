//! An operator's questions to a cluster, answered as text or JSON.

mod wal;

use std::sync::Arc;

use anyhow::Context;
use holdfast_meta::MetaStore;
use holdfast_meta_etcd::EtcdStore;

use crate::{
    cli::{ClusterFlags, CtlCommand},
    server::config::load_etcd,
};

/// The answer to a command.
pub(crate) async fn run(flags: &ClusterFlags, command: &CtlCommand) -> anyhow::Result<String> {
    let store = EtcdStore::connect(load_etcd(flags)?)
        .await
        .context("etcd")?;
    let store: Arc<dyn MetaStore> = Arc::new(store);
    let answer = match command {
        CtlCommand::Wal { command } => wal::run(&store, command).await?,
    };
    Ok(match flags.json {
        true => format!("{:#}\n", answer.json),
        false => answer.text,
    })
}

/// One answer in both forms.
pub(crate) struct Answer {
    pub(crate) json: serde_json::Value,
    pub(crate) text: String,
}
