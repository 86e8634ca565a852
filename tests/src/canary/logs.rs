//! The logs of all containers, as the kubelet keeps them: followed, because they go with their Pods.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::pile::Pile;

/// Between two looks; Pods stay for longer after their end.
const LOOK: Duration = Duration::from_millis(300);

/// Follows every file below `folder`.
pub(super) async fn follow(
    folder: PathBuf,
    pile: Arc<Pile>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    // Files stay readable through what was opened, when their names are gone.
    let mut open = HashMap::<PathBuf, File>::new();
    loop {
        let last = timeout(LOOK, stop.wait_for(|stop| *stop)).await.is_ok();
        let mut present = Vec::new();
        list(&folder, &mut present);
        for path in &present {
            if !open.contains_key(path)
                && let Ok(file) = File::open(path)
            {
                open.insert(path.clone(), file);
            }
        }
        for (path, file) in &mut open {
            let mut more = Vec::new();
            file.read_to_end(&mut more)?;
            let name = path.strip_prefix(&folder).unwrap_or(path).display();
            pile.add(format!("log pods/{name}"), more);
        }
        open.retain(|path, _| present.contains(path));
        if last {
            return Ok(());
        }
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    // Folders go while they are looked at.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}
