//! The images every cluster has: a shell with the usual commands, and the sandbox of Pods.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{Directory, File, ImageSpec, Text};

const IN_IMAGE: &str = "/bin/busybox";
/// Debian's place, and that of distributions which keep the two apart.
const PLACES: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];

/// The image `busybox:1`: every command busybox knows, as links to it.
pub fn busybox() -> anyhow::Result<ImageSpec> {
    let output = Command::new(program())
        .arg("--list")
        .output()
        .context("cannot run busybox")?;
    ensure!(output.status.success(), "busybox --list failed");
    let commands = String::from_utf8(output.stdout)?;
    let links = commands
        .lines()
        .filter(|command| *command != "busybox")
        .map(|command| (format!("/bin/{command}"), IN_IMAGE.to_owned()))
        .collect();
    let text = |to: &str, content: &str| Text {
        to: to.to_owned(),
        content: content.to_owned(),
    };
    Ok(ImageSpec {
        name: "busybox".to_owned(),
        tag: "1".to_owned(),
        files: vec![file()],
        texts: vec![
            text(
                "/etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
            ),
            text("/etc/group", "root:x:0:\nuser:x:1000:\n"),
        ],
        directories: vec![Directory {
            path: "/tmp".to_owned(),
            mode: 0o1777,
        }],
        links,
        command: vec!["/bin/sh".to_owned()],
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        ..ImageSpec::default()
    })
}

/// The image of the container that keeps the namespaces of a Pod while its containers come
/// and go: it only has to wait.
pub fn sandbox(name: &str, tag: &str) -> ImageSpec {
    ImageSpec {
        name: name.to_owned(),
        tag: tag.to_owned(),
        files: vec![file()],
        entrypoint: [IN_IMAGE, "sleep", "2147483647"]
            .map(str::to_owned)
            .to_vec(),
        user: 65534,
        ..ImageSpec::default()
    }
}

fn file() -> File {
    File {
        from: program(),
        to: IN_IMAGE.to_owned(),
        mode: 0o755,
    }
}

fn program() -> PathBuf {
    let found = PLACES.iter().find(|place| Path::new(place).exists());
    PathBuf::from(found.unwrap_or(&PLACES[0]))
}
