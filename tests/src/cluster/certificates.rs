//! Certificates and kubeconfigs of an instance, made anew at every start.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use rcgen::KeyPair;

use super::folder::Folder;
use super::network::{API_PORT, API_SERVICE, NODE};
use super::parts::NODE_NAME;
use crate::authority::{Authority, Signed};

/// Who talks to the API server: file name, user, group.
const CLIENTS: [(&str, &str, Option<&str>); 7] = [
    ("admin", "admin", Some("system:masters")),
    ("api-to-kubelet", "api-to-kubelet", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("kubelet", "system:node:node", Some("system:nodes")),
    ("proxy", "system:kube-proxy", None),
    // Only reads; a role of its own would have to be applied before it can start.
    ("coredns", "coredns", Some("system:masters")),
];

/// Names the API server is called by inside the cluster.
const API_NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Writes every certificate and every kubeconfig; the admin's leads through `door`.
pub(super) fn write_all(folder: &Folder, door: SocketAddr) -> anyhow::Result<()> {
    let authority = Authority::new()?;
    fs::write(folder.pki("ca.crt"), authority.pem())?;
    // For ServiceAccount tokens: the API server does not take a private key to check with.
    let tokens = KeyPair::generate()?;
    fs::write(folder.pki("tokens.key"), tokens.serialize_pem())?;
    fs::write(folder.pki("tokens.pub"), tokens.public_key_pem())?;

    let inside = SocketAddr::new(NODE.parse()?, API_PORT);
    for (name, user, group) in CLIENTS {
        write_signed(folder, name, &authority.client(user, group)?)?;
        let path = folder.etc(&format!("{name}.kubeconfig"));
        write_kubeconfig(folder, &path, name, inside)?;
    }
    write_kubeconfig(folder, &folder.kubeconfig(), "admin", door)?;

    let api_names = [&API_NAMES[..], &["127.0.0.1", NODE, API_SERVICE]].concat();
    let kubelet_names = [NODE_NAME, NODE, "127.0.0.1"];
    for (name, names) in [
        ("apiserver", &api_names[..]),
        ("kubelet-server", &kubelet_names),
    ] {
        write_signed(folder, name, &authority.server(name, names)?)?;
    }
    Ok(())
}

fn write_signed(folder: &Folder, name: &str, signed: &Signed) -> anyhow::Result<()> {
    fs::write(folder.pki(&format!("{name}.crt")), &signed.certificate)?;
    fs::write(
        folder.pki(&format!("{name}.key")),
        signed.key.serialize_pem(),
    )
    .with_context(|| format!("cannot write the key of {name}"))
}

fn write_kubeconfig(
    folder: &Folder,
    path: &Path,
    client: &str,
    server: SocketAddr,
) -> anyhow::Result<()> {
    let document = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [{ "name": "testbed", "cluster": {
            "server": format!("https://{server}"),
            "certificate-authority": folder.pki("ca.crt"),
        }}],
        "users": [{ "name": client, "user": {
            "client-certificate": folder.pki(&format!("{client}.crt")),
            "client-key": folder.pki(&format!("{client}.key")),
        }}],
        "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": client } }],
    });
    fs::write(path, serde_json::to_vec_pretty(&document)?)
        .with_context(|| format!("cannot write {}", path.display()))
}
