//! `testbed status`.

use std::process::ExitCode;

use testbed::cluster::{self, Cluster};

use super::terminal;

/// Describes every instance.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    for instance in cluster::instances()? {
        match Cluster::attach(&instance)? {
            Some(cluster) => terminal::print(describe(&instance, &cluster)),
            None => match cluster::last_failure(&instance)? {
                Some(why) => terminal::print(format!("{instance}: broke down\n{why}")),
                None => terminal::print(format!("{instance}: not running")),
            },
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How to reach a running instance.
pub(super) fn describe(instance: &str, cluster: &Cluster) -> String {
    format!(
        "{instance}: running{held}\n\
         kubeconfig  {kubeconfig}\n\
         registry    {outside} here, {inside} in the cluster\n\
         logs        {logs}",
        held = if cluster.is_held() {
            ", until its starter ends"
        } else {
            ""
        },
        kubeconfig = cluster.kubeconfig().display(),
        outside = cluster.registry_from_host(),
        inside = cluster.registry_in_cluster(),
        logs = cluster.logs().display(),
    )
}
