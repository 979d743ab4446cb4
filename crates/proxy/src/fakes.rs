//! A proxy over a real catalog, whose other parts say what a test tells them to.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use holdfast_meta::{Catalog, CollectionMeta, MemoryStore, NewCollection};
use holdfast_node_api::{
    Coordinator, QueryNode, StreamNode,
    coordinator::{
        AlterParams, CollectionName, CompactionProgress, CreateCollection, CreateIndex,
        FlushReport, IndexProgress, Load, LoadState, Params, Statistics, StoredSegment,
    },
    query_node::{LoadProgress, LoadedSegment},
    read::{Guarantee, HitLists, NodeFetch, NodeQuery, NodeSearch, ReadPoint, RowSet},
    stream_node::{Flushed, FreshSegment},
    write::{WriteAck, WriteRequest},
};
use holdfast_runtime::{CpuPool, ManualClock, MemoryBudget};
use holdfast_types::{
    ChannelId, Code, CollectionId, CollectionSchema, DataType, Failure, FieldId, FieldSchema,
    ManifestVersion, PartitionId, Timestamp, schema::FIRST_USER_FIELD,
};
use parking_lot::Mutex;
use tonic::Request;

use crate::{Components, Options, Proxy, session::Caller};

/// The proxy's time.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// What the parts answer, and what they were asked.
#[derive(Default)]
pub(crate) struct Script {
    /// The calls of the coordinator that change something, in words.
    pub(crate) calls: Vec<String>,
    pub(crate) indexes: Vec<IndexProgress>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) load_state: Option<LoadState>,
    pub(crate) flushes: BTreeMap<String, FlushReport>,
    pub(crate) compaction: i64,
    pub(crate) progress: CompactionProgress,
    pub(crate) stored: Vec<StoredSegment>,
    pub(crate) rows: u64,
    pub(crate) fresh: Vec<FreshSegment>,
    pub(crate) served: Vec<LoadedSegment>,
    /// What the coordinator answers every call with, if anything.
    pub(crate) failure: Option<Failure>,
}

/// All parts of a proxy but the catalog.
#[derive(Clone, Default)]
pub(crate) struct Parts(Arc<Mutex<Script>>);

impl Parts {
    pub(crate) fn script(&self) -> parking_lot::MutexGuard<'_, Script> {
        self.0.lock()
    }

    fn changed(&self, call: String) -> Result<(), Failure> {
        let mut script = self.script();
        script.calls.push(call);
        script.failure.clone().map_or(Ok(()), Err)
    }

    fn ask<T>(&self, answer: impl FnOnce(&mut Script) -> T) -> Result<T, Failure> {
        let mut script = self.script();
        match script.failure.clone() {
            Some(failure) => Err(failure),
            None => Ok(answer(&mut script)),
        }
    }
}

/// A proxy with an empty default database.
pub(crate) async fn proxy() -> (Proxy, Parts) {
    let parts = Parts::default();
    let created = Timestamp::from_unix_ms(NOW_MS - 2_000);
    let catalog = Catalog::open(Arc::new(MemoryStore::new()), created)
        .await
        .unwrap();
    let components = Components {
        catalog,
        coordinator: Arc::new(parts.clone()),
        streams: Arc::new(parts.clone()),
        queries: Arc::new(parts.clone()),
        clock: Arc::new(ManualClock::new(NOW_MS)),
        pool: CpuPool::new(1).unwrap(),
        budget: MemoryBudget::new(1 << 30),
    };
    (Proxy::new(Options::default(), components), parts)
}

/// A caller whose connection names this database, or none.
pub(crate) fn caller(database: &str) -> Caller {
    let mut request = Request::new(());
    if !database.is_empty() {
        request
            .metadata_mut()
            .insert("dbname", database.parse().unwrap());
    }
    Caller::of(request).0
}

/// A field without any role.
pub(crate) fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        dim: data_type.is_dense_vector().then_some(8),
        max_length: None,
        max_capacity: None,
        is_primary: false,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: false,
        type_params: if data_type.is_dense_vector() {
            vec![("dim".to_owned(), "8".to_owned())]
        } else {
            Vec::new()
        },
    }
}

/// `id` (the key), `vector`, `price`, and the dynamic field.
pub(crate) fn schema() -> CollectionSchema {
    let first = FIRST_USER_FIELD.0;
    CollectionSchema {
        description: "things".to_owned(),
        fields: vec![
            FieldSchema {
                is_primary: true,
                ..field(first, "id", DataType::Int64)
            },
            field(first + 1, "vector", DataType::FloatVector),
            field(first + 2, "price", DataType::Double),
            holdfast_proto::schema::dynamic_field(FieldId(first + 3)),
        ],
        enable_dynamic_field: true,
        version: 0,
    }
}

/// Puts a collection of [`schema`] with two shards into the catalog.
pub(crate) async fn collection(proxy: &Proxy, name: &str) -> Arc<CollectionMeta> {
    let new = NewCollection {
        name: name.to_owned(),
        schema: Arc::new(schema()),
        shards: vec![ChannelId(0), ChannelId(3)],
        consistency: 2,
        properties: BTreeMap::from([("collection.ttl.seconds".to_owned(), "60".to_owned())]),
        num_partitions: 0,
        partitions: vec!["_default".to_owned()],
    };
    let created = Timestamp::from_unix_ms(NOW_MS - 1_000);
    proxy
        .catalog
        .create_collection("default", &new, created)
        .await
        .unwrap()
}

fn unasked<T>(call: &str) -> Result<T, Failure> {
    Err(Failure::new(
        Code::Internal,
        format!("no test asks for {call}"),
    ))
}

#[async_trait]
impl Coordinator for Parts {
    async fn create_database(&self, name: &str, properties: Params) -> Result<(), Failure> {
        self.changed(format!("create_database {name} {properties:?}"))
    }
    async fn alter_database(&self, name: &str, change: AlterParams) -> Result<(), Failure> {
        self.changed(format!("alter_database {name} {change:?}"))
    }
    async fn drop_database(&self, name: &str) -> Result<(), Failure> {
        self.changed(format!("drop_database {name}"))
    }
    async fn create_collection(&self, create: CreateCollection) -> Result<(), Failure> {
        let CreateCollection {
            name,
            shards,
            consistency,
            key_partitions,
            ..
        } = create;
        let name = format!("{}.{}", name.database, name.collection);
        self.changed(format!(
            "create_collection {name} shards={shards} level={consistency} parts={key_partitions:?}"
        ))
    }
    async fn drop_collection(&self, name: &CollectionName) -> Result<(), Failure> {
        self.changed(format!(
            "drop_collection {}.{}",
            name.database, name.collection
        ))
    }
    async fn rename_collection(
        &self,
        name: &CollectionName,
        to: &CollectionName,
    ) -> Result<(), Failure> {
        let (a, b) = (&name.database, &to.database);
        self.changed(format!(
            "rename_collection {a}.{} {b}.{}",
            name.collection, to.collection
        ))
    }
    async fn alter_collection(
        &self,
        name: &CollectionName,
        change: AlterParams,
    ) -> Result<(), Failure> {
        self.changed(format!(
            "alter_collection {}.{} {change:?}",
            name.database, name.collection
        ))
    }
    async fn alter_field(
        &self,
        _: &CollectionName,
        field: &str,
        change: AlterParams,
    ) -> Result<(), Failure> {
        self.changed(format!("alter_field {field} {change:?}"))
    }
    async fn add_field(&self, _: &CollectionName, field: FieldSchema) -> Result<(), Failure> {
        self.changed(format!("add_field {} {}", field.name, field.data_type))
    }
    async fn drop_field(&self, _: &CollectionName, field: &str) -> Result<(), Failure> {
        self.changed(format!("drop_field {field}"))
    }
    async fn truncate_collection(&self, name: &CollectionName) -> Result<(), Failure> {
        self.changed(format!("truncate_collection {}", name.collection))
    }
    async fn create_partition(&self, _: &CollectionName, partition: &str) -> Result<(), Failure> {
        self.changed(format!("create_partition {partition}"))
    }
    async fn drop_partition(&self, _: &CollectionName, partition: &str) -> Result<(), Failure> {
        self.changed(format!("drop_partition {partition}"))
    }
    async fn create_alias(&self, name: &CollectionName, alias: &str) -> Result<(), Failure> {
        self.changed(format!("create_alias {} {alias}", name.collection))
    }
    async fn alter_alias(&self, name: &CollectionName, alias: &str) -> Result<(), Failure> {
        self.changed(format!("alter_alias {} {alias}", name.collection))
    }
    async fn drop_alias(&self, database: &str, alias: &str) -> Result<(), Failure> {
        self.changed(format!("drop_alias {database} {alias}"))
    }
    async fn create_index(&self, create: CreateIndex) -> Result<(), Failure> {
        self.changed(format!(
            "create_index {} {:?} {:?}",
            create.field, create.index, create.params
        ))
    }
    async fn alter_index(
        &self,
        _: &CollectionName,
        index: &str,
        change: AlterParams,
    ) -> Result<(), Failure> {
        self.changed(format!("alter_index {index} {change:?}"))
    }
    async fn drop_index(
        &self,
        _: &CollectionName,
        field: &str,
        index: &str,
    ) -> Result<(), Failure> {
        self.changed(format!("drop_index {field:?} {index:?}"))
    }
    async fn index_progress(
        &self,
        _: &CollectionName,
        until: Option<Timestamp>,
    ) -> Result<Vec<IndexProgress>, Failure> {
        self.ask(|script| {
            script.until = until;
            script.indexes.clone()
        })
    }
    async fn load(&self, name: &CollectionName, load: Load) -> Result<(), Failure> {
        self.changed(format!("load {} {load:?}", name.collection))
    }
    async fn release(&self, name: &CollectionName) -> Result<(), Failure> {
        self.changed(format!("release {}", name.collection))
    }
    async fn release_partitions(
        &self,
        _: &CollectionName,
        partitions: &[String],
    ) -> Result<(), Failure> {
        self.changed(format!("release_partitions {partitions:?}"))
    }
    async fn load_state(&self, _: &CollectionName, _: &[String]) -> Result<LoadState, Failure> {
        self.ask(|script| script.load_state.unwrap_or(LoadState::NotLoaded))
    }
    async fn flush(&self, name: &CollectionName) -> Result<FlushReport, Failure> {
        self.changed(format!("flush {}", name.collection))?;
        let found = self.script().flushes.get(&name.collection).cloned();
        found.ok_or_else(|| Failure::new(Code::CollectionNotFound, "collection not found"))
    }
    async fn compact(&self, name: &CollectionName, force: bool) -> Result<i64, Failure> {
        self.changed(format!("compact {} {force}", name.collection))?;
        Ok(self.script().compaction)
    }
    async fn compaction_progress(&self, _: i64) -> Result<CompactionProgress, Failure> {
        self.ask(|script| script.progress.clone())
    }
    async fn compactions(&self, _: &CollectionName) -> Result<CompactionProgress, Failure> {
        self.ask(|script| script.progress.clone())
    }
    async fn stored_segments(&self, _: &CollectionName) -> Result<Vec<StoredSegment>, Failure> {
        self.ask(|script| script.stored.clone())
    }
    async fn statistics(&self, _: &CollectionName, _: Option<&str>) -> Result<Statistics, Failure> {
        self.ask(|script| Statistics { rows: script.rows })
    }
    async fn timestamp(&self) -> Result<Timestamp, Failure> {
        self.ask(|_| Timestamp::from_unix_ms(NOW_MS))
    }
}

#[async_trait]
impl StreamNode for Parts {
    async fn write(&self, _: WriteRequest) -> Result<WriteAck, Failure> {
        unasked("write")
    }
    async fn read_point(&self, _: CollectionId, _: Guarantee) -> Result<ReadPoint, Failure> {
        unasked("read_point")
    }
    async fn search(&self, _: NodeSearch) -> Result<HitLists, Failure> {
        unasked("search")
    }
    async fn query(&self, _: NodeQuery) -> Result<RowSet, Failure> {
        unasked("query")
    }
    async fn count(&self, _: NodeQuery) -> Result<u64, Failure> {
        unasked("count")
    }
    async fn fetch(&self, _: NodeFetch) -> Result<RecordBatch, Failure> {
        unasked("fetch")
    }
    async fn flush(&self, _: CollectionId) -> Result<Flushed, Failure> {
        unasked("flush")
    }
    async fn truncate(&self, _: CollectionId) -> Result<Timestamp, Failure> {
        unasked("truncate")
    }
    async fn drop_partition(&self, _: CollectionId, _: PartitionId) -> Result<(), Failure> {
        unasked("drop_partition")
    }
    async fn drop_collection(&self, _: CollectionId) -> Result<(), Failure> {
        unasked("drop_collection")
    }
    async fn fresh_segments(&self, _: CollectionId) -> Result<Vec<FreshSegment>, Failure> {
        Ok(self.script().fresh.clone())
    }
}

#[async_trait]
impl QueryNode for Parts {
    async fn load(&self, _: CollectionId) -> Result<(), Failure> {
        unasked("load")
    }
    async fn release(&self, _: CollectionId) -> Result<(), Failure> {
        unasked("release")
    }
    async fn progress(&self, _: CollectionId) -> Result<LoadProgress, Failure> {
        unasked("progress")
    }
    async fn versions(
        &self,
        _: CollectionId,
        _: &[ManifestVersion],
    ) -> Result<Vec<ManifestVersion>, Failure> {
        unasked("versions")
    }
    async fn search(&self, _: NodeSearch) -> Result<HitLists, Failure> {
        unasked("search")
    }
    async fn query(&self, _: NodeQuery) -> Result<RowSet, Failure> {
        unasked("query")
    }
    async fn count(&self, _: NodeQuery) -> Result<u64, Failure> {
        unasked("count")
    }
    async fn fetch(&self, _: NodeFetch) -> Result<RecordBatch, Failure> {
        unasked("fetch")
    }
    async fn segments(&self, _: CollectionId) -> Result<Vec<LoadedSegment>, Failure> {
        Ok(self.script().served.clone())
    }
}
