//! What the poller is told on the command line and in the environment. Every value is parsed here,
//! and everything that is wrong is listed at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::Uri;
use werf_shared::arguments::{Arguments, Problems};
use werf_shared::bundle::duration;
use werf_shared::telemetry::TelemetryArgs;

use crate::decide::newest::Rule;
use crate::decide::realm::{InvalidTokenServer, TokenServers};
use crate::io::registry::{Limits, Reach};

mod reach;

use reach::ReachArgs;

/// Watches `WerfBundle` objects and polls their registries for new tags
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "poller", version, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Address to serve gRPC on
    #[arg(
        long,
        env = "POLLER_GRPC_LISTEN",
        default_value = "0.0.0.0:9090",
        value_name = "HOST:PORT"
    )]
    grpc_listen: String,

    /// Address to serve probes and metrics on
    #[arg(
        long,
        env = "POLLER_ADMIN_LISTEN",
        default_value = "0.0.0.0:8080",
        value_name = "HOST:PORT"
    )]
    admin_listen: String,

    /// Where the executor is, such as `http://werf-operator-executor:9090`
    #[arg(long, env = "POLLER_EXECUTOR_ADDRESS", value_name = "URL")]
    executor_address: Option<String>,

    /// Watch this namespace only [default: all]
    #[arg(long, env = "POLLER_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,

    #[command(flatten)]
    reach: ReachArgs,

    /// Token server that may see the credentials of a registry although it is at another host; can be
    /// given more than once
    #[arg(
        long = "token-server",
        env = "POLLER_TOKEN_SERVERS",
        value_delimiter = ',',
        value_name = "REGISTRY=HOST[:PORT]"
    )]
    token_servers: Vec<String>,

    /// How long connecting to a registry may take
    #[arg(
        long,
        env = "POLLER_CONNECT_TIMEOUT",
        default_value = "5s",
        value_name = "DURATION"
    )]
    connect_timeout: String,

    /// How long a registry may pause within an answer
    #[arg(
        long,
        env = "POLLER_READ_TIMEOUT",
        default_value = "15s",
        value_name = "DURATION"
    )]
    read_timeout: String,

    /// How long reading a whole tag list may take
    #[arg(
        long,
        env = "POLLER_SCAN_TIMEOUT",
        default_value = "1m",
        value_name = "DURATION"
    )]
    scan_timeout: String,

    /// Polls of one registry host at the same time
    #[arg(
        long,
        env = "POLLER_HOST_CONCURRENCY",
        default_value = "4",
        value_name = "NUMBER"
    )]
    host_concurrency: String,

    #[command(flatten)]
    telemetry: TelemetryArgs,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Say which of some tags would be chosen, and why
    Explain {
        /// File with one tag per line
        #[arg(long, value_name = "FILE")]
        tags_file: PathBuf,

        /// Version constraint, as in `spec.registry.versionConstraint`
        #[arg(long, value_name = "CONSTRAINT")]
        constraint: Option<String>,
    },
}

/// What the program is to do.
#[derive(Clone, Debug)]
pub enum Task {
    /// Poll.
    Run(Box<PollerConfig>),
    /// Explain a choice.
    Explain(Explain),
}

/// How to poll.
#[derive(Clone, Debug)]
pub struct PollerConfig {
    /// Where to serve gRPC.
    pub grpc_listen: SocketAddr,
    /// Where to serve probes and metrics.
    pub admin_listen: SocketAddr,
    /// Where the executor is.
    pub executor: Uri,
    /// The only namespace to watch.
    pub namespace: Option<String>,
    /// Where registries may be.
    pub reach: Reach,
    /// Who may see credentials beside the registries they are for.
    pub token_servers: TokenServers,
    /// What a registry's answer may cost.
    pub limits: Limits,
    /// Polls of one host at the same time.
    pub per_host: usize,
    /// Logs and traces.
    pub telemetry: TelemetryArgs,
}

/// What to explain.
#[derive(Clone, Debug)]
pub struct Explain {
    /// File with one tag per line.
    pub tags_file: PathBuf,
    /// How to choose.
    pub rule: Rule,
}

/// An address of the executor that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("must be an http:// URL with a host and no path")]
struct InvalidAddress;

impl Arguments for Args {
    type Config = Task;

    fn check(self, problems: &mut Problems) -> Option<Task> {
        let Self {
            command,
            grpc_listen,
            admin_listen,
            executor_address,
            namespace,
            reach,
            token_servers,
            connect_timeout,
            read_timeout,
            scan_timeout,
            host_concurrency,
            telemetry,
        } = self;
        if let Some(Command::Explain {
            tags_file,
            constraint,
        }) = command
        {
            let rule = rule(constraint.as_deref(), problems)?;
            return Some(Task::Explain(Explain { tags_file, rule }));
        }
        telemetry.check(problems);
        let grpc_listen = problems.take("--grpc-listen", grpc_listen.parse());
        let admin_listen = problems.take("--admin-listen", admin_listen.parse());
        let executor = problems
            .require(
                "--executor-address",
                executor_address.filter(|a| !a.is_empty()),
            )
            .and_then(|address| problems.take("--executor-address", parse_address(&address)));
        let reach = reach.check(&reach::proxies(), problems);
        let token_servers = problems.take("--token-server", pairs(&token_servers));
        let connect = time("--connect-timeout", &connect_timeout, problems);
        let read = time("--read-timeout", &read_timeout, problems);
        let scan = time("--scan-timeout", &scan_timeout, problems);
        let per_host = problems.take(
            "--host-concurrency",
            host_concurrency.parse::<std::num::NonZeroUsize>(),
        );
        Some(Task::Run(Box::new(PollerConfig {
            grpc_listen: grpc_listen?,
            admin_listen: admin_listen?,
            executor: executor?,
            namespace: namespace.filter(|namespace| !namespace.is_empty()),
            reach: reach?,
            token_servers: token_servers?,
            limits: Limits {
                connect: connect?,
                read: read?,
                scan: scan?,
                ..Limits::default()
            },
            per_host: per_host?.get(),
            telemetry,
        })))
    }
}

fn pairs(texts: &[String]) -> Result<TokenServers, InvalidTokenServer> {
    let texts = texts.iter().filter(|text| !text.is_empty());
    let pairs: Result<_, _> = texts.map(|text| text.parse()).collect();
    pairs.map(TokenServers::new)
}

fn rule(constraint: Option<&str>, problems: &mut Problems) -> Option<Rule> {
    let Some(constraint) = constraint else {
        return Some(Rule::Newest);
    };
    problems
        .take("--constraint", constraint.parse())
        .map(Rule::Matching)
}

fn parse_address(text: &str) -> Result<Uri, InvalidAddress> {
    let address: Uri = text.parse().map_err(|_| InvalidAddress)?;
    let usable = address.scheme_str() == Some("http")
        && address.host().is_some_and(|host| !host.is_empty())
        && matches!(address.path(), "" | "/")
        && address.query().is_none();
    usable.then_some(address).ok_or(InvalidAddress)
}

fn time(flag: &'static str, text: &str, problems: &mut Problems) -> Option<Duration> {
    let time = problems.take(flag, duration::parse(text))?;
    if time.is_zero() {
        problems.report(flag, "must be longer than zero");
        return None;
    }
    Some(time)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use werf_shared::arguments::{Refused, parse_from};

    use super::*;

    #[test]
    fn the_flags_fit_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_executor_is_all_that_must_be_said() {
        let task = parse_from::<Args, _>(["poller", "--executor-address", "http://executor:9090"]);
        let Ok(Task::Run(config)) = task else {
            panic!("{task:?}");
        };
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.per_host, 4);
        assert!(!config.reach.allow_insecure);
    }

    #[test]
    fn everything_that_is_wrong_is_listed_at_once() {
        let refused = parse_from::<Args, _>([
            "poller",
            "--grpc-listen=here",
            "--scan-timeout=0s",
            "--read-timeout=soon",
            "--host-concurrency=0",
            "--allow-networks=10.0.0.0/8,localhost",
        ])
        .unwrap_err();
        let Refused::Invalid(invalid) = refused else {
            panic!("{refused:?}");
        };
        let text = invalid.to_string();
        for flag in [
            "--grpc-listen",
            "--scan-timeout",
            "--read-timeout",
            "--host-concurrency",
            "--executor-address",
            "--allow-networks",
        ] {
            assert!(text.contains(flag), "{text}");
        }
        assert!(text.contains("POLLER_EXECUTOR_ADDRESS"), "{text}");
    }

    #[rstest::rstest]
    #[case("https://executor:9090")]
    #[case("executor:9090")]
    #[case("http://executor:9090/path")]
    fn an_address_that_cannot_be_used_is_refused(#[case] address: &str) {
        assert!(parse_from::<Args, _>(["poller", "--executor-address", address]).is_err());
    }

    #[test]
    fn token_servers_are_pairs() {
        let parse = |pairs: &[&'static str]| {
            let first = ["poller", "--executor-address", "http://executor:9090"];
            parse_from::<Args, _>(first.iter().chain(pairs))
        };
        let given = parse(&[
            "--token-server=a.example.com=auth.example.com,b.example.com=auth.example.com:8443",
            "--token-server=c.example.com=auth.example.com",
        ]);
        assert!(matches!(given, Ok(Task::Run(_))), "{given:?}");
        assert!(parse(&["--token-server=auth.example.com"]).is_err());
        assert!(parse(&["--token-server="]).is_ok());
    }

    #[test]
    fn explaining_needs_no_executor() {
        let task = parse_from::<Args, _>([
            "poller",
            "explain",
            "--tags-file",
            "f",
            "--constraint",
            "^1",
        ]);
        assert!(matches!(task, Ok(Task::Explain(_))));
    }
}
