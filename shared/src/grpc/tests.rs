//! What grpcurl, probes and long streams get from the server, over a real socket.

use std::net::SocketAddr;

use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::*;

const SERVICE: &str = "werf.test.v1.Test";

/// Short for a test, long for an answer on a busy machine.
const SHORT: Duration = Duration::from_millis(200);

#[rstest::rstest]
#[case(Class::Transient)]
#[case(Class::Rejected)]
#[case(Class::Broken)]
fn a_class_survives_the_way_to_the_other_side(#[case] class: Class) {
    assert_eq!(class_of(code_of(class)), class);
}

#[rstest::rstest]
#[case(Code::Ok, Class::Broken)]
#[case(Code::Cancelled, Class::Transient)]
#[case(Code::Unknown, Class::Broken)]
#[case(Code::InvalidArgument, Class::Rejected)]
#[case(Code::DeadlineExceeded, Class::Transient)]
#[case(Code::NotFound, Class::Rejected)]
#[case(Code::AlreadyExists, Class::Rejected)]
#[case(Code::PermissionDenied, Class::Rejected)]
#[case(Code::ResourceExhausted, Class::Transient)]
#[case(Code::FailedPrecondition, Class::Rejected)]
#[case(Code::Aborted, Class::Transient)]
#[case(Code::OutOfRange, Class::Rejected)]
#[case(Code::Unimplemented, Class::Broken)]
#[case(Code::Internal, Class::Broken)]
#[case(Code::Unavailable, Class::Transient)]
#[case(Code::DataLoss, Class::Broken)]
#[case(Code::Unauthenticated, Class::Rejected)]
fn every_code_has_its_class(#[case] code: Code, #[case] class: Class) {
    assert_eq!(class_of(code), class);
}

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinSet<Result<(), ServeError>>,
}

async fn start(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let mut server = JoinSet::new();
    server.spawn(serve_within(
        limits,
        listener,
        stuck_routes(),
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        &[SERVICE],
        shutdown.clone(),
    ));
    Running {
        address,
        shutdown,
        server,
    }
}

/// Calls below `/stuck` never get an answer.
fn stuck_routes() -> Routes {
    let stuck = axum::routing::any(std::future::pending::<()>);
    Routes::from(axum::Router::new().route("/stuck/{*call}", stuck))
}

impl Running {
    async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.address);
        Endpoint::from_shared(address)
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    async fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    async fn end(&mut self) {
        self.shutdown.cancel();
        self.server.join_next().await.unwrap().unwrap().unwrap();
    }
}

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_knows_the_process_and_its_services() {
    let mut server = start(Limits::default()).await;
    let mut health = server.health().await;
    for service in ["", SERVICE] {
        let answer = health.check(asked(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(asked("werf.test.v1.Other")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    drop(health);
    server.end().await;
}

#[tokio::test]
async fn a_call_without_an_answer_ends_as_worth_retrying() {
    let limits = Limits {
        request: SHORT,
        ..Limits::default()
    };
    let server = start(limits).await;
    let origin = format!("http://{}/stuck", server.address).parse().unwrap();
    let mut stuck = HealthClient::with_origin(server.channel().await, origin);
    let refused = stuck.check(asked("")).await.unwrap_err();
    assert_eq!(class_of(refused.code()), Class::Transient, "{refused:?}");
}

#[tokio::test]
async fn a_stream_outlives_the_request_timeout_and_is_told_of_the_stop() {
    let limits = Limits {
        request: SHORT,
        ..Limits::default()
    };
    let mut server = start(limits).await;
    let mut stream = server
        .health()
        .await
        .watch(asked(SERVICE))
        .await
        .unwrap()
        .into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);

    // A second call begun after the stream has used up the whole timeout.
    let origin = format!("http://{}/stuck", server.address).parse().unwrap();
    let mut stuck = HealthClient::with_origin(server.channel().await, origin);
    stuck.check(asked("")).await.unwrap_err();

    server.shutdown.cancel();
    let last = stream.message().await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    drop((stream, stuck));
    server.end().await;
}

#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_end() {
    let limits = Limits {
        drain: SHORT,
        ..Limits::default()
    };
    let mut server = start(limits).await;
    let mut stream = server
        .health()
        .await
        .watch(asked(SERVICE))
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn unreadable_descriptors_are_refused_before_anything_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = serve(
        listener,
        Routes::default(),
        b"\xff",
        &[],
        CancellationToken::new(),
    )
    .await;
    assert!(matches!(refused, Err(ServeError::Descriptors { .. })));
}

/// Reflection's two versions are the same messages in two packages.
macro_rules! lists_services {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

            let server = start(Limits::default()).await;
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut answers = ServerReflectionClient::new(server.channel().await)
                .server_reflection_info(tokio_stream::once(request))
                .await
                .unwrap()
                .into_inner();
            let answer = answers.message().await.unwrap().unwrap().message_response;
            let Some(MessageResponse::ListServicesResponse(listed)) = answer else {
                panic!("not a list of services: {answer:?}");
            };
            let names: Vec<_> = listed
                .service
                .into_iter()
                .map(|service| service.name)
                .collect();
            assert!(
                names.iter().any(|name| name == "grpc.health.v1.Health"),
                "{names:?}"
            );
            assert!(
                names
                    .iter()
                    .any(|name| name.starts_with("grpc.reflection.v1")),
                "{names:?}"
            );
        }
    };
}

lists_services!(grpcurl_lists_services_without_files, v1);
lists_services!(older_grpcurl_lists_services_without_files, v1alpha);
