//! The proxy and what it is made of.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use holdfast_meta::{Catalog, CatalogSnapshot};
use holdfast_node_api::{Coordinator, QueryNode, StreamNode};
use holdfast_proto::milvus::milvus::milvus_service_server::MilvusServiceServer;
use holdfast_runtime::{Clock, CpuPool, MemoryBudget};
use tonic::codec::CompressionEncoding;

use crate::{
    metered::{Intake, Metered},
    options::Options,
};

/// What a proxy is built on.
#[derive(Clone)]
pub struct Components {
    /// What collections there are.
    pub catalog: Arc<Catalog>,
    /// DDL, load, flush, compaction.
    pub coordinator: Arc<dyn Coordinator>,
    /// Writes and fresh rows.
    pub streams: Arc<dyn StreamNode>,
    /// Flushed rows.
    pub queries: Arc<dyn QueryNode>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where computing happens.
    pub pool: Arc<CpuPool>,
    /// What memory there is.
    pub budget: Arc<MemoryBudget>,
}

/// The public API.
#[derive(Clone)]
pub struct Proxy {
    pub(crate) options: Options,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) coordinator: Arc<dyn Coordinator>,
    pub(crate) streams: Arc<dyn StreamNode>,
    pub(crate) queries: Arc<dyn QueryNode>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) budget: Arc<MemoryBudget>,
    next_client: Arc<AtomicI64>,
}

/// What a gRPC server serves.
pub type PublicServer = Metered<MilvusServiceServer<Proxy>>;

impl Proxy {
    /// A proxy that answers from `parts`.
    #[must_use]
    pub fn new(options: Options, parts: Components) -> Self {
        let Components {
            catalog,
            coordinator,
            streams,
            queries,
            clock,
            pool,
            budget,
        } = parts;
        let first = i64::try_from(clock.unix_ms()).unwrap_or(1) << 18;
        Self {
            options,
            catalog,
            coordinator,
            streams,
            queries,
            clock,
            pool,
            budget,
            next_client: Arc::new(AtomicI64::new(first)),
        }
    }

    /// The public service, with its limits.
    #[must_use]
    pub fn into_server(self) -> PublicServer {
        let (incoming, outgoing) = (
            self.options.message_bytes_max,
            self.options.answer_bytes_max,
        );
        let intake = Intake {
            budget: Arc::clone(&self.budget),
            memory_wait_max: self.options.memory_wait_max,
            message_bytes_max: incoming,
        };
        let server = MilvusServiceServer::new(self)
            .max_decoding_message_size(incoming)
            .max_encoding_message_size(outgoing)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Metered::new(server, intake)
    }

    /// What collections there are now.
    pub(crate) fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.catalog.snapshot()
    }

    /// A number that no other connection of this proxy has.
    pub(crate) fn client_id(&self) -> i64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }
}
