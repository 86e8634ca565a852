//! What all tests share: the running cluster and the operator in it, installed by the first test
//! that needs it.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use rustix::process::{Signal, kill_process};
use testbed::access::Access;
use testbed::cluster::Cluster;
use testbed::operator::{self, Images, Installation, NAMESPACE};
use tokio::process::Command;
use tokio::sync::OnceCell;

static INSTALLED: OnceCell<Images> = OnceCell::const_new();

/// Where spans are received.
const RECEIVER: &str = "otlp-receiver";

/// The shared cluster, with the operator in it.
#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    pub(crate) access: Access,
    pub(crate) client: Client,
    pub(crate) images: Images,
}

impl Bed {
    pub(crate) async fn ready() -> anyhow::Result<Self> {
        let instance = std::env::var("TESTBED_INSTANCE")
            .context("these tests run on a cluster: use `make test` or `make local-test`")?;
        let cluster = Cluster::attach(&instance)?
            .with_context(|| format!("the cluster {instance} does not run"))?;
        let access = Access::local(&cluster)?;
        let images = INSTALLED
            .get_or_try_init(|| install(&access))
            .await?
            .clone();
        // A client lives in the runtime it was made in, and each test has its own.
        let client = cluster.client().await?;
        Ok(Self {
            cluster,
            access,
            client,
            images,
        })
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.access.kubectl(arguments).await
    }

    /// Where a Service can be reached from here.
    pub(crate) async fn reach(
        &self,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> anyhow::Result<SocketAddr> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let found = services.get(service).await?;
        let address = found.spec.and_then(|spec| spec.cluster_ip);
        let address = address.context("a Service without address")?.parse()?;
        self.cluster.forward(SocketAddr::new(address, port)).await
    }

    /// Calls a method with grpcurl, which finds it by reflection.
    pub(crate) async fn grpcurl(
        &self,
        service: &str,
        method: &str,
        request: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let address = self.reach(NAMESPACE, service, 9090).await?;
        let output = Command::new(self.cluster.program("grpcurl"))
            .args(["-plaintext", "-d", &request.to_string()])
            .args([&address.to_string(), method])
            .output()
            .await?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "grpcurl {method}: {complaint}");
        // A stream answers with several documents; the last one counts.
        let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        let last: Option<Result<serde_json::Value, _>> = documents.last();
        Ok(last.transpose()?.unwrap_or_default())
    }

    /// The Pods of `poller` or `executor`.
    pub(crate) async fn pods_of(&self, component: &str) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let label = format!("app.kubernetes.io/component={component}");
        Ok(pods
            .list(&ListParams::default().labels(&label))
            .await?
            .items)
    }

    /// Ends every process of `poller` or `executor` as `kill -9` does. Returns how many there were.
    pub(crate) async fn kill(&self, component: &str) -> anyhow::Result<usize> {
        let mut killed = 0;
        for pod in self.pods_of(component).await? {
            let uid = pod.uid().unwrap_or_default();
            for pid in operator::processes_of(&uid, component)? {
                kill_process(pid, Signal::KILL)?;
                killed += 1;
            }
        }
        Ok(killed)
    }

    /// Sets how many replicas a service has, and waits until it has them.
    pub(crate) async fn scale(&self, component: &str, replicas: usize) -> anyhow::Result<()> {
        let deployment = format!("deployment/werf-operator-{component}");
        let count = format!("--replicas={replicas}");
        self.kubectl(&["scale", &deployment, &count, "-n", NAMESPACE])
            .await?;
        let status = [
            "rollout",
            "status",
            &deployment,
            "-n",
            NAMESPACE,
            "--timeout=120s",
        ];
        self.kubectl(&status).await?;
        Ok(())
    }
}

async fn install(access: &Access) -> anyhow::Result<Images> {
    let images = operator::push_images(access).await?;
    let mut installation = Installation::local(&images);
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    installation.executor = vec![set("EXECUTOR_JOB_IMAGE", &images.scripted)];
    let receiver = format!("http://{RECEIVER}.default:4317");
    installation.both = vec![
        set("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver),
        // Spans are wanted while the test looks for them.
        set("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    receive_traces(access, &images.receiver).await?;
    installation.apply(access).await?;
    Ok(images)
}

async fn receive_traces(access: &Access, image: &str) -> anyhow::Result<()> {
    let run = [
        "run",
        RECEIVER,
        "--image",
        image,
        "--port=4317",
        "--expose",
        "--command",
        "--",
        RECEIVER,
    ];
    access.kubectl(&run).await?;
    let ready = [
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "pod",
        RECEIVER,
    ];
    access.kubectl(&ready).await?;
    Ok(())
}
