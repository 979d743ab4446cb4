//! Hosts that run a log-node: the journal, the state machine and the gRPC service that ship, on a simulated disk.

use std::{path::Path, sync::Arc, time::Duration};

use holdfast_disk::{Disk, SimDisk};
use holdfast_journal::{Journal, Owner, error::Loss, stored_identity};
use holdfast_log_node::{
    Device, LogNode, Options, Registration,
    grpc::{self, Service},
    keep_raising, recognise, register,
};
use holdfast_qlog::{NodeImage, StorageId, Zone, messages::ClusterId, node::NodeOptions};
use holdfast_runtime::Shutdown;
use holdfast_types::ChannelId;
use parking_lot::Mutex;
use turmoil::net::TcpListener;

use crate::{
    device::{DIR, Opened, Pace, SimDevice, see_all, sound},
    meta::Meta,
    net::{PORT, incoming},
    watch::Watch,
};

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);
/// Bytes of entries that may wait for a disk.
const PENDING_BYTES_MAX: u64 = 256 << 10;

/// One log-node: what outlives its process.
#[derive(Clone)]
pub(crate) struct SimNode {
    pub(crate) name: Arc<str>,
    pub(crate) zone: Zone,
    pub(crate) pace: Pace,
    pub(crate) state: Arc<Mutex<NodeState>>,
}

pub(crate) struct NodeState {
    pub(crate) disk: SimDisk,
    pub(crate) storage: StorageId,
    /// The disk may lose something.
    pub(crate) victim: bool,
    /// It has lost something, and is exchanged when the node crashes.
    pub(crate) harmed: bool,
    /// Starts so far; each has random numbers of its own.
    pub(crate) lives: u64,
    /// A copy of the disk of an earlier time, and its generation.
    pub(crate) snapshot: Option<(SimDisk, u64)>,
    pub(crate) opened: Option<Opened>,
    /// What the disk has, for when no process runs.
    pub(crate) image: NodeImage,
    /// The process ended by itself: the disk could not be opened.
    pub(crate) broken: bool,
    /// The disk fails for a while.
    pub(crate) ill: bool,
}

impl SimNode {
    pub(crate) fn new(n: usize, zone: &str, (seed, sync_max): (u64, Duration)) -> Self {
        let disk = SimDisk::new(seed);
        disk.set_faults(sound());
        Self {
            name: format!("log-{n}").into(),
            zone: Zone(zone.into()),
            pace: Pace::new(sync_max),
            state: Arc::new(Mutex::new(NodeState {
                disk,
                storage: StorageId([n as u8 + 1; 16]),
                victim: false,
                harmed: false,
                lives: 0,
                snapshot: None,
                opened: None,
                image: NodeImage::default(),
                broken: false,
                ill: false,
            })),
        }
    }

    /// Another disk, empty.
    pub(crate) fn exchange(&self, storage: StorageId, seed: u64) {
        let state = &mut *self.state.lock();
        state.disk = SimDisk::new(seed);
        state.disk.set_faults(sound());
        state.storage = storage;
        state.harmed = false;
        state.snapshot = None;
        state.broken = false;
        state.ill = false;
        state.image = NodeImage::default();
    }

    /// The process: opens the disk, registers, and serves until it is ended from outside.
    pub(crate) async fn run(self, meta: Meta, watch: Watch, seed: u64) -> turmoil::Result {
        let options = options();
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let (disk, storage, seed) = {
            let state = &mut *self.state.lock();
            state.lives += 1;
            let seed = seed ^ state.lives << 8;
            (state.disk.clone(), state.storage, seed)
        };
        let owner = Owner {
            cluster: CLUSTER,
            storage: None,
            fresh: (storage, storage.0),
        };
        let store = meta.of_host(&self.name, seed);
        let stored = stored_identity(&disk, Path::new(DIR)).map_err(|e| e.to_string());
        if let Ok(Some(stored)) = &stored {
            recognise(&*store, &self.name, stored).await?;
        }
        let on: Arc<dyn Disk> = Arc::new(disk.clone());
        let opened = stored
            .and_then(|_| {
                Journal::open(on, Path::new(DIR), &owner, &options.journal)
                    .map_err(|e| e.to_string())
            })
            .and_then(|(journal, found)| see_all(&journal, &watch).map(|()| (journal, found)));
        let (journal, recovered) = match opened {
            Ok(opened) => opened,
            Err(problem) => {
                self.cannot_start(&watch, &problem);
                return Ok(());
            }
        };
        let forgetful = recovered.damage.iter().any(|d| d.loss == Loss::Control);
        let identity = recovered.identity;
        {
            let state = self.state.lock();
            if !state.harmed && !recovered.damage.is_empty() {
                let problem = format!("{} is damaged: {:?}", self.name, recovered.damage);
                watch.violated(13, ChannelId(0), problem);
            }
        }
        let (device, handle) = SimDevice::start(
            &self.name,
            journal,
            (disk, self.pace.clone()),
            &watch,
            (seed, PENDING_BYTES_MAX),
        );
        self.state.lock().opened = Some(handle);
        let device: Arc<dyn Device> = Arc::new(device);
        let registration = Registration {
            node: Arc::clone(&self.name),
            address: format!("{}:{PORT}", self.name).into(),
            zone: self.zone.clone(),
            free_bytes: 1 << 40,
            total_bytes: 1 << 40,
        };
        let old_copy = register(&*store, &registration, &identity).await?;
        let data_loss = old_copy || forgetful;
        if data_loss {
            watch.condemn(identity.storage);
            let state = &mut *self.state.lock();
            if !state.harmed {
                let problem = format!("{} is not believed and has lost nothing", self.name);
                watch.violated(13, ChannelId(0), problem);
            }
        }
        watch.note(format_args!(
            "{} serves, generation {}, data loss {data_loss}",
            self.name, identity.generation
        ));
        let running = Shutdown::new();
        running.spawn(keep_raising(
            store,
            Arc::clone(&self.name),
            Arc::clone(&device),
            options.raise_every,
            running.clone(),
        ));
        let node = LogNode::start(
            &options,
            NodeOptions {
                cluster: CLUSTER,
                node: Arc::clone(&self.name),
                storage: identity.storage,
                generation: identity.generation,
                data_loss,
                pending_bytes_max: options.pending_bytes_max,
                read_entries_max: options.read_entries_max,
            },
            Arc::clone(&device),
            &running,
        );
        let service = Service::new(node, self.zone.clone(), device).into_server();
        grpc::server()
            .add_service(service)
            .serve_with_incoming(incoming(listener))
            .await?;
        Ok(())
    }
}

fn options() -> Options {
    Options {
        raise_every: Duration::from_millis(700),
        pending_bytes_max: PENDING_BYTES_MAX,
        read_entries_max: 64,
        journal: holdfast_journal::Options {
            file_bytes: 256 << 10,
            batch_bytes_max: 64 << 10,
            spares_max: 2,
            ..holdfast_journal::Options::default()
        },
        ..Options::default()
    }
}

impl SimNode {
    fn cannot_start(&self, watch: &Watch, problem: &str) {
        let problem = format!("{} cannot start: {problem}", self.name);
        watch.note(format_args!("{problem}"));
        let state = &mut *self.state.lock();
        state.broken = true;
        // Only a disk that may lose something may end so, or one that fails just now.
        if !state.harmed && !state.ill {
            watch.violated(13, ChannelId(0), problem);
        }
    }

    /// Which disk it has, and what that vouches for.
    pub(crate) fn image(&self) -> (StorageId, NodeImage) {
        let state = self.state.lock();
        let running = state.opened.as_ref().and_then(Opened::image);
        (
            state.storage,
            running.unwrap_or_else(|| state.image.clone()),
        )
    }
}
