//! Indexes: create, describe and their progress, alter, drop.

use holdfast_meta::{CollectionMeta, IndexKind, IndexMeta, NameOf, check_name};
use holdfast_node_api::coordinator::{CreateIndex, IndexProgress};
use holdfast_proto::{
    kv::{self, Params},
    milvus::{
        common::{IndexState, KeyValuePair, Status},
        milvus::{self, IndexDescription},
    },
    status,
};
use holdfast_types::{Code, Failure, Timestamp};

use super::change::change;
use crate::{Proxy, resolve, session::Caller};

const INDEX_TYPE: &str = "index_type";
const METRIC_TYPE: &str = "metric_type";

/// Defines an index; it is built in the background.
pub(crate) async fn create(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::CreateIndexRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_field(&request.field_name)?;
    if !request.index_name.is_empty() {
        check_name(NameOf::Index, &request.index_name)?;
    }
    Params::new("extra_params", &request.extra_params)?;
    let create = CreateIndex {
        name,
        field: request.field_name,
        index: request.index_name,
        params: kv::to_domain(&request.extra_params),
    };
    proxy.coordinator.create_index(create).await?;
    Ok(status::ok())
}

/// Refuses a name that no field can have.
fn check_field(name: &str) -> Result<(), Failure> {
    check_name(NameOf::Field, name)
}

/// Changes an index's parameters.
pub(crate) async fn alter(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::AlterIndexRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_name(NameOf::Index, &request.index_name)?;
    let change = change("extra_params", &request.extra_params, request.delete_keys)?;
    proxy
        .coordinator
        .alter_index(&name, &request.index_name, change)
        .await?;
    Ok(status::ok())
}

/// Drops an index by its name, or those of a field; a missing one is success.
pub(crate) async fn drop(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DropIndexRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    if request.index_name.is_empty() && request.field_name.is_empty() {
        return Err(Failure::invalid(
            "index_name, field_name: one of them must not be empty",
        ));
    }
    proxy
        .coordinator
        .drop_index(&name, &request.field_name, &request.index_name)
        .await?;
    Ok(status::ok())
}

/// Which indexes of a collection a request means. An empty text means "any".
struct Wanted<'a> {
    database: &'a str,
    collection: &'a str,
    field: &'a str,
    index: &'a str,
    /// Only rows up to this stamp count; 0 means all.
    until: u64,
}

impl Wanted<'_> {
    /// The indexes with their progress; at least one.
    async fn find(&self, proxy: &Proxy, caller: &Caller) -> Result<Vec<IndexDescription>, Failure> {
        let target = resolve::target(caller, self.database, self.collection)?;
        // Checked before it is repeated in a message.
        if !self.index.is_empty() {
            check_name(NameOf::Index, self.index)?;
        }
        if !self.field.is_empty() {
            check_field(self.field)?;
        }
        let until = Some(Timestamp(self.until)).filter(|&stamp| stamp > Timestamp::ZERO);
        let progress = proxy.coordinator.index_progress(&target, until).await?;
        // The catalog is read after the progress: what is in both has not been dropped meanwhile.
        let meta = resolve::collection(proxy, caller, self.database, self.collection)?;
        self.select(&meta, &progress)
    }

    fn select(
        &self,
        meta: &CollectionMeta,
        progress: &[IndexProgress],
    ) -> Result<Vec<IndexDescription>, Failure> {
        let field = match self.field {
            "" => None,
            name => Some(resolve::field(meta, name)?.id),
        };
        let is_wanted = |index: &&IndexMeta| {
            (self.index.is_empty() || index.name == self.index)
                && field.is_none_or(|id| index.field == id)
        };
        let found: Vec<IndexDescription> = meta
            .indexes
            .iter()
            .filter(is_wanted)
            .filter_map(|index| {
                let progress = progress.iter().find(|p| p.index == index.id)?;
                Some(description(meta, index, progress))
            })
            .collect();
        if found.is_empty() {
            let what = [
                ("index", self.index),
                ("field", self.field),
                ("collection", &meta.name),
            ];
            let what = what.iter().filter(|(_, name)| !name.is_empty());
            let what: String = what
                .map(|(what, name)| format!("[{what}={name}]"))
                .collect();
            return Err(Failure::new(
                Code::IndexNotFound,
                format!("index not found{what}"),
            ));
        }
        Ok(found)
    }
}

fn description(
    meta: &CollectionMeta,
    index: &IndexMeta,
    progress: &IndexProgress,
) -> IndexDescription {
    let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    IndexDescription {
        index_name: index.name.clone(),
        index_id: index.id.0,
        params: params(index),
        field_name: meta
            .schema
            .field_by_id(index.field)
            .map_or_else(String::new, |f| f.name.clone()),
        indexed_rows: count(progress.indexed_rows),
        total_rows: count(progress.total_rows),
        state: state_of(progress).into(),
        index_state_fail_reason: progress.failure.clone().unwrap_or_default(),
        pending_index_rows: count(progress.pending_rows),
        min_index_version: 0,
        max_index_version: 0,
    }
}

/// Clients wait until this is `Finished` or `Failed`; an index that lacks no row is finished.
fn state_of(progress: &IndexProgress) -> IndexState {
    match progress {
        IndexProgress {
            failure: Some(_), ..
        } => IndexState::Failed,
        IndexProgress {
            pending_rows: 0, ..
        } => IndexState::Finished,
        IndexProgress { .. } => IndexState::InProgress,
    }
}

/// The parameters as they were given; what was left to the server is added.
fn params(index: &IndexMeta) -> Vec<KeyValuePair> {
    let mut shown = kv::to_wire(index.asked.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    if kv::get(&shown, INDEX_TYPE).is_none() {
        shown.push(kv::pair(INDEX_TYPE, name_of(&index.kind)));
    }
    if let Some(metric) = index.metric
        && kv::get(&shown, METRIC_TYPE).is_none()
    {
        shown.push(kv::pair(METRIC_TYPE, metric.to_string()));
    }
    shown
}

/// What clients call an index of this kind.
fn name_of(kind: &IndexKind) -> &'static str {
    match kind {
        IndexKind::Flat => "FLAT",
        IndexKind::Hnsw { .. } => "HNSW",
        IndexKind::SparseInverted => "SPARSE_INVERTED_INDEX",
        IndexKind::BinFlat => "BIN_FLAT",
        IndexKind::Inverted => "INVERTED",
        IndexKind::Bitmap => "BITMAP",
        IndexKind::StlSort => "STL_SORT",
    }
}

/// Indexes, their parameters and how far they have come.
pub(crate) async fn describe(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DescribeIndexRequest,
) -> Result<milvus::DescribeIndexResponse, Failure> {
    let wanted = Wanted {
        database: &request.db_name,
        collection: &request.collection_name,
        field: &request.field_name,
        index: &request.index_name,
        until: request.timestamp,
    };
    let index_descriptions = wanted.find(proxy, caller).await?;
    Ok(milvus::DescribeIndexResponse {
        status: Some(status::ok()),
        index_descriptions,
    })
}

/// As [`describe`], by the name of the index only.
pub(crate) async fn statistics(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetIndexStatisticsRequest,
) -> Result<milvus::GetIndexStatisticsResponse, Failure> {
    let wanted = Wanted {
        database: &request.db_name,
        collection: &request.collection_name,
        field: "",
        index: &request.index_name,
        until: request.timestamp,
    };
    let index_descriptions = wanted.find(proxy, caller).await?;
    Ok(milvus::GetIndexStatisticsResponse {
        status: Some(status::ok()),
        index_descriptions,
    })
}

/// The state of an index, or of all that are meant together.
pub(crate) async fn state(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetIndexStateRequest,
) -> Result<milvus::GetIndexStateResponse, Failure> {
    let wanted = Wanted {
        database: &request.db_name,
        collection: &request.collection_name,
        field: &request.field_name,
        index: &request.index_name,
        until: 0,
    };
    let (state, fail_reason) = state_of_all(&wanted.find(proxy, caller).await?);
    Ok(milvus::GetIndexStateResponse {
        status: Some(status::ok()),
        state: state.into(),
        fail_reason,
    })
}

/// One failure fails all, and all have to be finished.
fn state_of_all(found: &[IndexDescription]) -> (IndexState, String) {
    if let Some(failed) = found.iter().find(|d| d.state() == IndexState::Failed) {
        return (IndexState::Failed, failed.index_state_fail_reason.clone());
    }
    if found.iter().all(|d| d.state() == IndexState::Finished) {
        return (IndexState::Finished, String::new());
    }
    (IndexState::InProgress, String::new())
}

/// The rows of one index.
pub(crate) async fn build_progress(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetIndexBuildProgressRequest,
) -> Result<milvus::GetIndexBuildProgressResponse, Failure> {
    let wanted = Wanted {
        database: &request.db_name,
        collection: &request.collection_name,
        field: &request.field_name,
        index: &request.index_name,
        until: 0,
    };
    match wanted.find(proxy, caller).await?.as_slice() {
        [one] => Ok(milvus::GetIndexBuildProgressResponse {
            status: Some(status::ok()),
            indexed_rows: one.indexed_rows,
            total_rows: one.total_rows,
        }),
        several => Err(Failure::invalid(format!(
            "index_name: the collection has {} such indexes, name one of them",
            several.len()
        ))),
    }
}

#[cfg(test)]
mod tests;
