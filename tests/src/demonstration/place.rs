//! Where the demonstration happens: the local cluster.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tokio::process::Command;

use crate::bundle::Repository;
use crate::cluster::Cluster;
use crate::operator::{self, Images, NAMESPACE};

/// A cluster with a registry in reach.
pub struct Place {
    cluster: Cluster,
}

impl Place {
    /// The local cluster.
    pub fn local(cluster: Cluster) -> Self {
        Self { cluster }
    }

    pub(super) fn tools(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        self.cluster.client().await
    }

    pub(super) async fn push_images(&self) -> anyhow::Result<Images> {
        operator::push_images(&self.cluster).await
    }

    /// A repository, to push to.
    pub(super) fn repository(&self, path: &str) -> anyhow::Result<Repository> {
        Repository::new(&self.cluster.registry_from_host(), path)
    }

    /// The lines of a bundle that name a repository.
    pub(super) fn registry_of(&self, path: &str) -> String {
        let host = self.cluster.registry_in_cluster();
        format!("url: {host}/{path}\n    insecure: true")
    }

    /// Where a port of a Service of the operator can be reached from here.
    pub(super) async fn service(&self, name: &str, port: u16) -> anyhow::Result<SocketAddr> {
        self.reach(NAMESPACE, name, port).await
    }

    async fn reach(&self, namespace: &str, name: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let services: Api<Service> = Api::namespaced(self.client().await?, namespace);
        let service = services
            .get(name)
            .await
            .with_context(|| format!("cannot read Service {namespace}/{name}"))?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .with_context(|| format!("Service {namespace}/{name} has no address"))?;
        self.cluster
            .forward(SocketAddr::new(address.parse()?, port))
            .await
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
        let output = Command::new(self.cluster.program("grpcurl"))
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
    pub(super) fn what_next(&self, executor: &SocketAddr) -> String {
        let kubeconfig = self.cluster.kubeconfig().display().to_string();
        let tool = |name: &str| {
            let program = self.cluster.program(name);
            program
                .parent()
                .map(|folder| folder.display().to_string())
                .unwrap_or_default()
        };
        format!(
            r#"
The cluster stays up. To look around:

  export KUBECONFIG={kubeconfig}
  export PATH={kubectl}:{grpcurl}:$PATH

  kubectl get werfbundle -A -o wide
  kubectl describe werfbundle my-app -n {NAMESPACE}
  kubectl logs -n {NAMESPACE} -l control-plane=controller-manager --prefix
  grpcurl -plaintext -d '{{"namespace": "{NAMESPACE}", "name": "my-app", "force": true}}' \
    {executor} werf.operator.v1alpha1.ExecutorService/Converge

  make stop"#,
            kubectl = tool("kubectl"),
            grpcurl = tool("grpcurl"),
        )
    }
}
