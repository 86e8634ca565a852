//! What both services show under `/metrics`.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::pile::Pile;
use crate::cluster::Cluster;
use crate::operator::NAMESPACE;

const PORT: u16 = 8080;

/// Reads it from every replica.
pub(super) async fn read(cluster: &Cluster, pile: &Pile) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().await?, NAMESPACE);
    let client = reqwest::Client::builder().no_proxy().build()?;
    for pod in pods.list(&ListParams::default()).await? {
        let component = pod.labels().get("app.kubernetes.io/component").cloned();
        let address = pod.status.and_then(|status| status.pod_ip);
        let (Some(component), Some(address)) = (component, address) else {
            continue;
        };
        let door = SocketAddr::new(address.parse()?, PORT);
        let door = cluster.forward(door).await?;
        let answer = client.get(format!("http://{door}/metrics")).send().await?;
        let bytes = answer.error_for_status()?.bytes().await?;
        pile.add(format!("metrics of {component}"), bytes.to_vec());
    }
    Ok(())
}
