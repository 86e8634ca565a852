//! Processes by number *and* start time, so that a number the kernel has given to somebody
//! else is never mistaken for ours.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// One process, for as long as the machine is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pid: i32,
    started: u64,
}

impl ProcessId {
    /// The process that has this number now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        let stat = Stat::read(pid)?;
        Some(Self {
            pid,
            started: stat.started,
        })
    }

    pub(super) fn current() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs; one that only waits to be reaped does not.
    pub(super) fn runs(self) -> bool {
        Stat::read(self.pid).is_some_and(|s| s.started == self.started && s.state != 'Z')
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.runs()) {
            // It may have ended since: then there is nothing left to do.
            let _ = kill_process(pid, signal);
        }
    }

    /// The processes it has started itself.
    pub(super) fn children(self) -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, Stat::read(pid)?)))
            .filter(|(_, stat)| stat.parent == self.pid)
            .map(|(pid, stat)| Self {
                pid,
                started: stat.started,
            })
            .collect()
    }

    /// The numbers of the processes it has started, and of those that they have.
    pub(super) fn descendants(self) -> Vec<i32> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let mut children = HashMap::<i32, Vec<i32>>::new();
        for entry in entries.flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(pid) = pid
                && let Some(stat) = Stat::read(pid)
            {
                children.entry(stat.parent).or_default().push(pid);
            }
        }
        let mut found = vec![self.pid];
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            found.extend(children.remove(parent).unwrap_or_default());
            next += 1;
        }
        found
    }
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name, which may itself contain blanks and brackets.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 1";
        let stat = Stat {
            state: 'S',
            parent: 3,
            started: 4242,
        };
        assert_eq!(Stat::parse(text), Some(stat));
    }

    #[test]
    fn a_child_is_a_descendant() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(ProcessId::current().unwrap().descendants().contains(&pid));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_number_with_another_start_time_is_another_process() {
        let own = ProcessId::current().unwrap();
        assert!(own.runs());
        let earlier = ProcessId {
            started: own.started + 1,
            ..own
        };
        assert!(!earlier.runs());
    }
}
