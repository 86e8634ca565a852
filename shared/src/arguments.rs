//! Are the flags and the environment usable? Lists everything that is wrong at once, so that an
//! operator fixes a Deployment in one go; decides the exit code. It starts nothing.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use crate::error::chain;

/// The exit code for unusable arguments (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;

/// Arguments as typed, kept as text by clap, and how they become a configuration.
///
/// Keep every value that can be wrong a `String` or `Option<String>` and parse it in
/// [`check`](Self::check): clap itself stops at the first value it cannot parse.
pub trait Arguments: clap::Parser {
    /// What the rest of the program works with: valid, or not there.
    type Config;

    /// Parses every value, reporting each problem; nothing only if something was reported.
    fn check(self, problems: &mut Problems) -> Option<Self::Config>;
}

/// The configuration from the process's own arguments and environment.
pub fn parse<A: Arguments>() -> Result<A::Config, Refused> {
    parse_from::<A, _>(std::env::args_os())
}

/// The configuration from `arguments`, of which the first is the program's name.
pub fn parse_from<A, I>(arguments: I) -> Result<A::Config, Refused>
where
    A: Arguments,
    I: IntoIterator<Item: Into<OsString> + Clone>,
{
    let typed = A::try_parse_from(arguments).map_err(Refused::Usage)?;
    let mut problems = Problems::of(&A::command());
    let config = typed.check(&mut problems);
    problems.finish().map_err(Refused::Invalid)?;
    Ok(config.expect("a check without problems yields a configuration"))
}

/// Why there is no configuration; also the answer to `--help` and `--version`.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Clap's own answer: an unknown flag, a missing one, or the help text.
    #[error(transparent)]
    Usage(clap::Error),
    /// Values that do not parse or do not fit together.
    #[error(transparent)]
    Invalid(InvalidArguments),
}

impl Refused {
    /// Tells the user and returns what `main` returns: 0 for help and version, else [`USAGE`].
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Usage(error) => {
                let _closed = error.print();
            }
            Self::Invalid(invalid) => {
                let _closed = writeln!(std::io::stderr(), "{invalid}");
            }
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(error) if !error.use_stderr() => 0,
            Self::Usage(_) | Self::Invalid(_) => USAGE,
        }
    }
}

/// The exit code for how the program ended: 0, or 1 after telling why.
///
/// Call it while the telemetry guard lives; where logging never started, standard error is told.
pub fn exit_code(ended: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = ended else {
        return ExitCode::SUCCESS;
    };
    let error = chain(error.as_ref());
    if tracing::event_enabled!(tracing::Level::ERROR) {
        tracing::error!(error, "Failed");
    } else {
        let _closed = writeln!(std::io::stderr(), "failed: {error}");
    }
    ExitCode::FAILURE
}

/// Collects what is wrong, by flag.
#[derive(Debug, Default)]
pub struct Problems {
    /// Flag and the environment variable that stands for it.
    variables: Vec<(String, String)>,
    found: Vec<Problem>,
}

#[derive(Debug)]
struct Problem {
    flag: &'static str,
    variable: Option<String>,
    reason: String,
}

impl Problems {
    /// Learns from `command` which environment variable stands for which flag.
    pub fn of(command: &clap::Command) -> Self {
        let variables = command.get_arguments().filter_map(|argument| {
            let flag = format!("--{}", argument.get_long()?);
            Some((flag, argument.get_env()?.to_str()?.to_owned()))
        });
        Self {
            variables: variables.collect(),
            found: Vec::new(),
        }
    }

    /// The value, or a problem of `flag` with the reason it does not parse.
    ///
    /// The value itself is not repeated; an error type for a secret must not repeat it either.
    pub fn take<T, E: Error + 'static>(
        &mut self,
        flag: &'static str,
        parsed: Result<T, E>,
    ) -> Option<T> {
        parsed
            .map_err(|error| self.report(flag, chain(&error)))
            .ok()
    }

    /// The value, or the problem that `flag` is required.
    pub fn require<T>(&mut self, flag: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.report(flag, "is required");
        }
        value
    }

    /// Adds a problem found by comparing values, or by any other rule.
    pub fn report(&mut self, flag: &'static str, reason: impl Into<String>) {
        let variable = self.variables.iter().find(|(known, _)| known == flag);
        self.found.push(Problem {
            flag,
            variable: variable.map(|(_, variable)| variable.clone()),
            reason: reason.into(),
        });
    }

    /// Succeeds when nothing was reported.
    pub fn finish(self) -> Result<(), InvalidArguments> {
        if self.found.is_empty() {
            Ok(())
        } else {
            Err(InvalidArguments { found: self.found })
        }
    }
}

/// Everything that is wrong with the arguments, one line each.
#[derive(Debug)]
pub struct InvalidArguments {
    found: Vec<Problem>,
}

impl Error for InvalidArguments {}

impl fmt::Display for InvalidArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid arguments:")?;
        for problem in &self.found {
            write!(f, "\n  {}", problem.flag)?;
            if let Some(variable) = &problem.variable {
                write!(f, " (environment: {variable})")?;
            }
            write!(f, ": {}", problem.reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::Parser as _;

    use super::*;
    use crate::telemetry::TelemetryArgs;

    /// Polls registries
    #[derive(clap::Parser, Debug)]
    #[command(version)]
    struct Typed {
        #[arg(long, env = "WERF_TEST_EXECUTOR_URL")]
        executor_url: Option<String>,
        #[arg(long, default_value = "5")]
        attempts: String,
        #[command(flatten)]
        telemetry: TelemetryArgs,
    }

    impl Arguments for Typed {
        type Config = (http::Uri, u32);

        fn check(self, problems: &mut Problems) -> Option<Self::Config> {
            self.telemetry.check(problems);
            let attempts = problems.take("--attempts", self.attempts.parse());
            let url = problems.require("--executor-url", self.executor_url)?;
            let url = problems.take("--executor-url", url.parse());
            Some((url?, attempts?))
        }
    }

    fn parse(arguments: &[&str]) -> Result<(http::Uri, u32), Refused> {
        parse_from::<Typed, _>(["poller"].iter().chain(arguments))
    }

    #[test]
    fn the_flags_of_telemetry_are_sound() {
        Typed::command().debug_assert();
        let about = Typed::command().get_about().map(ToString::to_string);
        assert_eq!(about.as_deref(), Some("Polls registries"));
        assert_eq!(Typed::parse_from(["poller"]).telemetry.log_level, "info");
    }

    #[test]
    fn valid_arguments_become_the_configuration() {
        let (url, attempts) = parse(&["--executor-url", "http://executor:9090"]).unwrap();
        assert_eq!((url.host(), attempts), (Some("executor"), 5));
    }

    #[test]
    fn every_problem_is_listed_at_once_with_flag_and_variable() {
        let refused = parse(&[
            "--attempts=many",
            "--log-level=info,werf=verbose",
            "--log-format=xml",
            "--otlp-endpoint=https://collector:4317",
        ])
        .unwrap_err();
        let text = refused.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert_eq!(lines[0], "invalid arguments:");
        assert!(lines[1].starts_with("  --log-level (environment: LOG_LEVEL): not a log level"));
        assert_eq!(
            lines[2],
            "  --log-format (environment: LOG_FORMAT): must be json or text"
        );
        assert_eq!(
            lines[3],
            "  --otlp-endpoint (environment: OTEL_EXPORTER_OTLP_ENDPOINT): must be an http:// URL with a host"
        );
        assert_eq!(lines[4], "  --attempts: invalid digit found in string");
        assert_eq!(
            lines[5],
            "  --executor-url (environment: WERF_TEST_EXECUTOR_URL): is required"
        );
        assert_eq!(refused.code(), USAGE);
    }

    #[rstest::rstest]
    #[case::unknown_flag("--nonsense", USAGE)]
    #[case::help("--help", 0)]
    #[case::version("--version", 0)]
    fn unknown_flags_are_usage_errors_and_help_is_none(#[case] flag: &str, #[case] code: u8) {
        assert_eq!(parse(&[flag]).unwrap_err().code(), code);
    }

    #[test]
    fn empty_variables_of_telemetry_count_as_absent() {
        let parsed = parse(&[
            "--executor-url=http://e",
            "--otlp-endpoint=",
            "--log-format=",
        ]);
        assert!(parsed.is_ok());
    }

    #[test]
    fn a_failed_start_exits_with_one() {
        let failed = exit_code(&Err(anyhow::anyhow!("no cluster")));
        assert_eq!(format!("{failed:?}"), format!("{:?}", ExitCode::from(1)));
        assert_eq!(
            format!("{:?}", exit_code(&Ok(()))),
            format!("{:?}", ExitCode::SUCCESS)
        );
    }
}
