//! Generated messages and services of the public wire, one module per protobuf package.
#![expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    reason = "generated code; the .proto files carry the comments"
)]

/// Status, enums and other things that every package shares.
pub mod common {
    tonic::include_proto!("milvus.proto.common");
}
/// Collections, fields and columns.
pub mod schema {
    tonic::include_proto!("milvus.proto.schema");
}
/// Messages of the log, as far as the public service mentions them.
pub mod msg {
    tonic::include_proto!("milvus.proto.msg");
}
/// Resource groups.
pub mod rg {
    tonic::include_proto!("milvus.proto.rg");
}
/// Inspection of segment indexes.
pub mod feder {
    tonic::include_proto!("milvus.proto.feder");
}
/// The services, their requests and answers.
#[expect(
    clippy::module_inception,
    reason = "the protobuf package is named so, and generated paths follow the packages"
)]
pub mod milvus {
    tonic::include_proto!("milvus.proto.milvus");
}
