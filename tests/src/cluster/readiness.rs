//! What "ready" means, part by part: each function returns when people can use what it is
//! named after.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{Api, Client};
use tokio::net::TcpStream;

use super::client;
use super::configuration::SANDBOX_IMAGE;
use super::folder::Folder;
use super::network::{API_SERVICE, REGISTRY_PORT};
use super::parts::NODE_NAME;
use super::wait::until;
use crate::image;

/// Generous, because other work may share the processors; a dead part is noticed at once.
const LIMIT: Duration = Duration::from_secs(90);

/// The registry answers and has the images every cluster needs.
pub(super) async fn images(folder: &Folder) -> anyhow::Result<()> {
    let registry = format!("127.0.0.1:{REGISTRY_PORT}");
    let log = folder.log("docker-registry");
    until("the registry answers", LIMIT, &log, async || {
        TcpStream::connect(&registry).await?;
        Ok(())
    })
    .await?;
    let busybox = image::busybox()?;
    let (_, sandbox) = SANDBOX_IMAGE
        .split_once('/')
        .context("the image has no registry")?;
    let (name, tag) = sandbox.split_once(':').context("the image has no tag")?;
    image::push(&busybox, &registry).await?;
    image::push(&image::sandbox(name, tag), &registry).await?;
    Ok(())
}

/// The API server serves; the client talks to it as the administrator.
pub(super) async fn api(folder: &Folder) -> anyhow::Result<Client> {
    let client = client::connect(&folder.etc("admin.kubeconfig")).await?;
    let log = folder.log("kube-apiserver");
    until("the API server is ready", LIMIT, &log, async || {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        client.request_text(request).await?;
        Ok(())
    })
    .await?;
    Ok(client)
}

/// Pods can be scheduled: the node is ready, and the taint of a new node is gone.
pub(super) async fn node(folder: &Folder, client: &Client) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let log = folder.log("kubelet");
    until("the node is ready", LIMIT, &log, async || {
        let node = nodes.get(NODE_NAME).await?;
        let conditions = node.status.and_then(|s| s.conditions).unwrap_or_default();
        let ready = conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .context("no condition yet")?;
        ensure!(
            ready.status == "True",
            "{}",
            ready.message.as_deref().unwrap_or("not ready")
        );
        let taints = node.spec.and_then(|s| s.taints).unwrap_or_default();
        ensure!(taints.is_empty(), "tainted with {}", taints[0].key);
        Ok(())
    })
    .await
}

/// Pods can be admitted, find Services by name and reach them.
pub(super) async fn services(folder: &Folder, client: &Client) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let log = folder.log("kube-controller-manager");
    until(
        "the default ServiceAccount exists",
        LIMIT,
        &log,
        async || {
            accounts.get("default").await?;
            Ok(())
        },
    )
    .await?;
    let log = folder.log("coredns");
    until("the cluster DNS answers", LIMIT, &log, async || {
        http_ok("127.0.0.1:8181").await
    })
    .await?;
    service_address(&folder.log("kube-proxy")).await
}

async fn service_address(log: &Path) -> anyhow::Result<()> {
    until("Service addresses lead somewhere", LIMIT, log, async || {
        TcpStream::connect((API_SERVICE, 443)).await?;
        Ok(())
    })
    .await
}

async fn http_ok(address: &str) -> anyhow::Result<()> {
    client::use_ring();
    let response = reqwest::get(format!("http://{address}/ready")).await?;
    response.error_for_status()?;
    Ok(())
}
