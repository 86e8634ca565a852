//! `testbed kubectl` and `testbed grpcurl`: programs built with the cluster, aimed at it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Args;
use testbed::cluster::Cluster;

/// The tool's own arguments.
#[derive(Debug, Args)]
pub(super) struct Tool {
    /// Passed on as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Tool {
    /// Becomes the tool: its terminal, signals and exit code are the caller's.
    pub(super) fn run(self, instance: &str, name: &str) -> anyhow::Result<ExitCode> {
        let cluster = Cluster::attach(instance)?
            .with_context(|| format!("{instance} does not run: start it with `testbed up`"))?;
        let program = cluster.program(name);
        let error = Command::new(&program)
            .args(self.arguments)
            .env("KUBECONFIG", cluster.kubeconfig())
            .exec();
        Err(error).with_context(|| format!("cannot run {}", program.display()))
    }
}
