//! Puts the executor together: clients, metrics, tasks. No logic.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::service::Routes;
use werf_proto::FILE_DESCRIPTOR_SET;
use werf_proto::v1alpha1::executor_service_server::ExecutorServiceServer;
use werf_shared::admin;
use werf_shared::apiserver;
use werf_shared::grpc::{self, MAX_MESSAGE_BYTES};
use werf_shared::readiness::Readiness;
use werf_shared::supervise::Supervisor;

use crate::args::Config;
use crate::converge::{self, Context, Rooms, Setbacks, orphans};
use crate::io::events::Recorder;
use crate::io::inputs_key::KeyInUse;
use crate::io::just_stored::JustStored;
use crate::io::seen::Seen;
use crate::io::watch::BundleWatch;
use crate::metrics::ConvergeMetrics;
use crate::receive::Receiver;

/// How long a stop may take; Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(25);

/// Runs until a signal or until a part fails.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let Config {
        grpc_listen,
        admin_listen,
        namespace,
        job_pod,
        allow_insecure_registries,
        telemetry: _,
    } = config;
    let grpc_listener = TcpListener::bind(grpc_listen)
        .await
        .with_context(|| format!("cannot listen for gRPC on {grpc_listen}"))?;
    let admin_listener = TcpListener::bind(admin_listen)
        .await
        .with_context(|| format!("cannot listen for probes on {admin_listen}"))?;
    let client = Client::try_default()
        .await
        .context("cannot find the cluster: neither in-cluster nor KUBECONFIG")?;
    let client = apiserver::bounded(client);

    let mut registry = Registry::default();
    let metrics = ConvergeMetrics::register(&mut registry);
    let readiness = Readiness::new();
    let watches = readiness.expect("watches");
    let mut supervisor = Supervisor::new(GRACE);
    let shutdown = supervisor.shutdown_token();

    supervisor.spawn("admin", {
        let (readiness, shutdown) = (readiness.clone(), shutdown.clone());
        async move {
            admin::serve(admin_listener, readiness, Arc::new(registry), shutdown).await?;
            Ok(())
        }
    });
    supervisor.spawn("executor", {
        let shutdown = shutdown.clone();
        async move {
            let inputs_key = KeyInUse::load(client.clone(), namespace)
                .await
                .context("cannot prepare the key for hashing inputs")?;
            let watch = BundleWatch::new(&client);
            let recorder = Recorder::new(client.clone());
            let just_stored = JustStored::default();
            let context = Arc::new(Context {
                client: client.clone(),
                recorder: recorder.clone(),
                inputs_key,
                job_pod,
                metrics,
                allow_insecure_registries,
                seen: Seen::new(watch.store()),
                just_stored: just_stored.clone(),
                rooms: Rooms::default(),
                setbacks: Setbacks::default(),
            });
            let receiver = Receiver::new(
                client,
                recorder,
                watch.store(),
                just_stored,
                shutdown.clone(),
            );
            let service =
                ExecutorServiceServer::new(receiver).max_decoding_message_size(MAX_MESSAGE_BYTES);
            let serving = grpc::serve(
                grpc_listener,
                Routes::new(service),
                FILE_DESCRIPTOR_SET,
                &["werf.operator.v1alpha1.ExecutorService"],
                shutdown.clone(),
            );
            let orphaned = Arc::new(Notify::new());
            let sweeps = {
                let (context, told) = (Arc::clone(&context), Arc::clone(&orphaned));
                let shutdown = shutdown.clone();
                async move {
                    orphans::sweep_when(&context.client, &context.seen, &told, shutdown).await;
                    Ok(())
                }
            };
            let passes = watch.run(
                move |key, told: Option<String>| {
                    let context = Arc::clone(&context);
                    async move { Box::pin(converge::pass(&context, &key, told.as_deref())).await }
                },
                watches,
                orphaned,
                shutdown,
            );
            tokio::try_join!(async { serving.await.map_err(Into::into) }, passes, sweeps)?;
            Ok(())
        }
    });
    supervisor.run().await
}
