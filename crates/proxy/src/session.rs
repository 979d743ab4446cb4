//! Who calls, and the calls that open a connection.

use std::collections::HashMap;

use holdfast_meta::{DEFAULT_DATABASE, NameOf, check_name};
use holdfast_proto::{
    milvus::{common, milvus},
    status,
};
use holdfast_types::{Failure, Timestamp};
use tonic::Request;

use crate::Proxy;

/// The version that clients are told; they choose features by it.
pub const SERVER_VERSION: &str = "v3.0.2-holdfast-0.0.0";
/// The one node of this process.
pub(crate) const NODE: i64 = 1;

/// What the metadata of a call says of its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The database of the connection; empty when it names none.
    database: String,
}

impl Caller {
    /// Parts a call into its caller and its message. Odd metadata never fails a call.
    pub(crate) fn of<T>(request: Request<T>) -> (Self, T) {
        let database = request
            .metadata()
            .get("dbname")
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let caller = Self {
            database: database.to_owned(),
        };
        (caller, request.into_inner())
    }

    /// The database a request means: its own, else the connection's, else the default.
    pub(crate) fn database<'a>(&'a self, of_request: &'a str) -> &'a str {
        [of_request, &self.database]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or(DEFAULT_DATABASE)
    }
}

/// Opens a connection.
pub(crate) async fn connect(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::ConnectRequest,
) -> Result<milvus::ConnectResponse, Failure> {
    let database = caller.database("");
    check_name(NameOf::Database, database)?;
    proxy.snapshot().database(database)?;
    let info = request.client_info.unwrap_or_default();
    let (sdk, version, host) = (
        short(&info.sdk_type),
        short(&info.sdk_version),
        short(&info.host),
    );
    tracing::debug!(sdk, version, host, "client connected");
    let server_info = common::ServerInfo {
        build_tags: SERVER_VERSION.to_owned(),
        build_time: String::new(),
        git_commit: String::new(),
        go_version: String::new(),
        deploy_mode: "STANDALONE".to_owned(),
        reserved: HashMap::new(),
    };
    Ok(milvus::ConnectResponse {
        status: Some(status::ok()),
        server_info: Some(server_info),
        identifier: proxy.client_id(),
    })
}

/// The beginning of a text that a client chose, for a log.
fn short(text: &str) -> &str {
    const CHARS_MAX: usize = 64;
    text.char_indices()
        .nth(CHARS_MAX)
        .map_or(text, |(end, _)| &text[..end])
}

/// The version, which is also how clients see whether the server lives.
pub(crate) async fn version(
    _proxy: &Proxy,
    _caller: &Caller,
    _request: milvus::GetVersionRequest,
) -> Result<milvus::GetVersionResponse, Failure> {
    Ok(milvus::GetVersionResponse {
        status: Some(status::ok()),
        version: SERVER_VERSION.to_owned(),
    })
}

/// Whether the server can answer: the coordinator is within reach.
pub(crate) async fn check_health(
    proxy: &Proxy,
    _caller: &Caller,
    _request: milvus::CheckHealthRequest,
) -> Result<milvus::CheckHealthResponse, Failure> {
    let reached = proxy.coordinator.timestamp().await;
    Ok(milvus::CheckHealthResponse {
        status: Some(status::ok()),
        is_healthy: reached.is_ok(),
        reasons: reached
            .err()
            .map(|failure| format!("coordinator: {failure}"))
            .into_iter()
            .collect(),
        quota_states: Vec::new(),
    })
}

/// A stamp of now.
pub(crate) async fn alloc_timestamp(
    proxy: &Proxy,
    _caller: &Caller,
    _request: milvus::AllocTimestampRequest,
) -> Result<milvus::AllocTimestampResponse, Failure> {
    let Timestamp(timestamp) = proxy.coordinator.timestamp().await?;
    Ok(milvus::AllocTimestampResponse {
        status: Some(status::ok()),
        timestamp,
    })
}
