//! What the demonstration says, and how it looks: a line per thing that happens, with the time since
//! the start.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Where the demonstration is told.
pub(super) struct Terminal {
    started: Instant,
    colour: bool,
}

impl Terminal {
    /// Standard output; in colour when people look at it.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            colour: std::io::stdout().is_terminal(),
        }
    }

    /// A step begins.
    pub(super) fn title(&self, title: &str) {
        self.write(&format!("\n{}", self.paint("1", &format!("▸ {title}"))));
    }

    /// The step is over.
    pub(super) fn done(&self, took: Duration) {
        let text = format!("  done in {:.1} s", took.as_secs_f64());
        self.write(&self.paint("32", &text));
    }

    /// Something happened.
    pub(super) fn say(&self, what: &str) {
        let clock = format!("  {:>6.1} s", self.started.elapsed().as_secs_f64());
        self.write(&format!("{}  {what}", self.paint("2", &clock)));
    }

    /// What a program or a person wrote.
    pub(super) fn quote(&self, text: &str) {
        for line in text.lines() {
            self.write(&format!("  {} {line}", self.paint("2", "│")));
        }
    }

    /// Text that stands for itself.
    pub(super) fn plain(&self, text: &str) {
        self.write(text);
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    #[expect(clippy::unused_self, reason = "the terminal is what is written to")]
    fn write(&self, line: &str) {
        // A reader that went away does not stop the demonstration.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
