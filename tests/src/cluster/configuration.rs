//! The configuration files of the parts, as data: what each says is decided here and nowhere
//! else. JSON is YAML, so one writer serves all but containerd and `CoreDNS`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::cgroups;
use super::folder::Folder;
use super::network::{NODE, PODS, REGISTRY_PORT};

/// The image of the container that holds the namespaces of a Pod.
pub(super) const SANDBOX_IMAGE: &str = "127.0.0.1:5000/sandbox:1";

/// Writes every configuration file.
pub(super) fn write_all(folder: &Folder) -> anyhow::Result<()> {
    let files = [
        (folder.etc("containerd.toml"), containerd(folder)),
        (folder.etc("Corefile"), corefile(folder)),
        (folder.etc("resolv.conf"), format!("nameserver {NODE}\n")),
        (folder.etc("kubelet.json"), kubelet(folder).to_string()),
        (folder.etc("audit.json"), audit().to_string()),
        (folder.etc("registry.json"), registry(folder).to_string()),
        (folder.etc("cni/pods.conflist"), pod_network().to_string()),
        (hosts_of(folder, "127.0.0.1"), registry_hosts("127.0.0.1")),
        (hosts_of(folder, NODE), registry_hosts(NODE)),
    ];
    for (path, content) in files {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn containerd(folder: &Folder) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# Makes /opt/containerd on the machine.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{SANDBOX_IMAGE}"
  # Lowering the score needs CAP_SYS_RESOURCE, which containers and CI machines often lack.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{hosts}"
"#,
        cni = folder.etc("cni").display(),
        hosts = folder.etc("registries").display(),
    )
}

fn hosts_of(folder: &Folder, host: &str) -> PathBuf {
    folder.etc(&format!("registries/{host}:{REGISTRY_PORT}/hosts.toml"))
}

/// Plain HTTP has to be said for each name of a registry.
fn registry_hosts(host: &str) -> String {
    format!("[host.\"http://{host}:{REGISTRY_PORT}\"]\n  capabilities = [\"pull\", \"resolve\"]\n")
}

/// Point-to-point links: traffic between Pods passes the node's rules, which a bridge would
/// need a kernel module for.
fn pod_network() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/pod-addresses",
                "ranges": [[{ "subnet": PODS }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    })
}

fn kubelet(folder: &Folder) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": folder.pki("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": folder.pki("kubelet-server.crt"),
        "tlsPrivateKeyFile": folder.pki("kubelet-server.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups::name(folder.instance()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "clusterDomain": "cluster.local",
        "clusterDNS": [NODE],
        "resolvConf": folder.etc("resolv.conf"),
        // The default is a folder in /usr.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        // The disk belongs to the machine: how full it is says nothing about the cluster.
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "1%",
            "nodefs.inodesFree": "1%", "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        // Nothing here is shared with anybody who would need sparing.
        "serializeImagePulls": false,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
    })
}

/// Who did what to which object, without contents.
fn audit() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata" }],
    })
}

fn registry(folder: &Folder) -> Value {
    json!({
        "version": "0.1",
        "log": { "level": "warn", "fields": {} },
        "storage": {
            "filesystem": { "rootdirectory": folder.file("registry") },
            "delete": { "enabled": true },
            "maintenance": { "uploadpurging": { "enabled": false } },
        },
        "http": { "addr": format!("0.0.0.0:{REGISTRY_PORT}"), "secret": "one instance only" },
    })
}

/// Answers for the cluster and says of all other names that they do not exist. No cache, and
/// a short life of answers: tests look a Service up right after they made it. Two blocks,
/// because within one `template` would always be asked before `kubernetes`.
fn corefile(folder: &Folder) -> String {
    format!(
        "cluster.local in-addr.arpa {{
    bind {NODE}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
}}
. {{
    bind {NODE}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
",
        kubeconfig = folder.etc("coredns.kubeconfig").display(),
    )
}
