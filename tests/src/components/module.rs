//! The Go modules that pin the programs, and the key under which their build is cached.

use sha2::{Digest as _, Sha256};

/// One module of `tests/components`, carried inside this binary so that it builds anywhere.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: &'static str,
    pub(super) go_mod: &'static str,
    pub(super) go_sum: &'static str,
    /// Packages to build; the last element of each is the name of the program.
    pub(super) packages: &'static [&'static str],
    pub(super) ldflags: &'static str,
}

/// Everything of the cluster that is built from source.
pub(super) const MODULES: &[Module] = &[
    Module {
        name: "kubernetes",
        go_mod: include_str!("../../components/kubernetes/go.mod"),
        go_sum: include_str!("../../components/kubernetes/go.sum"),
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
        // Without a version the server reports one that clients cannot parse.
        ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
                  -X k8s.io/component-base/version.gitMajor=1 \
                  -X k8s.io/component-base/version.gitMinor=34",
    },
    Module {
        name: "coredns",
        go_mod: include_str!("../../components/coredns/go.mod"),
        go_sum: include_str!("../../components/coredns/go.sum"),
        packages: &["github.com/coredns/coredns"],
        ldflags: "-s -w",
    },
    Module {
        name: "grpcurl",
        go_mod: include_str!("../../components/grpcurl/go.mod"),
        go_sum: include_str!("../../components/grpcurl/go.sum"),
        packages: &["github.com/fullstorydev/grpcurl/cmd/grpcurl"],
        ldflags: "-s -w",
    },
];

/// The second registry server of the tests; the cluster does without it.
pub(super) const DISTRIBUTION: Module = Module {
    name: "distribution",
    go_mod: include_str!("../../components/distribution/go.mod"),
    go_sum: include_str!("../../components/distribution/go.sum"),
    packages: &["github.com/distribution/distribution/v3/cmd/registry"],
    ldflags: "-s -w",
};

impl Module {
    /// The programs the module makes.
    pub(super) fn programs(&self) -> impl Iterator<Item = &'static str> {
        self.packages
            .iter()
            .map(|package| package.rsplit('/').next().unwrap_or(package))
    }

    /// Whether the module makes this program.
    pub(super) fn makes(&self, program: &str) -> bool {
        self.programs().any(|made| made == program)
    }

    /// Names a build: another source, flag or compiler gives another key.
    pub(super) fn key(&self, go_version: &str) -> String {
        let mut hash = Sha256::new();
        let parts = [self.go_mod, self.go_sum, self.ldflags, go_version];
        for part in parts.iter().chain(self.packages) {
            // The length keeps "ab" + "c" and "a" + "bc" apart.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let digest = format!("{:x}", hash.finalize());
        digest.chars().take(16).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_compiler_or_flag_means_another_build() {
        let kubernetes = &MODULES[0];
        let key = kubernetes.key("go1.26");
        assert_eq!(key, kubernetes.key("go1.26"));
        assert_ne!(key, kubernetes.key("go1.27"));
        let stripped = Module {
            ldflags: "-s",
            ..*kubernetes
        };
        assert_ne!(key, stripped.key("go1.26"));
    }

    #[test]
    fn every_program_is_pinned_by_its_module() {
        for module in MODULES.iter().chain([&DISTRIBUTION]) {
            for package in module.packages {
                assert!(module.go_mod.contains(package), "{package} is not a tool");
            }
        }
    }
}
