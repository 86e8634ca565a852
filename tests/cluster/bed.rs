//! What all tests share: the running cluster and the operator in it, installed by the first test
//! that needs it.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Context as _, anyhow, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use rustix::io::Errno;
use rustix::process::{Signal, kill_process};
use serde_json::json;
use testbed::access::Access;
use testbed::cluster::Cluster;
use testbed::operator::{self, Images, Installation, NAMESPACE};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::tenant::{LOOK, patience};

/// What came of the one installation: when it fails, every test tells the same.
static INSTALLED: OnceCell<Result<Images, String>> = OnceCell::const_new();

/// Tells the namespaces and repositories of this run from those of an earlier one on the same
/// cluster.
pub(crate) static RUN: LazyLock<String> =
    LazyLock::new(|| format!("{:06x}", rand::random::<u32>() >> 8));

/// The label of every namespace a test makes; its value is [`RUN`].
pub(crate) const RUN_LABEL: &str = "testbed.werf.io/run";

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
            .get_or_init(async || install(&access).await.map_err(|error| format!("{error:#}")))
            .await
            .clone()
            .map_err(|why| anyhow!("the operator could not be installed: {why}"))?;
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

    /// Calls a method of a Service.
    pub(crate) async fn grpcurl(
        &self,
        service: &str,
        method: &str,
        request: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let address = self.reach(NAMESPACE, service, 9090).await?;
        self.call(address, method, request).await
    }

    /// Calls a method of one Pod, past the Service that would choose among several.
    pub(crate) async fn grpcurl_pod(
        &self,
        pod: &Pod,
        method: &str,
        request: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let address = address.context("a Pod without address")?.parse()?;
        let address = self.cluster.forward(SocketAddr::new(address, 9090)).await?;
        self.call(address, method, request).await
    }

    /// Calls a method with grpcurl, which finds it by reflection.
    async fn call(
        &self,
        address: SocketAddr,
        method: &str,
        request: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
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

    /// What both services logged. A replica that only just starts has logged nothing yet, and kubectl
    /// would fail for it.
    pub(crate) async fn logs(&self) -> anyhow::Result<String> {
        let mut logs = String::new();
        for component in ["poller", "executor"] {
            for pod in self.pods_of(component).await? {
                let phase = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref());
                if phase == Some("Running") {
                    let name = pod.name_any();
                    logs += &self.kubectl(&["logs", "-n", NAMESPACE, &name]).await?;
                }
            }
        }
        Ok(logs)
    }

    /// Ends every process of `poller` or `executor` as `kill -9` does. Returns how many there were;
    /// one that another test was quicker with counts.
    pub(crate) async fn kill(&self, component: &str) -> anyhow::Result<usize> {
        let mut killed = 0;
        for pod in self.pods_of(component).await? {
            let uid = pod.uid().unwrap_or_default();
            for pid in operator::processes_of(&uid, component)? {
                match kill_process(pid, Signal::KILL) {
                    Ok(()) | Err(Errno::SRCH) => killed += 1,
                    Err(error) => return Err(error).context("cannot kill"),
                }
            }
        }
        Ok(killed)
    }

    /// The same, but waits for one to be there: another test may just have killed it.
    pub(crate) async fn kill_one_at_least(&self, component: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.kill(component).await? == 0 {
            ensure!(started.elapsed() < patience(), "no {component} to kill");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Sets how many replicas a service has, and waits until it has them, and none that is still going.
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
        self.has(component, replicas).await
    }

    /// Waits until a service has so many Pods, those that are still going included.
    pub(crate) async fn has(&self, component: &str, pods: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let there = self.pods_of(component).await?.len();
            if there == pods {
                return Ok(());
            }
            let late = started.elapsed() > patience();
            ensure!(!late, "{there} Pods of the {component}, not {pods}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn install(access: &Access) -> anyhow::Result<Images> {
    let images = operator::push_images(access).await?;
    let mut installation = Installation::local(&images);
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    installation.executor = vec![
        set("EXECUTOR_ALLOW_INSECURE_REGISTRIES", "true"),
        set("EXECUTOR_JOB_IMAGE", &images.scripted),
    ];
    let receiver = format!("http://{RECEIVER}.default:4317");
    installation.both = vec![
        set("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver),
        // Spans are wanted while the test looks for them.
        set("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    receive_traces(access, &images.receiver).await?;
    installation.apply(access).await?;
    forget_earlier_runs(access).await?;
    Ok(images)
}

/// Takes away what earlier runs left on a cluster that was kept: a node has room for 110 Pods.
async fn forget_earlier_runs(access: &Access) -> anyhow::Result<()> {
    let earlier = format!("{RUN_LABEL},{RUN_LABEL}!={}", *RUN);
    let delete = [
        "delete",
        "namespaces",
        "--selector",
        &earlier,
        "--wait=false",
    ];
    access.kubectl(&delete).await?;
    Ok(())
}

async fn receive_traces(access: &Access, image: &str) -> anyhow::Result<()> {
    let labels = json!({"app": RECEIVER});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod",
         "metadata": {"name": RECEIVER, "namespace": "default", "labels": labels},
         "spec": {"containers": [{"name": RECEIVER, "image": image, "command": [RECEIVER],
                                  "ports": [{"containerPort": 4317}]}]}},
        {"apiVersion": "v1", "kind": "Service",
         "metadata": {"name": RECEIVER, "namespace": "default"},
         "spec": {"selector": labels, "ports": [{"port": 4317}]}},
    ]});
    // On a cluster that was kept it is there already.
    access
        .kubectl_with(&["apply", "-f", "-"], &objects.to_string())
        .await?;
    let ready = [
        "wait",
        "--for=condition=Ready",
        "--timeout=150s",
        "pod",
        RECEIVER,
    ];
    access.kubectl(&ready).await?;
    Ok(())
}
