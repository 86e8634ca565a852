//! Where the demonstration happens: the local cluster, or one that somebody has.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::access::Access;
use crate::bundle::Repository;
use crate::cluster::{self, Cluster};
use crate::operator::NAMESPACE;

/// How long `kubectl port-forward` may take to find its Pod.
const FORWARD: Duration = Duration::from_secs(20);

/// A cluster with a registry in reach.
pub struct Place {
    access: Access,
    local: Option<Cluster>,
    /// Forwards into a cluster that is not ours; they end with us, or when nobody reads what they
    /// say.
    forwards: Mutex<Vec<(Child, Lines<BufReader<ChildStdout>>)>>,
}

impl Place {
    /// The local cluster.
    pub fn local(cluster: Cluster) -> anyhow::Result<Self> {
        Ok(Self {
            access: Access::local(&cluster)?,
            local: Some(cluster),
            forwards: Mutex::default(),
        })
    }

    /// The cluster that the environment names.
    pub fn existing() -> anyhow::Result<Self> {
        Ok(Self {
            access: Access::existing()?,
            local: None,
            forwards: Mutex::default(),
        })
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        cluster::use_ring();
        let kubeconfig = Kubeconfig::read_from(self.access.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// A repository, to push to.
    pub(super) fn repository(&self, path: &str) -> anyhow::Result<Repository> {
        Repository::new(&self.access.registry_here, path)
    }

    /// The lines of a bundle that name a repository.
    pub(super) fn registry_of(&self, path: &str) -> String {
        let host = &self.access.registry_in_pods;
        format!("url: {host}/{path}\n    insecure: true")
    }

    /// Where a port of a Service of the operator can be reached from here.
    pub(super) async fn service(&self, name: &str, port: u16) -> anyhow::Result<SocketAddr> {
        self.reach(NAMESPACE, name, port).await
    }

    async fn reach(&self, namespace: &str, name: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let Some(cluster) = &self.local else {
            return self.port_forward(namespace, name, port).await;
        };
        let services: Api<Service> = Api::namespaced(self.client().await?, namespace);
        let service = services
            .get(name)
            .await
            .with_context(|| format!("cannot read Service {namespace}/{name}"))?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .with_context(|| format!("Service {namespace}/{name} has no address"))?;
        cluster
            .forward(SocketAddr::new(address.parse()?, port))
            .await
    }

    async fn port_forward(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> anyhow::Result<SocketAddr> {
        let mut child = self
            .access
            .kubectl_command()
            .args(["port-forward", "--namespace", namespace])
            .args([&format!("service/{name}"), &format!(":{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run kubectl port-forward")?;
        let output = child.stdout.take().context("kubectl has no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(FORWARD, lines.next_line())
            .await
            .context("kubectl port-forward is silent")??
            .context("kubectl port-forward ended")?;
        // "Forwarding from 127.0.0.1:40001 -> 9090"
        let address = line.split_whitespace().nth(2).context("no address in it")?;
        let address = address.parse().with_context(|| line.clone())?;
        let mut forwards = self.forwards.lock().unwrap_or_else(PoisonError::into_inner);
        forwards.push((child, lines));
        Ok(address)
    }

    /// The page of the demo application.
    pub(super) async fn page(&self, namespace: &str, service: &str) -> anyhow::Result<String> {
        let address = self.reach(namespace, service, 80).await?;
        let answer = reqwest::get(format!("http://{address}/")).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    pub(super) async fn grpcurl(
        &self,
        address: &SocketAddr,
        method: &str,
        request: &str,
    ) -> anyhow::Result<String> {
        let output = Command::new(self.access.program("grpcurl"))
            .args(["-plaintext", "-d", request, &address.to_string(), method])
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run grpcurl")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "grpcurl: {}", complaint.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Commands to go on with.
    pub(super) async fn what_next(&self) -> anyhow::Result<String> {
        let (forward, executor, stop) = if self.local.is_some() {
            let executor = self.service("werf-operator-executor", 9090).await?;
            ("", executor.to_string(), "make stop")
        } else {
            (
                "\n  kubectl port-forward -n k8s-werf-operator-go-system service/werf-operator-executor 9090 &",
                "127.0.0.1:9090".to_owned(),
                "kubectl delete werfbundle my-app -n k8s-werf-operator-go-system && make undeploy",
            )
        };
        let folder = |name: &str| {
            let program = self.access.program(name);
            program
                .parent()
                .map(|folder| folder.display().to_string())
                .unwrap_or_default()
        };
        Ok(format!(
            r#"
The cluster stays up. To look around:

  export KUBECONFIG={kubeconfig}
  export PATH={kubectl}:{grpcurl}:$PATH

  kubectl get werfbundle -A -o wide
  kubectl describe werfbundle my-app -n {NAMESPACE}
  kubectl logs -n {NAMESPACE} -l control-plane=controller-manager --prefix{forward}
  grpcurl -plaintext -d '{{"namespace": "{NAMESPACE}", "name": "my-app", "force": true}}' \
    {executor} werf.operator.v1alpha1.ExecutorService/Converge

  {stop}"#,
            kubeconfig = self.access.kubeconfig().display(),
            kubectl = folder("kubectl"),
            grpcurl = folder("grpcurl"),
        ))
    }
}
