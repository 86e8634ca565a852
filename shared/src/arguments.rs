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

/// The exit code for how the program ended: 0, or 1 after logging why.
pub fn exit_code(ended: &anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "Failed");
            ExitCode::FAILURE
        }
    }
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
