//! The poller's effects: what it reads from Kubernetes, from registries, and what it says and
//! answers over gRPC. Nothing here decides.

pub mod announce;
pub mod registry;
pub mod secrets;
pub mod server;
pub mod watch;
