//! Load and release: what is to be served stands in the catalog; the query-node is told.

use holdfast_meta::{CollectionMeta, LoadSpec};
use holdfast_node_api::{
    coordinator::{CollectionName, Load, LoadState},
    query_node::LoadProgress,
};
use holdfast_types::{Code, Failure, FieldId};

use crate::{
    CoordinatorService,
    collections::named,
    partitions::{ids_of, refuse_key_mode},
};

impl CoordinatorService {
    pub(crate) async fn start_load(
        &self,
        name: &CollectionName,
        load: &Load,
    ) -> Result<(), Failure> {
        let meta = self.resolve(name)?;
        if load.replicas > 1 {
            return Err(Failure::invalid(format!(
                "no enough nodes to create replicas: {} replicas are asked for and there is 1 query node",
                load.replicas
            )));
        }
        if !load.partitions.is_empty() {
            refuse_key_mode(&meta, "load partitions")?;
        }
        let _loads = self.loads.lock().await;
        let changed = self.parts.catalog.update_collection(meta.id, None, |old| {
            let spec = spec(old, load)?;
            check_indexes(old, &spec.fields, &name.collection)?;
            let mut new = old.clone();
            new.load = Some(spec);
            Ok(new)
        });
        changed.await.map_err(|e| named(e, name))?;
        self.parts.queries.load(meta.id).await?;
        tracing::info!(collection = %meta.id, name = meta.name, "collection loaded");
        Ok(())
    }

    pub(crate) async fn end_load(&self, name: &CollectionName) -> Result<(), Failure> {
        let meta = self.resolve(name)?;
        let _loads = self.loads.lock().await;
        let changed = self.parts.catalog.update_collection(meta.id, None, |old| {
            let mut new = old.clone();
            new.load = None;
            Ok(new)
        });
        changed.await.map_err(|e| named(e, name))?;
        self.parts.queries.release(meta.id).await?;
        tracing::info!(collection = %meta.id, name = meta.name, "collection released");
        Ok(())
    }

    pub(crate) async fn end_load_of(
        &self,
        name: &CollectionName,
        partitions: &[String],
    ) -> Result<(), Failure> {
        let meta = self.resolve(name)?;
        refuse_key_mode(&meta, "release partitions")?;
        let _loads = self.loads.lock().await;
        let changed = self.parts.catalog.update_collection(meta.id, None, |old| {
            let released = ids_of(old, partitions)?;
            let mut new = old.clone();
            let Some(load) = &mut new.load else {
                return Ok(new);
            };
            if load.partitions.is_empty() {
                load.partitions = old.partitions.iter().map(|p| p.id).collect();
            }
            load.partitions.retain(|p| !released.contains(p));
            // An empty list would mean all.
            if load.partitions.is_empty() {
                new.load = None;
            }
            Ok(new)
        });
        let changed = changed.await.map_err(|e| named(e, name))?;
        if changed.load.is_none() {
            self.parts.queries.release(meta.id).await?;
        }
        Ok(())
    }

    pub(crate) async fn load_so_far(
        &self,
        name: &CollectionName,
        partitions: &[String],
    ) -> Result<LoadState, Failure> {
        let meta = match self.resolve(name) {
            Ok(meta) => meta,
            Err(e) if e.code == Code::CollectionNotFound => return Ok(LoadState::NotExist),
            Err(e) => return Err(e),
        };
        let Ok(asked) = ids_of(&meta, partitions) else {
            return Ok(LoadState::NotExist);
        };
        let Some(load) = &meta.load else {
            return Ok(LoadState::NotLoaded);
        };
        let is_served = |p| load.partitions.is_empty() || load.partitions.contains(p);
        if !asked.iter().all(is_served) {
            return Ok(LoadState::NotLoaded);
        }
        match self.parts.queries.progress(meta.id).await {
            Ok(LoadProgress { loaded, total }) if loaded >= total => Ok(LoadState::Loaded),
            Ok(LoadProgress { loaded, total }) => {
                let percent = u8::try_from(loaded.saturating_mul(100) / total).unwrap_or(99);
                Ok(LoadState::Loading(percent.min(99)))
            }
            // It is to be served, and the node has not been told yet.
            Err(e) if e.code == Code::CollectionNotLoaded => {
                self.left_over.notify_one();
                Ok(LoadState::Loading(0))
            }
            Err(e) => Err(e),
        }
    }
}

/// What is to be served from now on.
fn spec(meta: &CollectionMeta, load: &Load) -> Result<LoadSpec, Failure> {
    let asked = ids_of(meta, &load.partitions)?;
    let fields = fields(meta, &load.fields)?;
    let Some(old) = &meta.load else {
        return Ok(LoadSpec {
            fields,
            partitions: asked,
            replicas: 1,
        });
    };
    if old.fields != fields {
        return Err(Failure::invalid(
            "can't change the load field list for loaded collection, please release it first",
        ));
    }
    let mut partitions = Vec::new();
    // Everything stays loaded, or becomes so; else what is loaded grows.
    if !old.partitions.is_empty() && !asked.is_empty() {
        partitions.extend(old.partitions.iter().chain(&asked));
        partitions.sort_unstable();
        partitions.dedup();
    }
    Ok(LoadSpec {
        fields,
        partitions,
        replicas: 1,
    })
}

/// The ids of fields to be loaded; none when that is all of them.
fn fields(meta: &CollectionMeta, names: &[String]) -> Result<Vec<FieldId>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let schema = &meta.schema;
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let field = schema.field(name).ok_or_else(|| {
            Failure::invalid(format!(
                "field {name} not found in collection {}",
                meta.name
            ))
        })?;
        ids.push(field.id);
    }
    ids.sort_unstable();
    ids.dedup();
    let shown = names.join(" ");
    let lacks = |what: &str| {
        Err(Failure::invalid(format!(
            "load field list [{shown}] does not contain {what}"
        )))
    };
    let primary = schema.primary();
    if !ids.contains(&primary.id) {
        return lacks(&format!("primary key field {}", primary.name));
    }
    if let Some(key) = schema.partition_key().filter(|f| !ids.contains(&f.id)) {
        return lacks(&format!("partition key field {}", key.name));
    }
    if !schema.vectors().any(|f| ids.contains(&f.id)) {
        return lacks("vector field");
    }
    let all = schema.fields.iter().filter(|f| !f.is_dynamic);
    if all.clone().count() == ids.len() && all.clone().all(|f| ids.contains(&f.id)) {
        return Ok(Vec::new());
    }
    Ok(ids)
}

/// Every vector that is served needs an index definition.
fn check_indexes(
    meta: &CollectionMeta,
    fields: &[FieldId],
    collection: &str,
) -> Result<(), Failure> {
    if meta.indexes.is_empty() {
        return Err(Failure::new(
            Code::IndexNotFound,
            format!("index not found[collection={collection}]"),
        ));
    }
    let bare: Vec<&str> = meta
        .schema
        .vectors()
        .filter(|f| fields.is_empty() || fields.contains(&f.id))
        .filter(|f| meta.indexes_on(f.id).next().is_none())
        .map(|f| f.name.as_str())
        .collect();
    if bare.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "there is no vector index on field: [{}], please create index firstly",
        bare.join(" ")
    )))
}
