//! The network of an instance: a namespace of its own with made-up addresses, so that two
//! instances use the same ones and nothing of the machine's network is touched.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The only node, and everything that runs beside the Pods.
pub(super) const NODE: &str = "10.64.0.1";
/// Addresses of Pods.
pub(super) const PODS: &str = "10.65.0.0/16";
/// Addresses of Services.
pub(super) const SERVICES: &str = "10.66.0.0/16";
/// The first Service address is always the API server's.
pub(super) const API_SERVICE: &str = "10.66.0.1";
/// The port of the API server.
pub(super) const API_PORT: u16 = 6443;
/// The port of the registry.
pub(super) const REGISTRY_PORT: u16 = 5000;

/// A bridge carries the node's address, because dummy interfaces need a kernel module that
/// may be missing. Service addresses need a route to be dialled at all; kube-proxy rewrites
/// them before the route is used. There is no default route: what leads out fails at once.
const COMMANDS: [&str; 5] = [
    "link set lo up",
    "link add node type bridge",
    "address add 10.64.0.1/24 dev node",
    "link set node up",
    "route add 10.66.0.0/16 dev node",
];

/// Sets the network up. Must run in a network namespace of its own.
pub(super) fn arrange() -> anyhow::Result<()> {
    for command in COMMANDS {
        let output = Command::new("ip")
            .args(command.split(' '))
            .output()
            .context("cannot run ip")?;
        ensure!(
            output.status.success(),
            "`ip {command}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    // The setting belongs to the namespace of whoever writes it.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot switch on forwarding")
}
