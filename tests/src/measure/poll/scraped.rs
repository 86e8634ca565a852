//! What a poller says about itself at `/metrics`.

use anyhow::Context as _;

/// Later than this a poll is late. It is a bound of the poller's own histogram, and little against
/// the six seconds by which the shortest interval varies on purpose.
const LATE: &str = "0.64";

/// The counters that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scraped {
    /// Polls that ended well.
    pub(super) succeeded: u64,
    /// Polls that ended otherwise.
    pub(super) failed: u64,
    /// Polls that started late.
    pub(super) late: u64,
}

impl Scraped {
    /// Every poll that ended.
    pub(super) fn polls(self) -> u64 {
        self.succeeded + self.failed
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            succeeded: self.succeeded - before.succeeded,
            failed: self.failed - before.failed,
            late: self.late - before.late,
        }
    }
}

/// Asks the poller that serves its metrics on this port.
pub(super) async fn scrape(client: &reqwest::Client, port: u16) -> anyhow::Result<Scraped> {
    let url = format!("http://127.0.0.1:{port}/metrics");
    let text = client.get(url).send().await?.text().await?;
    parse(&text).context("the metrics lack what is looked for")
}

fn parse(text: &str) -> Option<Scraped> {
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    let value = |line: &str| line.rsplit_once(' ')?.1.parse::<u64>().ok();
    let sum = |ours: &dyn Fn(&str) -> bool| {
        let lines = lines().filter(|line| line.starts_with("registry_poll_total{") && ours(line));
        lines.filter_map(value).sum()
    };
    let lag = |label: &str| {
        let name = format!("werf_operator_poll_schedule_lag_seconds_{label}");
        lines().find(|line| line.starts_with(&name)).and_then(value)
    };
    let is_success = |line: &str| line.contains("outcome=\"success\"");
    let all = lag("count")?;
    let in_time = lag(&format!("bucket{{le=\"{LATE}"))?;
    Some(Scraped {
        succeeded: sum(&is_success),
        failed: sum(&|line| !is_success(line)),
        late: all - in_time,
    })
}
