//! Builds one module with Go, once: into a folder beside the final one, renamed when complete,
//! under a lock against a second builder.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::module::Module;
use super::progress::Progress;
use crate::cluster::log_tail;

/// What `go version` says; part of the cache key.
pub(super) fn go_version() -> anyhow::Result<String> {
    let output = Command::new("go")
        .args(["version"])
        .output()
        .context("cannot run go; see the README for what is needed")?;
    ensure!(output.status.success(), "`go version` failed: {output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes `folder` hold the programs of `module`.
pub(super) fn build_once(module: &Module, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let parent = folder.parent().context("the cache has no parent folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let lock = File::create(parent.join(format!("{}.lock", module.name)))?;
    wait_for_turn(&lock, module)?;
    // The other builder may just have finished it.
    if folder.exists() {
        return Ok(());
    }
    // What a killed build left is swept here: only the holder of the lock has one.
    let work = parent.join(format!("{}.building", module.name));
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let made = work.join("made");
    fs::create_dir_all(&made)?;
    go_build(module, &work, &made)?;
    fs::rename(&made, folder)?;
    fs::remove_dir_all(&work)?;
    Ok(())
}

fn wait_for_turn(lock: &File, module: &Module) -> anyhow::Result<()> {
    if lock.try_lock().is_ok() {
        return Ok(());
    }
    let progress = Progress::start(format!("waiting for another build of {}", module.name));
    lock.lock()?;
    progress.done("over");
    Ok(())
}

fn go_build(module: &Module, work: &Path, made: &Path) -> anyhow::Result<()> {
    fs::write(work.join("go.mod"), module.go_mod)?;
    fs::write(work.join("go.sum"), module.go_sum)?;
    let log = work.join("build.log");
    let output = File::create(&log)?;
    let mut child = Command::new("go")
        .arg("build")
        .arg("-trimpath")
        .args(["-ldflags", module.ldflags])
        .arg("-o")
        .arg(made.join(""))
        .args(module.packages)
        .current_dir(work)
        .env("CGO_ENABLED", "0")
        // A workspace file further up would replace the pins.
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("cannot run go")?;
    let names: Vec<_> = module.programs().collect();
    let mut progress = Progress::start(format!("building {}", module.name));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        progress.tick(&still_missing(&names, made));
        thread::sleep(Duration::from_millis(200));
    };
    if status.success() {
        progress.done("built");
        return Ok(());
    }
    progress.done("failed");
    bail!("go build ended with {status}\n{}", log_tail(&log))
}

fn still_missing(names: &[&str], made: &Path) -> String {
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !made.join(name).exists())
        .copied()
        .collect();
    format!("{} left: {}", missing.len(), missing.join(", "))
}
