//! What all plans of a run share: the cluster with the CRD and the executor's rights, the executor's
//! programs, and a token of its ServiceAccount.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::history::Kind;
use super::proxy::Upstream;
use crate::access::Access;
use crate::cluster::Cluster;
use crate::operator::{self, NAMESPACE, checkout};

/// The ServiceAccount of Jobs in every plan's namespace.
pub(super) const ACCOUNT: &str = "deployer";

/// The label of every plan's namespace; its value is the run's.
const LABEL: &str = "faults.testbed.werf.io/run";

/// Longer than any run.
const TOKEN_SECONDS: i64 = 4 * 3600;

/// What all plans share.
pub struct Bed {
    pub(super) client: Client,
    pub(super) upstream: Upstream,
    pub(super) token: String,
    pub(super) folder: TempDir,
    /// Tells the namespaces of this run from those of an earlier one on the same cluster.
    pub(super) run: String,
    network: u8,
    /// Two runs on one cluster would take each other's namespaces away.
    _alone: File,
}

impl Bed {
    /// Prepares a cluster. An operator that runs in it already would take part.
    pub async fn prepare(cluster: &Cluster) -> anyhow::Result<Self> {
        let alone = lock(cluster)?;
        let client = cluster.client().await?;
        clean_up(cluster).await?;
        let access = Access::local(cluster)?;
        let deployments = ["get", "deployments", "-n", NAMESPACE, "-o", "name"];
        let running = access.kubectl(&deployments).await.unwrap_or_default();
        ensure!(
            running.trim().is_empty(),
            "an operator is installed in this cluster, and would take part: use another instance"
        );
        install(&access).await?;
        let folder = TempDir::with_prefix("werf-faults-")?;
        build(folder.path()).await?;
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Self {
            token: token(&client).await?,
            upstream: Upstream::new(&config)?,
            client,
            folder,
            network: rand::random_range(64..=254),
            run: format!("{:06x}", rand::random::<u32>() >> 8),
            _alone: alone,
        })
    }

    /// The executor, with seeded bugs or as it is.
    pub fn executor(&self, seeded: bool) -> PathBuf {
        let name = if seeded {
            "executor-seeded"
        } else {
            "executor"
        };
        self.folder.path().join(name)
    }

    /// The loopback address of the process of a plan: no other plan's, and most likely no other run's.
    pub(super) fn address(&self, number: usize) -> Ipv4Addr {
        let number = u16::try_from(number % usize::from(u16::MAX)).unwrap_or_default();
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(127, self.network, high, low)
    }

    /// Makes a namespace with an account for Jobs.
    pub(super) async fn make_namespace(&self, name: &str) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let params = PostParams::default();
        let labels = json!({LABEL: self.run});
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        namespaces
            .create(&params, &serde_json::from_value(namespace)?)
            .await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), name);
        let account = json!({"metadata": {"name": ACCOUNT}});
        accounts
            .create(&params, &serde_json::from_value(account)?)
            .await?;
        Ok(())
    }

    /// Lets go of a namespace; what is in it goes while other plans run.
    pub(super) async fn drop_namespace(&self, name: &str) -> anyhow::Result<()> {
        drop_namespace(&self.client, name).await
    }

    /// Writes the kubeconfig of a process: a plain address, and its own token.
    pub(super) fn write_kubeconfig(&self, path: &Path, server: &str) -> anyhow::Result<()> {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "plan",
            "clusters": [{"name": "plan", "cluster": {"server": server}}],
            "users": [{"name": "plan", "user": {"token": self.token}}],
            "contexts": [{"name": "plan", "context": {"cluster": "plan", "user": "plan"}}],
        });
        std::fs::write(path, kubeconfig.to_string())
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Takes away what plans that were interrupted have left on a cluster.
pub async fn clean_up(cluster: &Cluster) -> anyhow::Result<()> {
    let client = cluster.client().await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for left in namespaces
        .list(&ListParams::default().labels(LABEL))
        .await?
    {
        if left.metadata.deletion_timestamp.is_none() {
            drop_namespace(&client, &left.name_any()).await?;
        }
    }
    Ok(())
}

async fn drop_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let bundles = Kind::Bundle.api(client, name);
    let nothing = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    for bundle in bundles.list(&ListParams::default()).await? {
        // It may have gone meanwhile.
        let name = bundle.name_any();
        let _ = bundles
            .patch(&name, &PatchParams::default(), &nothing)
            .await;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => Ok(deleted.map(|_| ())?),
    }
}

fn lock(cluster: &Cluster) -> anyhow::Result<File> {
    let path = cluster.kubeconfig().with_file_name("faults.lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    file.try_lock()
        .context("another run of fault tests is on this cluster: use another instance")?;
    Ok(file)
}

async fn install(access: &Access) -> anyhow::Result<()> {
    let file = |name: &str| checkout().join(name).to_string_lossy().into_owned();
    let crds = file("crds");
    for arguments in [
        &["apply", "--server-side", "-f", &crds][..],
        &[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd/werfbundles.werf.io",
        ],
        &["apply", "-f", &file("deploy/base/namespace.yaml")],
        &["apply", "-f", &file("deploy/base/rbac-executor.yaml")],
    ] {
        access.kubectl(arguments).await?;
    }
    Ok(())
}

/// The executor acts with the rights it is installed with, and no more.
async fn token(client: &Client) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let made = accounts
        .create_token_request("werf-operator-executor", &PostParams::default(), &request)
        .await?;
    Ok(made
        .status
        .context("a token request without an answer")?
        .token)
}

/// Builds the executor as it is, and another one with seeded bugs; puts both into `folder`, where no
/// later build replaces them.
async fn build(folder: &Path) -> anyhow::Result<()> {
    let programs = operator::build_operator().await?;
    let profile = operator::profile();
    let arguments = [
        "build",
        "--workspace",
        "--bin=executor-seeded",
        "--features=werf-executor/seeded-bugs",
        "--profile",
        &profile,
    ];
    operator::run(Command::new(env!("CARGO")).args(arguments)).await?;
    for name in ["executor", "executor-seeded"] {
        std::fs::copy(programs.join(name), folder.join(name))?;
    }
    Ok(())
}
