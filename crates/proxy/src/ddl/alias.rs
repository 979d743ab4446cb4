//! Aliases: create, describe, list, move, drop.

use holdfast_meta::{NameOf, check_name};
use holdfast_proto::{
    milvus::{common::Status, milvus},
    status,
};
use holdfast_types::Failure;

use crate::{Proxy, resolve, session::Caller};

/// Gives a collection another name.
pub(crate) async fn create(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::CreateAliasRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_name(NameOf::Alias, &request.alias)?;
    proxy
        .coordinator
        .create_alias(&name, &request.alias)
        .await?;
    Ok(status::ok())
}

/// Points an alias at another collection.
pub(crate) async fn alter(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::AlterAliasRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_name(NameOf::Alias, &request.alias)?;
    proxy.coordinator.alter_alias(&name, &request.alias).await?;
    Ok(status::ok())
}

/// Drops an alias.
pub(crate) async fn drop(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DropAliasRequest,
) -> Result<Status, Failure> {
    let database = caller.database(&request.db_name);
    check_name(NameOf::Database, database)?;
    check_name(NameOf::Alias, &request.alias)?;
    proxy
        .coordinator
        .drop_alias(database, &request.alias)
        .await?;
    Ok(status::ok())
}

/// The collection that an alias stands for.
pub(crate) async fn describe(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DescribeAliasRequest,
) -> Result<milvus::DescribeAliasResponse, Failure> {
    let database = caller.database(&request.db_name);
    check_name(NameOf::Database, database)?;
    check_name(NameOf::Alias, &request.alias)?;
    let found = proxy.snapshot().alias(database, &request.alias)?;
    Ok(milvus::DescribeAliasResponse {
        status: Some(status::ok()),
        db_name: database.to_owned(),
        alias: found.name,
        collection: found.collection_name,
    })
}

/// The aliases of a collection, or of all collections of a database.
pub(crate) async fn list(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::ListAliasesRequest,
) -> Result<milvus::ListAliasesResponse, Failure> {
    let database = caller.database(&request.db_name);
    check_name(NameOf::Database, database)?;
    let aliases = if request.collection_name.is_empty() {
        proxy
            .snapshot()
            .aliases_of(database)?
            .into_iter()
            .map(|alias| alias.name)
            .collect()
    } else {
        resolve::collection(proxy, caller, database, &request.collection_name)?
            .aliases
            .clone()
    };
    Ok(milvus::ListAliasesResponse {
        status: Some(status::ok()),
        db_name: database.to_owned(),
        collection_name: request.collection_name,
        aliases,
    })
}
