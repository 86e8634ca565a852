//! The common gRPC server of both binaries and the one mapping between failure classes and gRPC
//! codes. It knows no service of ours: routes and descriptors come in.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::error::Class;

/// The largest message a service should decode; set it on each generated server.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The code a failure is answered with.
pub const fn code_of(class: Class) -> Code {
    match class {
        Class::Transient => Code::Unavailable,
        Class::Rejected => Code::InvalidArgument,
        Class::Broken => Code::Internal,
    }
}

/// What a code answered by the other side means.
pub const fn class_of(code: Code) -> Class {
    match code {
        // Ok is no failure; seen as one, it is a defect.
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss | Code::Unimplemented => {
            Class::Broken
        }
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Unavailable => Class::Transient,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unauthenticated => Class::Rejected,
    }
}

/// Why the gRPC server stopped or never started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptor set does not describe valid services.
    #[error("the descriptor set for reflection is invalid")]
    Descriptors {
        /// What reflection could not read.
        source: tonic_reflection::server::Error,
    },
    /// The listener or the transport failed for good.
    #[error("the gRPC server failed")]
    Serve {
        /// What the transport said.
        source: tonic::transport::Error,
    },
}

/// Bounds on what one client can hold or delay.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// From the first byte of a call to its answer or, for a stream, to the stream's beginning.
    request: Duration,
    /// After a stop, how long open calls and streams may go on.
    drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}

/// Serves `routes` beside health and reflection (v1 and v1alpha) until `shutdown`.
///
/// Every name in `services` is reported as serving until then, and as not serving while open
/// calls finish. Streams are not cut by the request timeout; on shutdown they are, after 5 s,
/// unless their handlers end them earlier.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    descriptor_set: &'static [u8],
    services: &[&'static str],
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    serve_within(
        Limits::default(),
        listener,
        routes,
        descriptor_set,
        services,
        shutdown,
    )
    .await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    routes: Routes,
    descriptor_set: &'static [u8],
    services: &[&'static str],
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in services {
        reporter
            .set_service_status(*service, tonic_health::ServingStatus::Serving)
            .await;
    }
    let routes = routes
        .add_service(health.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(
            reflection(descriptor_set, services)
                .with_service_name("grpc.reflection.v1.ServerReflection")
                .build_v1()
                .map_err(|source| ServeError::Descriptors { source })?
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            reflection(descriptor_set, services)
                .with_service_name("grpc.reflection.v1alpha.ServerReflection")
                .build_v1alpha()
                .map_err(|source| ServeError::Descriptors { source })?
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        );
    let stopping = {
        let shutdown = shutdown.clone();
        let names = services.to_vec();
        async move {
            shutdown.cancelled().await;
            for service in names.into_iter().chain([""]) {
                reporter
                    .set_service_status(service, tonic_health::ServingStatus::NotServing)
                    .await;
            }
        }
    };
    let server = server(limits)
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stopping,
        );
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(limits.drain).await;
    };
    tokio::select! {
        ended = server => ended.map_err(|source| ServeError::Serve { source }),
        () = overdue => {
            tracing::warn!("Not waiting longer for open gRPC calls");
            Ok(())
        }
    }
}

/// Reflection that lists what is served here and nothing else the descriptors know.
fn reflection(
    descriptor_set: &'static [u8],
    services: &[&'static str],
) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptor_set)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    services.iter().fold(builder, |builder, service| {
        builder.with_service_name(*service)
    })
}

fn server(limits: Limits) -> Server {
    Server::builder()
        .timeout(limits.request)
        // Calls in progress per connection; streams count only until they begin.
        .concurrency_limit_per_connection(64)
        .max_concurrent_streams(256)
        // Finds clients that vanished without closing, through NAT and suspended nodes.
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .http2_max_header_list_size(16 * 1024)
        // Clients reconnect, and so spread over replicas; open streams may finish first.
        .max_connection_age(Duration::from_mins(30))
        .max_connection_age_grace(Duration::from_mins(30))
}

#[cfg(test)]
mod tests;
