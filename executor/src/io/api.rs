//! How every call to the apiserver is made: under a deadline, with an error that names the
//! operation and knows what it means.

use std::future::Future;
use std::time::Duration;

use kube::core::Status;
use tokio::time::error::Elapsed;
use werf_shared::apiserver::is_too_long;
use werf_shared::error::{Class, chain};

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
    /// The operator or the object may not, or it cannot even be asked for.
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
    /// More was answered than is read. Whoever made the object has to make it smaller.
    #[error("cannot {operation}: the answer is too long")]
    TooLong {
        /// What was tried.
        operation: &'static str,
    },
    /// Anything else.
    #[error("cannot {operation}: {reason}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// What happened.
        reason: String,
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
            Self::Refused { .. } | Self::NotFound { .. } | Self::TooLong { .. } => Class::Rejected,
            Self::Conflict { .. } | Self::Timeout { .. } | Self::Failed { .. } => Class::Transient,
        }
    }
}

/// Whether the apiserver's words may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// They name resources.
    Told,
    /// They are about something secret: a webhook may repeat what it refuses.
    Withheld,
}

/// Makes a call under the deadline.
pub async fn call<T>(
    operation: &'static str,
    future: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, ApiError> {
    let answer = tokio::time::timeout(DEADLINE, future).await;
    answered(Words::Told, operation, answer)
}

/// Makes a call whose answer may hold what must not be told.
pub async fn call_with<T>(
    words: Words,
    operation: &'static str,
    future: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, ApiError> {
    let answer = tokio::time::timeout(DEADLINE, future).await;
    answered(words, operation, answer)
}

fn answered<T>(
    words: Words,
    operation: &'static str,
    answer: Result<kube::Result<T>, Elapsed>,
) -> Result<T, ApiError> {
    match answer {
        Err(_) => Err(ApiError::Timeout { operation }),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(explain(words, operation, &error)),
    }
}

/// Makes a call for which "not found" is an answer.
pub async fn find<T>(
    operation: &'static str,
    future: impl Future<Output = kube::Result<T>> + Send,
) -> Result<Option<T>, ApiError> {
    find_with(Words::Told, operation, future).await
}

/// The same for an answer that may hold what must not be told.
pub async fn find_with<T>(
    words: Words,
    operation: &'static str,
    future: impl Future<Output = kube::Result<T>> + Send,
) -> Result<Option<T>, ApiError> {
    match call_with(words, operation, future).await {
        Ok(answer) => Ok(Some(answer)),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The longest refusal that is told.
const WORDS_LIMIT: usize = 512;

fn explain(words: Words, operation: &'static str, error: &kube::Error) -> ApiError {
    if is_too_long(error) {
        return ApiError::TooLong { operation };
    }
    if is_no_request(error) {
        return ApiError::Refused {
            operation,
            reason: "no request can be made of it".to_owned(),
            refusal: Refusal::Other,
        };
    }
    let kube::Error::Api(status) = error else {
        let reason = match words {
            Words::Told => one_line(&chain(error), WORDS_LIMIT),
            Words::Withheld => "no answer that makes sense".to_owned(),
        };
        return ApiError::Failed { operation, reason };
    };
    let refusal = Refusal::of(status);
    let reason = match words {
        // A webhook or a policy may say anything.
        Words::Told => one_line(&status.message, WORDS_LIMIT),
        Words::Withheld => kind(status.code, refusal).to_owned(),
    };
    let reason = if reason.is_empty() {
        format!("status {}", status.code)
    } else {
        reason
    };
    match status.code {
        404 => ApiError::NotFound { operation },
        409 => ApiError::Conflict { operation },
        400 | 401 | 403 | 413 | 422 => ApiError::Refused {
            operation,
            reason,
            refusal,
        },
        _ => ApiError::Failed { operation, reason },
    }
}

/// Nothing was sent, and never will be: of what was to be asked no request can be made.
pub(super) const fn is_no_request(error: &kube::Error) -> bool {
    matches!(
        error,
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_)
    )
}

/// What kind of refusal a code is (RFC 9110 section 15.5), where its words are not told.
const fn kind(code: u16, refusal: Refusal) -> &'static str {
    match (refusal, code) {
        (Refusal::QuotaExceeded, _) => "exceeded quota",
        (Refusal::NamespaceTerminating, _) => "the namespace is being deleted",
        (Refusal::Other, 400) => "bad request",
        (Refusal::Other, 401) => "unauthorized",
        (Refusal::Other, 403) => "forbidden",
        (Refusal::Other, 413) => "too large",
        (Refusal::Other, 422) => "invalid",
        (Refusal::Other, _) => "",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn explained(words: Words, code: u16, message: &str) -> String {
        let status = serde_json::json!({"code": code, "message": message});
        let status = serde_json::from_value(status).unwrap();
        let error = kube::Error::Api(Box::new(status));
        explain(words, "create the Job's Secret", &error).to_string()
    }

    #[rstest]
    #[case::forbidden(403, "forbidden")]
    #[case::invalid(422, "invalid")]
    #[case::of_a_webhook(418, "status 418")]
    #[case::broken(500, "status 500")]
    fn of_what_is_refused_about_a_secret_only_the_kind_is_told(
        #[case] code: u16,
        #[case] kind: &str,
    ) {
        let words = "admission webhook \"a.b\" denied the request: password hunter22 is weak";
        let told = explained(Words::Withheld, code, words);
        assert_eq!(told, format!("cannot create the Job's Secret: {kind}"));
        let quota = explained(Words::Withheld, 403, "exceeded quota: q, hunter22");
        assert_eq!(quota, "cannot create the Job's Secret: exceeded quota");
    }

    #[tokio::test]
    async fn what_no_request_can_be_made_of_is_refused_and_not_tried_at_once() {
        use k8s_openapi::api::core::v1::ConfigMap;
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
        });
        let client = kube::Client::new(service, "default");
        let api = kube::Api::<ConfigMap>::namespaced(client, "a");
        let error = call("read it", api.get("my config")).await.unwrap_err();
        assert_eq!(error.class(), Class::Rejected);
        assert!(!error.may_pass());
        let told = "cannot read it: no request can be made of it";
        assert_eq!(error.to_string(), told);
    }

    #[rstest]
    #[case::refused(403)]
    #[case::failed(500)]
    fn whatever_is_told_is_one_line_of_limited_length(#[case] code: u16) {
        let words = format!("no\n\u{1b}[2J{}", "x".repeat(10_000));
        let told = explained(Words::Told, code, &words);
        assert!(
            told.starts_with("cannot create the Job's Secret: no x"),
            "{told}"
        );
        assert!(told.chars().count() < 600 && !told.contains(char::is_control));
    }
}
