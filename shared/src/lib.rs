//! What both services use. Pure: the custom resource, tags, repositories, names, backoff, errors.
//! Shell: clock, telemetry, gRPC serving, probes and metrics, supervised tasks. A module that only
//! one service uses belongs to that service.

pub mod admin;
pub mod backoff;
pub mod bundle;
pub mod clock;
pub mod crd;
pub mod error;
pub mod names;
pub mod readiness;
pub mod repository;
pub mod tag;
