//! What every part of the measurement stands on: the control plane with the operator's definitions
//! and rights, the account of the executor, and how its processes are started.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::transport::Channel;

use super::audit::Audit;
use super::sight::Sight;
use super::{bare, objects};
use crate::cluster::ControlPlane;
use crate::measure::process::{AS_DEPLOYED, Process};
use crate::operator::{NAMESPACE, checkout};

/// The control plane's own instance, unless another is named in `TESTBED_INSTANCE`.
const INSTANCE: &str = "werf-operator-converge";

/// Who the executor is to the API server.
pub(super) const EXECUTOR: &str =
    "system:serviceaccount:k8s-werf-operator-go-system:werf-operator-executor";

const EXECUTOR_GRPC: &str = "127.0.0.1:19090";
const EXECUTOR_ADMIN: &str = "127.0.0.1:18080";
const POLLER_GRPC: &str = "127.0.0.1:19091";
const POLLER_ADMIN: &str = "127.0.0.1:18081";

const PATIENCE: Duration = Duration::from_secs(90);

const LOOK: Duration = Duration::from_millis(20);

/// Longer than any run.
const TOKEN_SECONDS: i64 = 2 * 3600;

/// What everything stands on.
pub(super) struct Ground {
    plane: ControlPlane,
    folder: TempDir,
    programs: PathBuf,
    /// The administrator.
    pub(super) admin: Client,
    /// The bare client, which is the executor to the API server.
    pub(super) bare: Client,
    /// Every request.
    pub(super) audit: Audit,
    /// Every Job.
    pub(super) sight: Arc<Sight>,
    /// What is served or looked at beside.
    pub(super) beside: JoinSet<()>,
}

impl Ground {
    /// Starts the control plane. `programs` is where poller and executor are.
    pub(super) async fn start(programs: &Path) -> anyhow::Result<Self> {
        let instance = std::env::var("TESTBED_INSTANCE");
        let plane = ControlPlane::start(instance.as_deref().unwrap_or(INSTANCE)).await?;
        let folder = tempfile::tempdir()?;
        let admin = plane.client().await?;
        install(&plane).await?;
        for (service, account) in [
            ("executor", "werf-operator-executor"),
            ("poller", "werf-operator-poller"),
        ] {
            let token = token(&admin, account).await?;
            plane.write_kubeconfig(&folder.path().join(service), &token)?;
        }
        let bare = plane.client_of(&folder.path().join("executor")).await?;
        let sight = Arc::<Sight>::default();
        let mut beside = JoinSet::new();
        let (watching, client) = (Arc::clone(&sight), admin.clone());
        beside.spawn(async move { watching.follow(client).await });
        Ok(Self {
            audit: Audit::new(plane.log("audit")),
            plane,
            folder,
            programs: programs.to_owned(),
            admin,
            bare,
            sight,
            beside,
        })
    }

    /// Starts the executor and waits until it is ready.
    pub(super) async fn executor(&mut self) -> anyhow::Result<Process> {
        let environment = [
            ("EXECUTOR_GRPC_LISTEN", EXECUTOR_GRPC.to_owned()),
            ("EXECUTOR_ADMIN_LISTEN", EXECUTOR_ADMIN.to_owned()),
            ("EXECUTOR_NAMESPACE", NAMESPACE.to_owned()),
            ("EXECUTOR_ALLOW_INSECURE_REGISTRIES", "true".to_owned()),
        ];
        self.begin("executor", &environment, EXECUTOR_ADMIN).await
    }

    /// Starts the poller for the bundles of one namespace.
    pub(super) async fn poller(&mut self, namespace: &str) -> anyhow::Result<Process> {
        let environment = [
            ("POLLER_GRPC_LISTEN", POLLER_GRPC.to_owned()),
            ("POLLER_ADMIN_LISTEN", POLLER_ADMIN.to_owned()),
            ("POLLER_EXECUTOR_ADDRESS", format!("http://{EXECUTOR_GRPC}")),
            ("POLLER_ALLOW_INSECURE_REGISTRIES", "true".to_owned()),
            (
                "POLLER_ALLOW_NETWORKS",
                format!("{}/32", ControlPlane::ADDRESS),
            ),
            ("POLLER_NAMESPACE", namespace.to_owned()),
        ];
        self.begin("poller", &environment, POLLER_ADMIN).await
    }

    async fn begin(
        &mut self,
        name: &str,
        environment: &[(&str, String)],
        admin: &str,
    ) -> anyhow::Result<Process> {
        let kubeconfig = self.folder.path().join(name).display().to_string();
        let mut environment = environment.to_vec();
        environment.push(("KUBECONFIG", kubeconfig));
        environment.push((AS_DEPLOYED.0, AS_DEPLOYED.1.to_owned()));
        let log = self.plane.log(name);
        let mut process = Process::start(&self.programs.join(name), &[], &environment, &log)?;
        let started = Instant::now();
        let ready = format!("http://{admin}/readyz");
        loop {
            let asked = reqwest::get(&ready).await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(process);
            }
            process.check().with_context(|| words(&log))?;
            self.plane.check()?;
            ensure!(
                started.elapsed() < PATIENCE,
                "{name} is not ready; {}",
                words(&log)
            );
            sleep(LOOK).await;
        }
    }

    /// A connection to the executor's gRPC.
    pub(super) async fn to_executor(&self) -> anyhow::Result<Channel> {
        let url = format!("http://{EXECUTOR_GRPC}");
        Ok(Channel::from_shared(url)?.connect().await?)
    }

    /// A connection to the poller's gRPC.
    pub(super) async fn to_poller(&self) -> anyhow::Result<Channel> {
        let url = format!("http://{POLLER_GRPC}");
        Ok(Channel::from_shared(url)?.connect().await?)
    }

    /// Ends everything and removes it.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.plane.stop().await
    }
}

/// The last words of a process.
fn words(log: &Path) -> String {
    let words = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = words.lines().rev().take(5).collect();
    lines.join(" | ")
}

/// Waits until something holds.
pub(super) async fn until(
    what: &str,
    holds: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds().await? {
        ensure!(
            started.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        sleep(LOOK).await;
    }
    Ok(())
}

async fn install(plane: &ControlPlane) -> anyhow::Result<()> {
    let file = |name: &str| checkout().join(name).display().to_string();
    let crd = file("crds/werfbundles.werf.io.yaml");
    let stand_in = objects::stand_in_definition(&std::fs::read_to_string(&crd)?)?;
    kubectl(plane, &["apply", "--server-side", "-f", &crd], None).await?;
    let server_side = ["apply", "--server-side", "-f", "-"];
    kubectl(plane, &server_side, Some(&stand_in)).await?;
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "--all",
    ];
    kubectl(plane, &established, None).await?;
    kubectl(plane, &server_side, Some(&bare::rights())).await?;
    for manifest in ["namespace", "rbac-executor", "rbac-poller"] {
        let path = file(&format!("deploy/base/{manifest}.yaml"));
        kubectl(plane, &["apply", "-f", &path], None).await?;
    }
    Ok(())
}

async fn kubectl(
    plane: &ControlPlane,
    arguments: &[&str],
    input: Option<&Value>,
) -> anyhow::Result<()> {
    let mut child = Command::new(plane.program("kubectl"))
        .args(arguments)
        .env("KUBECONFIG", plane.kubeconfig())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run kubectl")?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        pipe.write_all(input.to_string().as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A token of one of the operator's accounts.
async fn token(admin: &Client, account: &str) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let made = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await?;
    let status = made.status.context("a token request without an answer")?;
    Ok(status.token)
}
