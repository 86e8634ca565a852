//! Removes what an instance leaves outside its namespaces. Only whoever holds the lock of the
//! instance may call this.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::cgroups;
use super::folder::Folder;
use super::state::State;

const PAUSE: Duration = Duration::from_millis(20);

/// Ends what may still run, then removes control groups and files; the logs stay.
pub(super) fn remove(folder: &Folder) -> anyhow::Result<()> {
    // A state that cannot be read is from another version, whose processes are gone: they
    // ended with the keeper, whose lock we hold.
    if let Ok(Some(state)) = State::read(folder)
        && let Some(first) = state.first
    {
        while first.runs() {
            first.signal(Signal::KILL);
            thread::sleep(PAUSE);
        }
    }
    cgroups::remove(folder.instance())?;
    folder.clear()
}
