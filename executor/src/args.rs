//! Flags and environment of the executor: valid, or refused with every problem listed.

use std::net::SocketAddr;

use clap::Parser;
use werf_shared::arguments::{Arguments, Problems};
use werf_shared::telemetry::TelemetryArgs;

use crate::decide::job::pod_settings::{self, PodSettings};

/// Deploys bundles: turns the tags that pollers announce into Jobs and records how they end
#[derive(Debug, Parser)]
#[command(name = "executor", version)]
pub struct Args {
    /// Where gRPC is served
    #[arg(
        long,
        env = "EXECUTOR_GRPC_LISTEN",
        default_value = "0.0.0.0:9090",
        value_name = "ADDRESS"
    )]
    grpc_listen: String,

    /// Where probes and metrics are served
    #[arg(
        long,
        env = "EXECUTOR_ADMIN_LISTEN",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS"
    )]
    admin_listen: String,

    /// The namespace the operator itself is in
    #[arg(long, env = "EXECUTOR_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// The image with werf that Jobs run
    #[arg(long, env = "EXECUTOR_JOB_IMAGE", default_value = DEFAULT_JOB_IMAGE, value_name = "IMAGE")]
    job_image: String,

    /// Secrets that image is pulled with, by name; they must be in the namespace of each Job
    #[arg(
        long,
        env = "EXECUTOR_JOB_IMAGE_PULL_SECRETS",
        value_delimiter = ',',
        value_name = "NAME,…"
    )]
    job_image_pull_secrets: Vec<String>,

    /// Labels of the nodes that Jobs may run on
    #[arg(
        long,
        env = "EXECUTOR_JOB_NODE_SELECTOR",
        value_delimiter = ',',
        value_name = "KEY=VALUE,…"
    )]
    job_node_selector: Vec<String>,

    /// Taints of nodes that Jobs may run on all the same
    #[arg(
        long,
        env = "EXECUTOR_JOB_TOLERATIONS",
        value_delimiter = ',',
        value_name = "KEY[=VALUE][:EFFECT],…"
    )]
    job_tolerations: Vec<String>,

    /// Let bundles name registries that speak plain HTTP; loopback ones always may
    #[arg(long, env = "EXECUTOR_ALLOW_INSECURE_REGISTRIES")]
    allow_insecure_registries: bool,

    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// The official werf, by version: an image that changes under its name would change deployments.
const DEFAULT_JOB_IMAGE: &str = "registry.werf.io/werf/werf:2.75.3-alpine";

/// How the executor runs.
#[derive(Debug)]
pub struct Config {
    /// Where gRPC is served.
    pub grpc_listen: SocketAddr,
    /// Where probes and metrics are served.
    pub admin_listen: SocketAddr,
    /// The namespace the operator itself is in.
    pub namespace: String,
    /// What the Pods of all Jobs have in common.
    pub job_pod: PodSettings,
    /// Plain HTTP is allowed to other hosts than this one.
    pub allow_insecure_registries: bool,
    /// Logs and traces.
    pub telemetry: TelemetryArgs,
}

impl Arguments for Args {
    type Config = Config;

    fn check(self, problems: &mut Problems) -> Option<Config> {
        let Self {
            grpc_listen,
            admin_listen,
            namespace,
            job_image,
            job_image_pull_secrets,
            job_node_selector,
            job_tolerations,
            allow_insecure_registries,
            telemetry,
        } = self;
        telemetry.check(problems);
        let grpc_listen = problems.take("--grpc-listen", grpc_listen.parse());
        let admin_listen = problems.take("--admin-listen", admin_listen.parse());
        let namespace = problems.require("--namespace", namespace.filter(|n| !n.is_empty()));
        if job_image.is_empty() || job_image.contains(char::is_whitespace) {
            problems.report("--job-image", "is not an image reference");
        }
        let image_pull_secrets = problems.take(
            "--job-image-pull-secrets",
            pod_settings::image_pull_secrets(&named(job_image_pull_secrets)),
        );
        let node_selector = problems.take(
            "--job-node-selector",
            pod_settings::node_selector(&named(job_node_selector)),
        );
        let tolerations = problems.take(
            "--job-tolerations",
            pod_settings::tolerations(&named(job_tolerations)),
        );
        Some(Config {
            grpc_listen: grpc_listen?,
            admin_listen: admin_listen?,
            namespace: namespace?,
            job_pod: PodSettings {
                image: job_image,
                image_pull_secrets: image_pull_secrets?,
                node_selector: node_selector?,
                tolerations: tolerations?,
            },
            allow_insecure_registries,
            telemetry,
        })
    }
}

/// A variable that is set and empty names nothing.
fn named(mut texts: Vec<String>) -> Vec<String> {
    texts.retain(|text| !text.is_empty());
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use werf_shared::arguments::parse_from;

    #[test]
    fn flags_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let refused = parse_from::<Args, _>([
            "executor",
            "--grpc-listen=nowhere",
            "--admin-listen=0.0.0.0:99999",
            "--job-image=",
            "--job-image-pull-secrets=a,B",
            "--job-node-selector=pool",
            "--job-tolerations=a:Never",
        ])
        .unwrap_err()
        .to_string();
        for flag in [
            "--grpc-listen",
            "--admin-listen",
            "--namespace",
            "--job-image",
            "--job-image-pull-secrets",
            "--job-node-selector",
            "--job-tolerations",
        ] {
            assert!(refused.contains(flag), "{flag} in {refused}");
        }
    }
}
