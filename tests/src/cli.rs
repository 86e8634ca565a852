//! The verbs of the command line: one module each.

mod bench;
mod build;
mod down;
mod faults;
mod forward;
mod install;
mod keep;
mod publish;
mod run;
mod status;
pub(crate) mod terminal;
mod tools;
mod up;
mod with;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::cluster::DEFAULT_INSTANCE;

/// A real Kubernetes cluster on this machine, without a container engine.
#[derive(Debug, Parser)]
#[command(name = "testbed", version)]
pub(crate) struct Arguments {
    /// Which cluster: several can run side by side.
    #[arg(long, global = true, env = "TESTBED_INSTANCE", default_value = DEFAULT_INSTANCE)]
    instance: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the cluster and leave it running.
    Up,
    /// Stop the cluster and remove everything of it but its logs.
    Down(down::Down),
    /// Show which clusters run, and how to reach them.
    Status,
    /// Show the operator's main job: a bundle is published and deployed, then a newer one.
    Run,
    /// Measure how quickly a new tag is deployed, and what the services weigh.
    Bench,
    /// Kill the executor and break its requests at the worst moments, and see that nothing is lost.
    Faults(faults::Faults),
    /// Build the operator and install it into the running cluster.
    Install,
    /// Publish a version of the demo application.
    Publish(testbed::bundle::PublishArgs),
    /// Build the programs of the cluster, and start nothing.
    Build,
    /// Run kubectl as the cluster's administrator.
    Kubectl(tools::Tool),
    /// Run grpcurl; see `forward` for addresses in the cluster.
    Grpcurl(tools::Tool),
    /// Make an address in the cluster reachable from this machine, and print where.
    Forward(forward::Forward),
    /// Run a command with a cluster, started for it unless it runs already.
    With(with::With),
    /// Own a cluster.
    #[command(hide = true)]
    Keep(keep::Keep),
    /// Be the first process in a cluster.
    #[command(hide = true)]
    KeepInside,
}

/// Does what the command line asks for.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { instance, command } = arguments;
    match command {
        Command::Up => up::run(&instance).await,
        Command::Down(down) => down.run(&instance).await,
        Command::Status => status::run(),
        Command::Run => run::run(&instance).await,
        Command::Bench => bench::run(&instance).await,
        Command::Faults(faults) => faults.run(&instance).await,
        Command::Install => install::run(&instance).await,
        Command::Publish(publish) => publish::run(&instance, publish).await,
        Command::Build => build::run(),
        Command::Kubectl(tool) => tool.run(&instance, "kubectl"),
        Command::Grpcurl(tool) => tool.run(&instance, "grpcurl"),
        Command::Forward(forward) => forward.run(&instance).await,
        Command::With(with) => with.run(&instance).await,
        Command::Keep(keep) => keep.run(&instance).await,
        Command::KeepInside => keep::run_inside(&instance).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
