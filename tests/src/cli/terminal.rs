//! The only place where the program writes to the terminal.

/// Prints a line of the answer.
#[expect(clippy::print_stdout, reason = "the answer of a command line program")]
pub(crate) fn print(line: impl std::fmt::Display) {
    println!("{line}");
}

/// Tells why it did not work.
#[expect(clippy::print_stderr, reason = "the error of a command line program")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
