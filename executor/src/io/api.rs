//! How every call to the apiserver is made: under a deadline, with an error that names the
//! operation and knows what it means.

use std::future::Future;
use std::time::Duration;

use kube::core::Status;
use werf_shared::error::Class;

use crate::decide::text::one_line;

/// Longer than any answer of a healthy apiserver; without it a call into a black hole never ends.
const DEADLINE: Duration = Duration::from_secs(10);

/// A call to the apiserver that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The object was changed since it was read, or exists already.
    #[error("cannot {operation}: changed in the meantime")]
    Conflict {
        /// What was tried.
        operation: &'static str,
    },
    /// The object is not there.
    #[error("cannot {operation}: not found")]
    NotFound {
        /// What was tried.
        operation: &'static str,
    },
    /// The operator or the object may not.
    #[error("cannot {operation}: {reason}")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// The apiserver's words, which name resources but no contents.
        reason: String,
        /// What they mean, as far as is known.
        refusal: Refusal,
    },
    /// No answer in time; whether it was done is not known.
    #[error("cannot {operation}: no answer in time")]
    Timeout {
        /// What was tried.
        operation: &'static str,
    },
    /// Anything else.
    #[error("cannot {operation}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// What happened.
        source: Box<kube::Error>,
    },
}

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// A quota is used up.
    QuotaExceeded,
    /// RBAC, a policy, a webhook, or the object itself.
    Other,
}

impl Refusal {
    /// The reason of the condition that tells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NamespaceTerminating => "TargetNamespaceTerminating",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::Other => "Refused",
        }
    }

    /// The apiserver names the first as a cause (plugin/pkg/admission/namespace/lifecycle); for quotas
    /// there are only words (staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota).
    fn of(status: &Status) -> Self {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        if causes.any(|cause| cause.reason == "NamespaceTerminating") {
            Self::NamespaceTerminating
        } else if status.message.contains("exceeded quota: ") {
            Self::QuotaExceeded
        } else {
            Self::Other
        }
    }
}

impl ApiError {
    /// The same call may succeed in a moment.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Failed { .. })
    }

    /// What the failure means for trying again.
    pub const fn class(&self) -> Class {
        match self {
            Self::Refused { .. } | Self::NotFound { .. } => Class::Rejected,
            Self::Conflict { .. } | Self::Timeout { .. } | Self::Failed { .. } => Class::Transient,
        }
    }
}

/// Makes a call under the deadline.
pub async fn call<T>(
    operation: &'static str,
    future: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, ApiError> {
    match tokio::time::timeout(DEADLINE, future).await {
        Err(_) => Err(ApiError::Timeout { operation }),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(explain(operation, error)),
    }
}

/// Makes a call for which "not found" is an answer.
pub async fn find<T>(
    operation: &'static str,
    future: impl Future<Output = kube::Result<T>> + Send,
) -> Result<Option<T>, ApiError> {
    match call(operation, future).await {
        Ok(answer) => Ok(Some(answer)),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The longest refusal that is told.
const WORDS_LIMIT: usize = 512;

fn explain(operation: &'static str, error: kube::Error) -> ApiError {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => ApiError::NotFound { operation },
            409 => ApiError::Conflict { operation },
            400 | 401 | 403 | 413 | 422 => ApiError::Refused {
                operation,
                // A webhook or a policy may say anything.
                reason: one_line(&status.message, WORDS_LIMIT),
                refusal: Refusal::of(&status),
            },
            _ => ApiError::Failed {
                operation,
                source: Box::new(kube::Error::Api(status)),
            },
        },
        other => ApiError::Failed {
            operation,
            source: Box::new(other),
        },
    }
}
