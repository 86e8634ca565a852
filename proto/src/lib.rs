//! The wire contract between poller, executor and people: messages, clients, servers and the
//! descriptor set for reflection, generated from `proto/werf`. The generated files are checked in
//! so that building needs no protobuf compiler; `tests/bootstrap.rs` proves them fresh.

/// `werf.operator.v1alpha1`, the only version there is.
pub mod v1alpha1 {
    #![expect(
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::allow_attributes,
        reason = "generated code"
    )]
    include!("gen/werf.operator.v1alpha1.rs");
}

/// The descriptors of every service here, serialized, comments included, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor_set.bin");
