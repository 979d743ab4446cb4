//! Generated messages of the talk between nodes. The services' rims use them; nothing else does.
#![expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    reason = "generated code; the .proto files carry the comments"
)]

/// The talk with log-nodes.
pub mod log_node {
    tonic::include_proto!("holdfast.internal.log_node");
}
