//! Certificates and kubeconfigs of an instance, made anew at every start.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::folder::Folder;
use super::network::{API_PORT, API_SERVICE, NODE};
use super::parts::NODE_NAME;

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
    fs::write(folder.pki("ca.crt"), &authority.pem)?;
    // For ServiceAccount tokens: the API server does not take a private key to check with.
    let tokens = KeyPair::generate()?;
    fs::write(folder.pki("tokens.key"), tokens.serialize_pem())?;
    fs::write(folder.pki("tokens.pub"), tokens.public_key_pem())?;

    let inside = SocketAddr::new(NODE.parse()?, API_PORT);
    for (name, user, group) in CLIENTS {
        let (certificate, key) = authority.client(user, group)?;
        fs::write(folder.pki(&format!("{name}.crt")), &certificate)?;
        fs::write(folder.pki(&format!("{name}.key")), &key)?;
        let path = folder.etc(&format!("{name}.kubeconfig"));
        write_kubeconfig(folder, &path, name, inside)?;
    }
    write_kubeconfig(folder, &folder.kubeconfig(), "admin", door)?;

    let addresses = ["127.0.0.1", NODE, API_SERVICE];
    authority.server(folder, "apiserver", &API_NAMES, &addresses)?;
    authority.server(folder, "kubelet-server", &[NODE_NAME], &[NODE, "127.0.0.1"])
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    fn client(&self, user: &str, group: Option<&str>) -> anyhow::Result<(String, String)> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn server(
        &self,
        folder: &Folder,
        name: &str,
        names: &[&str],
        addresses: &[&str],
    ) -> anyhow::Result<()> {
        let names: Vec<_> = names
            .iter()
            .chain(addresses)
            .map(ToString::to_string)
            .collect();
        // Names that read as addresses become address entries.
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = self.sign(params)?;
        fs::write(folder.pki(&format!("{name}.crt")), certificate)?;
        fs::write(folder.pki(&format!("{name}.key")), key)
            .with_context(|| format!("cannot write the key of {name}"))
    }

    fn sign(&self, mut params: CertificateParams) -> anyhow::Result<(String, String)> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
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
