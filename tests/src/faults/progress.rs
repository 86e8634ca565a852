//! How far a plan has come, for those of its parts that wait for each other.

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::timeout;

use super::call::Call;
use super::plan::Until;
use super::workload::PATIENCE;

#[derive(Debug, Default)]
struct State {
    /// Requests of the process that the apiserver has answered.
    answered: Vec<Call>,
    /// Announcements that were acknowledged.
    acknowledged: usize,
    /// A request is being held, or was.
    held: bool,
}

/// How far a plan has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: watch::Sender<State>,
}

impl Progress {
    /// The apiserver has answered.
    pub(super) fn answered(&self, call: &Call) {
        self.state
            .send_modify(|state| state.answered.push(call.clone()));
    }

    /// An announcement was acknowledged.
    pub(super) fn acknowledged(&self) {
        self.state.send_modify(|state| state.acknowledged += 1);
    }

    /// Waits, but not for ever.
    pub(super) async fn hold(&self, until: &Until) {
        self.state.send_modify(|state| state.held = true);
        let mut state = self.state.subscribe();
        let come = state.wait_for(|state| match until {
            Until::Answered(trigger) => {
                let of_kind = |call: &&Call| trigger.is_of_kind(call);
                state.answered.iter().filter(of_kind).count() >= trigger.nth
            }
            Until::Acknowledged(count) => state.acknowledged >= *count,
        });
        // What comes of it is judged, whether it came to that or not.
        let _ = timeout(until.limit(), come).await;
    }

    /// Waits until the plan's request is being held.
    pub(super) async fn held(&self) -> anyhow::Result<()> {
        let mut state = self.state.subscribe();
        let held = timeout(PATIENCE, state.wait_for(|state| state.held)).await;
        held.context("the request to hold was never made")??;
        Ok(())
    }
}
