//! Gets log lines out without making anybody wait: a bounded queue and one thread that writes.
//! When the reader of our output stalls, lines are dropped and counted, never waited for.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Some seconds of a service that logs everything, in a few MB.
const CAPACITY: usize = 8192;

/// How often a flush tries to enter a full queue.
const RETRY: Duration = Duration::from_millis(10);

enum Entry {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// The queue's end that can be waited for.
pub(super) struct LineQueue {
    entries: SyncSender<Entry>,
}

impl LineQueue {
    /// Starts the thread that writes to `out`, and gives the writer that feeds it.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Self, LineWriter)> {
        let (entries, received) = sync_channel(CAPACITY);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = LineWriter {
            entries: entries.clone(),
            dropped: Arc::clone(&dropped),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&received, &dropped, out))?;
        Ok((Self { entries }, writer))
    }

    /// Waits until everything queued so far is written, at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        let mut left = limit;
        while self.entries.try_send(Entry::Flush(done.clone())).is_err() {
            let Some(less) = left.checked_sub(RETRY) else {
                return;
            };
            left = less;
            thread::sleep(RETRY);
        }
        let _overdue = wait.recv_timeout(left);
    }
}

fn write_all(entries: &Receiver<Entry>, dropped: &AtomicU64, mut out: impl Write) {
    for entry in entries {
        // A closed output is no reason to stop: somebody may wait for the flush.
        match entry {
            Entry::Line(line) => {
                let _closed = out.write_all(&line);
            }
            Entry::Flush(done) => {
                let _closed = out.flush();
                let _gone = done.try_send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lines = lost, "Dropped log lines, the output was too slow");
        }
    }
}

/// Queues each line it is given.
#[derive(Clone)]
pub(super) struct LineWriter {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Write for LineWriter {
    /// One call is one line: the subscriber formats a line completely before it writes.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LineWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// Lets nothing through before its gate opens.
    struct Gated {
        gate: Receiver<()>,
        open: bool,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.open {
                self.open = self.gate.recv().is_ok();
            }
            self.written.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_output_loses_lines_but_stops_nobody() {
        let (open, gate) = sync_channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let (queue, mut writer) = LineQueue::start(Gated {
            gate,
            open: false,
            written: Arc::clone(&written),
        })
        .unwrap();
        let more = CAPACITY + 100;
        for _ in 0..more {
            writer.write_all(b"x").unwrap();
        }
        // One line is in the thread's hand, if it was quick.
        let lost = usize::try_from(writer.dropped.load(Ordering::Relaxed)).unwrap();
        assert!((99..=100).contains(&lost), "{lost}");

        open.send(()).unwrap();
        while queue.entries.try_send(Entry::Line(b"y".to_vec())).is_err() {
            thread::yield_now();
        }
        let (done, wait) = channel();
        thread::spawn(move || {
            queue.flush(Duration::from_secs(10));
            done.send(()).unwrap();
        });
        wait.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(written.lock().unwrap().len() > CAPACITY / 2);
    }

    #[test]
    fn a_flush_waits_for_every_line_before_it() {
        let (open, gate) = sync_channel(1);
        open.send(()).unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (queue, mut writer) = LineQueue::start(Gated {
            gate,
            open: false,
            written: Arc::clone(&written),
        })
        .unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        queue.flush(Duration::from_secs(10));
        assert_eq!(*written.lock().unwrap(), b"one\ntwo\nthree\n");
    }
}
