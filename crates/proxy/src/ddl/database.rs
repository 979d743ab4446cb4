//! Databases: create, describe, list, alter, drop.

use holdfast_meta::{NameOf, check_name};
use holdfast_proto::{
    kv::{self, Params},
    milvus::{common::Status, milvus},
    status,
};
use holdfast_types::Failure;

use super::change::change;
use crate::{Proxy, session::Caller};

/// Creates a database.
pub(crate) async fn create(
    proxy: &Proxy,
    _caller: &Caller,
    request: milvus::CreateDatabaseRequest,
) -> Result<Status, Failure> {
    check_name(NameOf::Database, &request.db_name)?;
    Params::new("properties", &request.properties)?;
    proxy
        .coordinator
        .create_database(&request.db_name, kv::to_domain(&request.properties))
        .await?;
    Ok(status::ok())
}

/// Drops an empty database. The name has to be in the request: the connection's is never meant.
pub(crate) async fn drop(
    proxy: &Proxy,
    _caller: &Caller,
    request: milvus::DropDatabaseRequest,
) -> Result<Status, Failure> {
    check_name(NameOf::Database, &request.db_name)?;
    proxy.coordinator.drop_database(&request.db_name).await?;
    Ok(status::ok())
}

/// All databases, by name.
pub(crate) async fn list(
    proxy: &Proxy,
    _caller: &Caller,
    _request: milvus::ListDatabasesRequest,
) -> Result<milvus::ListDatabasesResponse, Failure> {
    let mut answer = milvus::ListDatabasesResponse {
        status: Some(status::ok()),
        ..Default::default()
    };
    for database in proxy.snapshot().databases() {
        answer.db_names.push(database.name.clone());
        answer.db_ids.push(database.id.0);
        answer.created_timestamp.push(database.created.0);
    }
    Ok(answer)
}

/// Changes a database's properties.
pub(crate) async fn alter(
    proxy: &Proxy,
    _caller: &Caller,
    request: milvus::AlterDatabaseRequest,
) -> Result<Status, Failure> {
    check_name(NameOf::Database, &request.db_name)?;
    let change = change("properties", &request.properties, request.delete_keys)?;
    proxy
        .coordinator
        .alter_database(&request.db_name, change)
        .await?;
    Ok(status::ok())
}

/// A database and its properties; that of the connection when none is named.
pub(crate) async fn describe(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DescribeDatabaseRequest,
) -> Result<milvus::DescribeDatabaseResponse, Failure> {
    let name = caller.database(&request.db_name);
    check_name(NameOf::Database, name)?;
    let snapshot = proxy.snapshot();
    let database = snapshot.database(name)?;
    Ok(milvus::DescribeDatabaseResponse {
        status: Some(status::ok()),
        db_name: database.name.clone(),
        db_id: database.id.0,
        created_timestamp: database.created.0,
        properties: kv::to_wire(
            database
                .properties
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str())),
        ),
    })
}
