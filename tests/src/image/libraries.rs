//! What a program linked against the machine's libraries needs beside it in an image.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::File;

/// The trusted authorities of the machine, where programs look for them.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The loader and libraries of a program, to be put where it looks for them. A static program
/// has none.
pub fn libraries_of(program: &Path) -> anyhow::Result<Vec<File>> {
    let output = Command::new("ldd")
        // Its words are read below, and it speaks the user's language.
        .env("LC_ALL", "C")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if [text.as_ref(), complaint.as_ref()]
        .iter()
        .any(|said| is_static(said))
    {
        return Ok(Vec::new());
    }
    ensure!(
        output.status.success(),
        "ldd {} failed: {complaint}",
        program.display()
    );
    let missing: Vec<_> = text
        .lines()
        .filter(|line| line.contains("not found"))
        .collect();
    ensure!(
        missing.is_empty(),
        "{} lacks {missing:?}",
        program.display()
    );
    Ok(paths(&text).map(library).collect())
}

/// The machine's trusted authorities as a file of an image, if it has them.
pub fn certificates() -> Option<File> {
    Path::new(CERTIFICATES).exists().then(|| File {
        from: PathBuf::from(CERTIFICATES),
        to: CERTIFICATES.to_owned(),
        mode: 0o644,
    })
}

fn is_static(said: &str) -> bool {
    said.contains("not a dynamic executable") || said.contains("statically linked")
}

/// The paths in ldd's output: `name => path (address)`, or `path (address)` for the loader.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let found = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
        let path = found.split_whitespace().next()?;
        path.starts_with('/').then_some(path)
    })
}

fn library(path: &str) -> File {
    File {
        from: PathBuf::from(path),
        to: path.to_owned(),
        mode: 0o755,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_is_found_and_the_kernel_s_own_library_is_not_a_file() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<_> = paths(text).collect();
        assert_eq!(
            found,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }
}
