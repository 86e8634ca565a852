//! What the machine itself must have: root, and programs from Debian packages.

use std::path::Path;

use anyhow::{bail, ensure};

/// Programs the cluster runs, with the Debian package that has them.
const PROGRAMS: &[(&str, &str)] = &[
    ("etcd", "etcd-server"),
    ("containerd", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("runc", "runc"),
    ("docker-registry", "docker-registry"),
    ("busybox", "busybox-static"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
];

/// Where programs are looked for; an ordinary user's `PATH` lacks the `sbin` folders.
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Fails with everything that is missing at once, and how to get it.
pub fn require_packages() -> anyhow::Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the cluster needs root: it makes namespaces, mounts and cgroups of its own"
    );
    let missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, _)| !found(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    bail!(
        "missing programs: {}\nget them with: apt-get install --no-install-recommends {}",
        programs.join(" "),
        packages.join(" ")
    )
}

fn found(program: &str) -> bool {
    // An absolute name replaces the folder it is joined to.
    SEARCH_PATH
        .split(':')
        .any(|folder| Path::new(folder).join(program).exists())
}
