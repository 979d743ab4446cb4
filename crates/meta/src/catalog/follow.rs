//! Keeps a snapshot up to date: list, then watch from the listing's revision, without a gap.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::StreamExt;
use holdfast_types::{Code, Coded, Failure};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::CatalogSnapshot;
use crate::{MetaError, MetaStore, keys};

/// Pause between two tries to list a store that is out of reach.
const LIST_PAUSE: Duration = Duration::from_secs(1);

/// The newest snapshot, and how far it is.
pub(super) struct View {
    snapshot: ArcSwap<CatalogSnapshot>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Debug)]
enum Progress {
    At(u64),
    /// The follower is gone; the snapshot stays as it is.
    Stopped(Failure),
}

/// The task that moves a [`View`]; dropping this ends it.
pub(super) struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl View {
    pub(super) fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.snapshot.load_full()
    }

    /// Waits until the snapshot holds everything up to this revision.
    pub(super) async fn reached(&self, revision: u64) -> Result<(), Failure> {
        let mut progress = self.progress.subscribe();
        let seen = progress
            .wait_for(|p| match p {
                Progress::At(at) => *at >= revision,
                Progress::Stopped(_) => true,
            })
            .await;
        match seen.as_deref() {
            Ok(Progress::At(_)) => Ok(()),
            Ok(Progress::Stopped(why)) => Err(why.clone()),
            // The sender is a field of `self`.
            Err(_) => Err(Failure::internal("the catalog's view is gone")),
        }
    }

    fn publish(&self, snapshot: CatalogSnapshot) {
        let revision = snapshot.revision();
        self.snapshot.store(Arc::new(snapshot));
        self.progress.send_replace(Progress::At(revision));
    }
}

/// Lists the catalog and follows it from there.
pub(super) async fn start(store: Arc<dyn MetaStore>) -> Result<(Arc<View>, Follower), MetaError> {
    let snapshot = list(store.as_ref()).await?;
    let view = Arc::new(View {
        progress: watch::Sender::new(Progress::At(snapshot.revision())),
        snapshot: ArcSwap::from_pointee(snapshot),
    });
    let task = tokio::spawn({
        let view = Arc::clone(&view);
        async move {
            let error = follow(store.as_ref(), &view).await;
            let failure = Failure::new(
                error.code(),
                format!(
                    "the catalog no longer follows the metadata store: {}",
                    error.to_failure()
                ),
            );
            if failure.code == Code::Unavailable {
                tracing::info!(reason = %failure, "catalog stopped");
            } else {
                tracing::error!(error = %failure, "catalog stopped");
            }
            view.progress.send_replace(Progress::Stopped(failure));
        }
    });
    Ok((view, Follower(task)))
}

/// Applies changes for as long as the store tells them; returns why it cannot go on.
async fn follow(store: &dyn MetaStore, view: &View) -> MetaError {
    loop {
        let ended = match watch_until_compacted(store, view).await {
            Err(MetaError::Compacted { .. }) => list_again(store).await,
            Err(other) => Err(other),
            Ok(()) => Err(MetaError::Closed("it sends no more changes".to_owned())),
        };
        match ended {
            Ok(snapshot) => {
                tracing::info!(revision = snapshot.revision(), "catalog listed again");
                view.publish(snapshot);
            }
            Err(error) => return error,
        }
    }
}

async fn watch_until_compacted(store: &dyn MetaStore, view: &View) -> Result<(), MetaError> {
    let mut snapshot = view.snapshot();
    let mut changes = store.watch(keys::CATALOG, snapshot.revision()).await?;
    while let Some(changes) = changes.next().await {
        view.publish(snapshot.after(&changes?)?);
        snapshot = view.snapshot();
    }
    Ok(())
}

/// Lists, however long the store is out of reach: the snapshot stays as it is meanwhile, as it does while a
/// watch reconnects.
async fn list_again(store: &dyn MetaStore) -> Result<CatalogSnapshot, MetaError> {
    loop {
        match list(store).await {
            Err(MetaError::OutOfReach { what, problem }) => {
                tracing::warn!(what, problem, "the catalog cannot be listed, trying again");
                sleep(LIST_PAUSE).await;
            }
            listed => return listed,
        }
    }
}

async fn list(store: &dyn MetaStore) -> Result<CatalogSnapshot, MetaError> {
    CatalogSnapshot::load(&store.range(keys::CATALOG).await?)
}
