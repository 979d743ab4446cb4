//! Sessions as leases of etcd.
//!
//! A task keeps the lease alive through whichever member answers. What the owner knows is pessimistic: a lease
//! counts from the moment its last renewal was **sent**, while etcd counts from when it took it, so the owner
//! hears of the end before etcd deletes the keys. (etcd lets a lease live longer after a change of leader.)

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use etcd_client::{Client, Error, PutOptions, TxnOp};
use holdfast_meta::{MetaError, Session, Sessions, Txn, TxnOutcome};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    EtcdStore,
    fault::Fault,
    members::{Members, Repeatable},
    store::transact,
    watcher::Shared,
};

/// A lease is renewed so often while it lives.
const RENEWALS: u32 = 3;
/// Pause after a renewal that failed at all members.
const PAUSE: Duration = Duration::from_millis(50);

#[async_trait]
impl Sessions for EtcdStore {
    async fn open_session(self: Arc<Self>, ttl: Duration) -> Result<Box<dyn Session>, MetaError> {
        let shared = self.shared().clone();
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
        let sent = Instant::now();
        let ask = |client: Arc<Client>| async move {
            client.lease_client().grant(seconds.max(1), None).await
        };
        // A grant whose answer is lost is a lease without keys, which runs out by itself.
        let granted = shared.members.call("grant", Repeatable::Always, ask).await;
        let granted = granted.map_err(|fault| fault.into_meta(shared.members.name()))?;
        let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(0));
        let ends = Arc::new(Mutex::new(sent + ttl));
        let lease = Lease {
            members: Arc::clone(&shared.members),
            id: granted.id(),
            ttl,
            ends: Arc::clone(&ends),
        };
        let ended = CancellationToken::new();
        let dropped = CancellationToken::new();
        tokio::spawn({
            let (ended, dropped) = (ended.clone(), dropped.clone());
            let id = lease.id;
            async move {
                tokio::select! {
                    () = dropped.cancelled() => {}
                    () = ended.cancelled() => {}
                    () = lease.keep_alive(sent) => {
                        tracing::warn!(lease = id, "a session with etcd has ended");
                    }
                }
                ended.cancel();
            }
        });
        Ok(Box::new(EtcdSession {
            shared,
            id: granted.id(),
            ends,
            ended,
            _keeper: dropped.drop_guard(),
        }))
    }
}

struct EtcdSession {
    shared: Shared,
    id: i64,
    /// Until when the lease lives at least.
    ends: Arc<Mutex<Instant>>,
    ended: CancellationToken,
    /// Ends the task that keeps the lease alive, when this is dropped.
    _keeper: DropGuard,
}

#[async_trait]
impl Session for EtcdSession {
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        if self.ended.is_cancelled() {
            return Err(over());
        }
        let lease = PutOptions::new().with_lease(self.id);
        let put = |key, value| TxnOp::put(key, value, Some(lease.clone()));
        match transact(&self.shared, &txn, put).await {
            Err(MetaError::Refused(problem)) if problem.contains("lease not found") => Err(over()),
            outcome => outcome,
        }
    }

    async fn ended(&self) {
        self.ended.cancelled().await;
    }

    fn is_live(&self) -> bool {
        let ends = *self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        !self.ended.is_cancelled() && Instant::now() < ends
    }

    async fn close(&self) -> Result<(), MetaError> {
        self.ended.cancel();
        let id = self.id;
        let ask = |client: Arc<Client>| async move { client.lease_client().revoke(id).await };
        let members = &self.shared.members;
        match members.call("revoke", Repeatable::Always, ask).await {
            Ok(_) => Ok(()),
            // It has run out, or was revoked by a try whose answer was lost.
            Err(Fault::Refused(problem)) if problem.contains("lease not found") => Ok(()),
            Err(fault) => Err(fault.into_meta(members.name())),
        }
    }
}

fn over() -> MetaError {
    MetaError::Closed("the session ended".to_owned())
}

struct Lease {
    members: Arc<Members>,
    id: i64,
    ttl: Duration,
    ends: Arc<Mutex<Instant>>,
}

impl Lease {
    /// Renews the lease until it is gone, or nothing certain is known about it any more.
    async fn keep_alive(&self, granted: Instant) {
        let mut renewed = granted;
        loop {
            sleep_until(renewed + self.ttl / RENEWALS).await;
            let ends = renewed + self.ttl;
            loop {
                let sent = Instant::now();
                match timeout_at(ends, self.renew()).await {
                    Ok(Ok(())) => {
                        renewed = sent;
                        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = sent + self.ttl;
                        break;
                    }
                    Ok(Err(Fault::Refused(_))) | Err(_) => return,
                    Ok(Err(_)) if Instant::now() + PAUSE >= ends => return,
                    Ok(Err(_)) => sleep(PAUSE).await,
                }
            }
        }
    }

    async fn renew(&self) -> Result<(), Fault> {
        let id = self.id;
        let ask = |client: Arc<Client>| async move {
            match client.lease_client().keep_alive(id).await {
                Ok(_) => Ok(true),
                // The library's own words for an answer that gives the lease no time.
                Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(other) => Err(other),
            }
        };
        match self
            .members
            .call("keep_alive", Repeatable::Always, ask)
            .await?
        {
            true => Ok(()),
            false => Err(Fault::Refused("lease not found".to_owned())),
        }
    }
}
