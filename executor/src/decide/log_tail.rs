//! What of a Job's log is kept, and where: the end of it in the status, and all of it, up to what an
//! object may hold, elsewhere. Without control characters and without anything that came from a Secret.

use super::mask::{self, Masker};
use super::text::printable;

/// How much of a log the status keeps, in bytes.
pub const STATUS_LIMIT: usize = 5 * 1024;

/// How much of a log is kept at all, in bytes: what a `ConfigMap` may hold (`ValidateConfigMap` in
/// kubernetes/pkg/apis/core/validation).
const WHOLE_LIMIT: usize = 1024 * 1024;

/// How much of the end of a log has to be read, in bytes. What is before a secret that the reading
/// cut in two must be long enough to be dropped with it.
pub const READ: usize = WHOLE_LIMIT + 2 * mask::LONGEST;

/// The first line of a log that is not whole.
const HEADER_LIMIT: usize = 160;

/// The end of a log as it was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The last bytes, at most [`READ`] of them.
    pub end: Vec<u8>,
    /// What was before them.
    pub before: Before,
}

/// What was before the end of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Before {
    /// Nothing: the log is whole.
    #[default]
    Nothing,
    /// So many bytes.
    Bytes(u64),
    /// More than so many bytes; nobody counted them.
    MoreThan(u64),
}

/// What is kept of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The last lines, for the status.
    pub tail: String,
    /// The log, where it is longer than that.
    pub whole: Option<String>,
}

/// Says what to keep of a log. Secrets are masked before any cut, so that none leaves half of one.
pub fn keep(log: &Read, masker: &Masker) -> Kept {
    let text = String::from_utf8_lossy(&log.end);
    // Twice: a secret may itself have characters that are not shown.
    let clean = masker.mask(&printable(&masker.mask(&text))).into_owned();
    let clean = match log.before {
        Before::Nothing => clean.trim_end(),
        Before::Bytes(_) | Before::MoreThan(_) => {
            // It may begin with half a secret, which nothing has masked.
            let start = clean.ceil_char_boundary(mask::LONGEST.min(clean.len()));
            clean[start..].trim_end()
        }
    };
    Kept {
        tail: last_lines(clean, STATUS_LIMIT).to_owned(),
        whole: whole(log, clean),
    }
}

fn whole(log: &Read, clean: &str) -> Option<String> {
    if log.before == Before::Nothing && clean.len() <= WHOLE_LIMIT {
        return (clean.len() > STATUS_LIMIT).then(|| clean.to_owned());
    }
    let end = last_lines(clean, WHOLE_LIMIT - HEADER_LIMIT);
    let unread = log.end.len().saturating_sub(end.len());
    let unread = u64::try_from(unread).unwrap_or(u64::MAX);
    let missing = match log.before {
        Before::Nothing => unread.to_string(),
        Before::Bytes(count) => count.saturating_add(unread).to_string(),
        Before::MoreThan(count) => format!("more than {}", count.saturating_add(unread)),
    };
    Some(format!(
        "[werf-operator: this is the end of the log, {missing} bytes before it were left out]\n{end}"
    ))
}

/// Whole lines from the end, as many as fit; of a single longer line its end.
fn last_lines(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let start = text.ceil_char_boundary(text.len() - limit);
    let cut = &text[start..];
    match cut.find('\n') {
        Some(end_of_partial_line) => &cut[end_of_partial_line + 1..],
        None => cut,
    }
}

#[cfg(test)]
mod tests;
