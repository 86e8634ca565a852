//! Why a Job failed, as a closed set, and how that is said.

use werf_shared::bundle::status::Waiting;

use crate::decide::text::one_line;

/// The longest message of a failed Job.
const MESSAGE_LIMIT: usize = 1000;

/// How an ended Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Succeeded,
    /// Not well.
    Failed(Failure),
}

/// How a Job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// The first operation that failed, out of werf's deploy report.
    pub operation: Option<String>,
    /// What the Job, or the application it deployed, was waiting for.
    pub waiting: Option<Waiting>,
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            operation: None,
            waiting: None,
        }
    }
}

/// Why a Job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel killed the container for using more memory than its limit.
    OomKilled,
    /// werf said no.
    ExitCode(i32),
    /// The same where the registry may have asked for a client certificate.
    WithoutClientCertificate(i32),
    /// The container was made and could not be started, in the runtime's words.
    NotStarted(i32, String),
    /// The Job ran longer than it may.
    DeadlineExceeded,
    /// Its Pod was evicted or preempted, or its node went away.
    PodEvicted(String),
    /// Its Pod was deleted; how it had ended, if it had, is not known.
    PodDeleted,
    /// The Job was removed before its end was recorded.
    Removed,
    /// The Job controller's own words.
    Other(String),
}

impl Failure {
    /// The failure as the guides word it, and what else is known of it.
    pub fn message(&self) -> String {
        let mut message = self.cause.message();
        if let Some(operation) = &self.operation {
            message.push_str(": ");
            message.push_str(operation);
        }
        if let Some(waiting) = &self.waiting {
            let separator = match self.cause {
                Cause::ExitCode(_) | Cause::WithoutClientCertificate(_) => "; ",
                _ => ": ",
            };
            message.push_str(separator);
            message.push_str(&waiting.message);
        }
        one_line(&message, MESSAGE_LIMIT)
    }

    /// The failure in one word for machines. A Job that ran out of time because its Pod could not
    /// start failed for that.
    pub fn reason(&self) -> &str {
        match (&self.cause, &self.waiting) {
            (Cause::DeadlineExceeded, Some(waiting)) => &waiting.reason,
            (cause, _) => cause.reason(),
        }
    }
}

impl Cause {
    fn message(&self) -> String {
        match self {
            Self::OomKilled => "pod failed with OOMKilled".to_owned(),
            Self::ExitCode(code) => format!("pod failed with exit code {code}"),
            Self::WithoutClientCertificate(code) => format!(
                "pod failed with exit code {code}; werf cannot present the client certificate of registry.certSecretRef, if that is what the registry asks for"
            ),
            Self::NotStarted(code, words) => {
                format!("pod failed with exit code {code}: container could not be started: {words}")
            }
            Self::DeadlineExceeded => "job exceeded its deadline".to_owned(),
            Self::PodEvicted(words) if words.is_empty() => "pod was evicted".to_owned(),
            Self::PodEvicted(words) => format!("pod was evicted: {words}"),
            Self::PodDeleted => "pod was deleted".to_owned(),
            Self::Removed => "job was removed before its end was recorded".to_owned(),
            Self::Other(words) => words.clone(),
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::OomKilled => "OOMKilled",
            Self::ExitCode(_) | Self::WithoutClientCertificate(_) => "ExitCode",
            Self::NotStarted(..) => "ContainerNotStarted",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::PodEvicted(_) => "PodEvicted",
            Self::PodDeleted => "PodDeleted",
            Self::Removed => "JobRemoved",
            Self::Other(_) => "JobFailed",
        }
    }
}
