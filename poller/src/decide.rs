//! The questions the poller answers, each in its own file: who is watched, who is polled when,
//! where registries may be and whom to trust there, where a list continues, which tag is the newest, whether it is a bundle, and what the executor
//! is told. Nothing here waits, talks or reads a clock.

pub mod book;
pub mod certificates;
pub mod challenge;
pub mod constraint;
pub mod failure;
pub mod json;
pub mod link;
pub mod manifest;
pub mod network;
pub mod newest;
pub mod outbox;
pub mod page;
pub mod queue;
pub mod rate_limit;
pub mod realm;
pub mod retry_after;
pub mod schedule;
pub mod service_tag;
pub mod tell;
pub mod token;
pub mod warning;
pub mod watched;
