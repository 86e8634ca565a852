//! How every call to the apiserver is made: under a deadline, with an error that names the
//! operation and knows what it means.

use std::future::Future;
use std::time::Duration;

use werf_shared::error::Class;

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

impl ApiError {
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

fn explain(operation: &'static str, error: kube::Error) -> ApiError {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => ApiError::NotFound { operation },
            409 => ApiError::Conflict { operation },
            400 | 401 | 403 | 413 | 422 => ApiError::Refused {
                operation,
                reason: status.message.chars().take(512).collect(),
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
