//! What both services use. Pure: the custom resource, tags, repositories, names, backoff,
//! errors, failures of polls, Secrets with credentials for a registry.
//! Shell: clock, limits for the apiserver's answers, telemetry, gRPC serving, probes and metrics, supervised tasks. A module that only
//! one service uses belongs to that service.

pub mod admin;
pub mod apiserver;
pub mod arguments;
pub mod backoff;
pub mod bundle;
pub mod clock;
pub mod crd;
pub mod docker_hub;
pub mod error;
pub mod grpc;
pub mod names;
pub mod poll_failure;
pub mod readiness;
pub mod registry_credentials;
pub mod registry_secret;
pub mod repository;
pub mod supervise;
pub mod tag;
pub mod telemetry;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
