//! Tells the person at the terminal what is being waited for: one line that counts the
//! seconds on a terminal, plain lines anywhere else. Writes to standard error only.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// A plain log gets a sign of life this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// One thing being waited for.
#[derive(Debug)]
pub struct Progress {
    what: String,
    since: Instant,
    last_line: Option<Instant>,
    terminal: bool,
}

impl Progress {
    /// Starts the count for `what`.
    pub fn start(what: impl Into<String>) -> Self {
        let mut progress = Self {
            what: what.into(),
            since: Instant::now(),
            last_line: None,
            terminal: std::io::stderr().is_terminal(),
        };
        progress.tick("");
        progress
    }

    /// Shows that it still goes on; `detail` says how far it is.
    pub fn tick(&mut self, detail: &str) {
        let seconds = self.since.elapsed().as_secs();
        let detail = match detail {
            "" => String::new(),
            detail => format!(" ({detail})"),
        };
        let mut error = std::io::stderr().lock();
        // Nobody can be told that standard error is closed.
        if self.terminal {
            let _ = write!(error, "\r\x1b[K{}{detail} {seconds} s", self.what);
            let _ = error.flush();
        } else if self
            .last_line
            .is_none_or(|last| last.elapsed() >= SIGN_OF_LIFE)
        {
            self.last_line = Some(Instant::now());
            let _ = writeln!(error, "{}{detail} {seconds} s", self.what);
        }
    }

    /// Says that it is over.
    pub fn done(self, outcome: &str) {
        let seconds = self.since.elapsed().as_secs_f32();
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let mut error = std::io::stderr().lock();
        let _ = writeln!(
            error,
            "{start}{}: {outcome} after {seconds:.1} s",
            self.what
        );
    }
}
