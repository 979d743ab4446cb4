//! DDL of indexes.

use holdfast_meta::{CollectionMeta, IndexMeta, NameOf, check_name};
use holdfast_node_api::coordinator::{AlterParams, CollectionName, CreateIndex};
use holdfast_types::{Code, Failure, FieldSchema, IndexId, Timestamp};

use crate::{
    CoordinatorService,
    collections::{alter, named},
    index_params::{self, JSON_CAST_TYPE},
    properties::{MMAP, check_bool},
};

impl CoordinatorService {
    pub(crate) async fn define_index(&self, create: CreateIndex) -> Result<(), Failure> {
        if !create.index.is_empty() {
            check_name(NameOf::Index, &create.index)?;
        }
        let meta = self.resolve(&create.name)?;
        // Refusals and repetitions cost no id.
        if with_index(&meta, &create, IndexId(0), Timestamp::ZERO)?.is_none() {
            return Ok(());
        }
        let id = IndexId(self.parts.catalog.allocate_ids(1).await?);
        let created = self.hlc.next();
        let changed = self.parts.catalog.update_collection(meta.id, None, |old| {
            Ok(with_index(old, &create, id, created)?.unwrap_or_else(|| old.clone()))
        });
        let changed = changed.await.map_err(|e| named(e, &create.name))?;
        if let Some(index) = changed.indexes.iter().find(|i| i.id == id) {
            tracing::info!(collection = %meta.id, index = %id, name = index.name, kind = ?index.kind, "index created");
        }
        self.index_work.notify_one();
        Ok(())
    }

    pub(crate) async fn change_index(
        &self,
        name: &CollectionName,
        index: &str,
        change: &AlterParams,
    ) -> Result<(), Failure> {
        let keys = change.set.iter().map(|(key, _)| key);
        if let Some(key) = keys
            .chain(&change.remove)
            .find(|k| !index_params::is_alterable(k))
        {
            return Err(Failure::invalid(format!(
                "{key} is not a configable index property"
            )));
        }
        for (key, value) in change.set.iter().filter(|(key, _)| key == MMAP) {
            check_bool(key, value)?;
        }
        let id = self.resolve(name)?.id;
        let changed = self.parts.catalog.update_collection(id, None, |old| {
            let mut new = old.clone();
            let found = new.indexes.iter_mut().find(|i| i.name == index);
            let found = found.ok_or_else(|| {
                Failure::new(
                    Code::IndexNotFound,
                    format!("index not found[index={index}]"),
                )
            })?;
            alter(&mut found.asked, change);
            Ok(new)
        });
        changed.await.map(drop).map_err(|e| named(e, name))
    }

    pub(crate) async fn remove_index(
        &self,
        name: &CollectionName,
        field: &str,
        index: &str,
    ) -> Result<(), Failure> {
        let id = self.resolve(name)?.id;
        let changed = self.parts.catalog.update_collection(id, None, |old| {
            let field = old.schema.field(field).map(|f| f.id);
            let is_meant = |i: &IndexMeta| match index {
                "" => field.is_none_or(|f| i.field == f),
                _ => i.name == index,
            };
            if index.is_empty() && field.is_none() {
                return Ok(old.clone());
            }
            if old.indexes.iter().any(|i| is_meant(i) && is_in_use(old, i)) {
                return Err(Failure::invalid(
                    "index cannot be dropped, collection is loaded, please release it first",
                ));
            }
            let mut new = old.clone();
            new.indexes.retain(|i| !is_meant(i));
            Ok(new)
        });
        changed.await.map_err(|e| named(e, name))?;
        // The manifests name its files still.
        self.left_over.notify_one();
        Ok(())
    }
}

/// Whether a loaded collection needs the index: those of vectors that are served.
fn is_in_use(meta: &CollectionMeta, index: &IndexMeta) -> bool {
    let Some(load) = &meta.load else { return false };
    let is_served = load.fields.is_empty() || load.fields.contains(&index.field);
    index.metric.is_some() && is_served
}

/// The collection with one more index; `None` when it has it already.
fn with_index(
    meta: &CollectionMeta,
    create: &CreateIndex,
    id: IndexId,
    created: Timestamp,
) -> Result<Option<CollectionMeta>, Failure> {
    let field = indexed_field(meta, create)?;
    let resolved = index_params::resolve(field, &meta.schema, &create.params)?;
    let default_name = || format!("{}{}", field.name, resolved.suffix);
    let on_same = |i: &IndexMeta| {
        i.field == field.id
            && i.json_path.as_ref().map(|p| &p.path) == resolved.json_path.as_ref().map(|p| &p.path)
    };
    let distinct =
        || Failure::invalid("CreateIndex failed: at most one distinct index is allowed per field");
    if let Some(existing) = meta.indexes.iter().find(|i| on_same(i)) {
        if !create.index.is_empty() && existing.name != create.index {
            return Err(Failure::invalid(
                "CreateIndex failed: creating multiple indexes on same field is not supported",
            ));
        }
        let is_same = existing.kind == resolved.kind
            && existing.metric == resolved.metric
            && existing.json_path == resolved.json_path
            && index_params::same_asked(&existing.asked, &resolved.asked);
        return if is_same { Ok(None) } else { Err(distinct()) };
    }
    let name = match create.index.as_str() {
        "" => default_name(),
        given => given.to_owned(),
    };
    if meta.index(&name).is_some() {
        return Err(distinct());
    }
    let mut new = meta.clone();
    new.indexes.push(IndexMeta {
        id,
        field: field.id,
        name,
        kind: resolved.kind,
        asked: resolved.asked,
        metric: resolved.metric,
        json_path: resolved.json_path,
        created,
    });
    Ok(Some(new))
}

/// The field of this name, or the dynamic field when a path is indexed by the name of a dynamic key.
fn indexed_field<'a>(
    meta: &'a CollectionMeta,
    create: &CreateIndex,
) -> Result<&'a FieldSchema, Failure> {
    let is_path = create.params.iter().any(|(key, _)| key == JSON_CAST_TYPE);
    meta.schema
        .field(&create.field)
        .or_else(|| meta.schema.dynamic().filter(|_| is_path))
        .ok_or_else(|| {
            Failure::invalid(format!(
                "cannot create index on non-exist field: {}",
                create.field
            ))
        })
}
