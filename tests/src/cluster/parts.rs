//! The parts of the cluster and the command line of each, as data.

use std::path::PathBuf;

use super::folder::Folder;
use super::network::{API_PORT, NODE, PODS, SERVICES};
use crate::components::Programs;

/// The name of the only node.
pub(super) const NODE_NAME: &str = "node";

/// One long-running program.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

/// Builds the parts of one instance.
pub(super) struct Parts<'a> {
    pub(super) folder: &'a Folder,
    pub(super) programs: &'a Programs,
}

impl Parts<'_> {
    /// What needs nothing else.
    pub(super) fn ground(&self) -> [Part; 4] {
        [
            self.etcd(),
            self.containerd(),
            self.registry(),
            self.apiserver(),
        ]
    }

    /// What answers for objects, and nothing that does anything with them.
    pub(super) fn control_plane(&self) -> [Part; 2] {
        [self.etcd(), self.apiserver()]
    }

    /// What needs the API server to answer.
    pub(super) fn upper(&self) -> [Part; 5] {
        [
            self.kubelet(),
            self.controller_manager(),
            self.scheduler(),
            self.proxy(),
            self.coredns(),
        ]
    }

    fn part(&self, name: &'static str, arguments: Vec<String>) -> Part {
        Part {
            name,
            program: self.programs.path(name),
            arguments,
        }
    }

    fn etcd(&self) -> Part {
        self.part(
            "etcd",
            vec![
                flag("data-dir", self.folder.file("etcd").display()),
                flag("listen-client-urls", "http://127.0.0.1:2379"),
                flag("advertise-client-urls", "http://127.0.0.1:2379"),
                flag("listen-peer-urls", "http://127.0.0.1:2380"),
                flag("initial-advertise-peer-urls", "http://127.0.0.1:2380"),
                flag("initial-cluster", "default=http://127.0.0.1:2380"),
                flag("log-level", "warn"),
                // Nothing is kept across starts.
                "--unsafe-no-fsync".to_owned(),
            ],
        )
    }

    fn containerd(&self) -> Part {
        let config = self.folder.etc("containerd.toml");
        self.part("containerd", vec![flag("config", config.display())])
    }

    fn registry(&self) -> Part {
        let config = self.folder.etc("registry.json");
        self.part(
            "docker-registry",
            vec!["serve".to_owned(), config.display().to_string()],
        )
    }

    fn apiserver(&self) -> Part {
        let pki = |name: &str| self.folder.pki(name).display().to_string();
        self.part(
            "kube-apiserver",
            vec![
                flag("advertise-address", NODE),
                flag("secure-port", API_PORT),
                flag("etcd-servers", "http://127.0.0.1:2379"),
                flag("service-cluster-ip-range", SERVICES),
                flag("authorization-mode", "Node,RBAC"),
                flag("enable-admission-plugins", "NodeRestriction"),
                flag("anonymous-auth", false),
                flag("client-ca-file", pki("ca.crt")),
                flag("tls-cert-file", pki("apiserver.crt")),
                flag("tls-private-key-file", pki("apiserver.key")),
                flag("kubelet-certificate-authority", pki("ca.crt")),
                flag("kubelet-client-certificate", pki("api-to-kubelet.crt")),
                flag("kubelet-client-key", pki("api-to-kubelet.key")),
                flag("kubelet-preferred-address-types", "InternalIP"),
                flag(
                    "service-account-issuer",
                    "https://kubernetes.default.svc.cluster.local",
                ),
                flag("service-account-key-file", pki("tokens.pub")),
                flag("service-account-signing-key-file", pki("tokens.key")),
                flag("audit-policy-file", self.folder.etc("audit.json").display()),
                flag(
                    "audit-log-path",
                    self.folder.logs().join("audit.log").display(),
                ),
            ],
        )
    }

    fn kubelet(&self) -> Part {
        self.part(
            "kubelet",
            vec![
                self.kubeconfig("kubelet"),
                flag("config", self.folder.etc("kubelet.json").display()),
                flag("hostname-override", NODE_NAME),
                flag("node-ip", NODE),
            ],
        )
    }

    fn controller_manager(&self) -> Part {
        let pki = |name: &str| self.folder.pki(name).display().to_string();
        self.part(
            "kube-controller-manager",
            vec![
                self.kubeconfig("controller-manager"),
                flag("bind-address", "127.0.0.1"),
                flag("leader-elect", false),
                flag("use-service-account-credentials", true),
                flag("service-account-private-key-file", pki("tokens.key")),
                flag("root-ca-file", pki("ca.crt")),
                // The default is a folder in /usr.
                flag("flex-volume-plugin-dir", "/var/lib/kubelet/volume-plugins"),
                flag("concurrent-job-syncs", 20),
                flag("kube-api-qps", 500),
                flag("kube-api-burst", 1000),
            ],
        )
    }

    fn scheduler(&self) -> Part {
        self.part(
            "kube-scheduler",
            vec![
                self.kubeconfig("scheduler"),
                flag("bind-address", "127.0.0.1"),
                flag("leader-elect", false),
                flag("kube-api-qps", 500),
                flag("kube-api-burst", 1000),
            ],
        )
    }

    fn proxy(&self) -> Part {
        self.part(
            "kube-proxy",
            vec![
                self.kubeconfig("proxy"),
                flag("hostname-override", NODE_NAME),
                flag("proxy-mode", "iptables"),
                flag("cluster-cidr", PODS),
                flag("iptables-min-sync-period", "100ms"),
                // These are settings of the whole machine.
                flag("conntrack-max-per-core", 0),
                flag("conntrack-tcp-timeout-established", 0),
                flag("conntrack-tcp-timeout-close-wait", 0),
            ],
        )
    }

    fn coredns(&self) -> Part {
        self.part(
            "coredns",
            vec![
                "-conf".to_owned(),
                self.folder.etc("Corefile").display().to_string(),
            ],
        )
    }

    fn kubeconfig(&self, client: &str) -> String {
        let path = self.folder.etc(&format!("{client}.kubeconfig"));
        flag("kubeconfig", path.display())
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}
