//! The poller's effects against services on loopback: a scripted registry, an executor that can
//! fail, and the whole loop between them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod announce;
mod auth;
mod certificates;
mod cluster;
mod corpus;
mod desk;
mod executor;
mod hostile;
mod listing;
mod pacing;
mod poller;
mod registry;
mod round;
mod scripted;
mod vendors;
