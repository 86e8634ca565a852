//! The loop that joins it all: changes of bundles and wishes of people come in, polls start when
//! they are due, and what they find is told to the executor. It alone holds the state, so nothing
//! in it needs a lock.

use std::collections::HashMap;
use std::fmt;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_shared::backoff::Jitter;
use werf_shared::bundle::BundleKey;
use werf_shared::clock;
use werf_shared::poll_failure::Reason;
use werf_shared::readiness::ReadinessHandle;

use crate::decide::book::Book;
use crate::decide::failure::PollFailure;
use crate::decide::tell::Told;
use crate::decide::watched::{Subscription, Watched};
use crate::io::announce::{Courier, Delivered, verdict_words};
use crate::io::registry::{Meter, Registry};
use crate::io::server::{Answer, Ask, Refusal, poll_span};
use crate::io::watch::WatchEvent;
use crate::metrics::{PollTimer, PollerMetrics};

mod changes;
mod conclude;
mod park;
pub mod round;

use round::{Cache, Member, Round};

/// Wishes for one bundle that wait at once; more are a script's.
const ASKS: usize = 16;

/// The loop and everything it holds.
pub struct Poller {
    book: Book,
    registry: Registry,
    courier: Courier,
    metrics: PollerMetrics,
    synced: Option<ReadinessHandle>,
    bundles: HashMap<BundleKey, Remembered>,
    caches: HashMap<Subscription, Cache>,
    asks: HashMap<BundleKey, Vec<Ask>>,
    verdicts: HashMap<BundleKey, Vec<oneshot::Sender<String>>>,
    rounds: JoinSet<Round>,
    running: HashMap<Id, Running>,
    /// Some host is left alone, or was until just now.
    any_parked: bool,
}

/// What is remembered of a bundle.
#[derive(Debug, Default)]
struct Remembered {
    uid: String,
    told: Told,
}

struct Running {
    subscription: Subscription,
    span: Span,
    timer: PollTimer,
    meter: Meter,
    asks: Vec<Ask>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

impl Poller {
    /// A loop that polls by an empty book; `synced` is reported when the watch is complete.
    pub fn new(
        book: Book,
        registry: Registry,
        courier: Courier,
        metrics: PollerMetrics,
        synced: ReadinessHandle,
    ) -> Self {
        Self {
            book,
            registry,
            courier,
            metrics,
            synced: Some(synced),
            bundles: HashMap::new(),
            caches: HashMap::new(),
            asks: HashMap::new(),
            verdicts: HashMap::new(),
            rounds: JoinSet::new(),
            running: HashMap::new(),
            any_parked: false,
        }
    }

    /// Runs until `shutdown`. What has not been told by then is found again after the next start.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<WatchEvent>,
        mut asks: mpsc::Receiver<Ask>,
        shutdown: CancellationToken,
    ) {
        loop {
            self.start_due();
            let wake = self.book.wake();
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(event) = events.recv() => self.watched(event),
                Some(ask) = asks.recv() => self.asked(ask),
                Some(ended) = self.rounds.join_next_with_id() => match ended {
                    Ok((id, round)) => self.ended(id, Some(round)),
                    Err(panicked) => self.ended(panicked.id(), None),
                },
                delivered = self.courier.next() => self.delivered(&delivered),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn asked(&mut self, ask: Ask) {
        let now = clock::instant();
        if self.book.ask(&ask.key, now) {
            if let Some(parked) = self.parked(&ask.key, now) {
                let _gone = ask.reply.send(Err(parked));
                return;
            }
            let waiting = self.asks.entry(ask.key.clone()).or_default();
            waiting.retain(|ask| !ask.reply.is_closed());
            if waiting.len() < ASKS {
                waiting.push(ask);
            } else {
                let _gone = ask.reply.send(Err(Refusal::Crowded(ask.key)));
            }
            return;
        }
        let key = ask.key.clone();
        let refusal = match self.book.get(&key).map(|entry| &entry.watched) {
            None => Refusal::Unknown(key),
            Some(Watched {
                subscription: Err(reason),
                ..
            }) => Refusal::Unpollable(key, reason.clone()),
            Some(_) => Refusal::Resting(key),
        };
        let _gone = ask.reply.send(Err(refusal));
    }

    fn start_due(&mut self) {
        let now = clock::instant();
        if self.any_parked {
            let parked = self.book.hosts_parked(now);
            self.metrics.hosts_parked(parked);
            self.any_parked = parked > 0;
        }
        for (subscription, due) in self.book.start_due(now) {
            let members = self.members(&subscription);
            let asks: Vec<Ask> = members
                .iter()
                .flat_map(|member| self.asks.remove(&member.key).unwrap_or_default())
                .collect();
            let span = match (asks.first(), members.first()) {
                (Some(ask), _) => ask.span.clone(),
                (None, Some(member)) => poll_span(&member.key),
                (None, None) => Span::none(),
            };
            span.record("registry.host", subscription.repository.host());
            let (registry, meter) = self.registry.for_poll(&self.metrics);
            let cache = self.caches.get(&subscription).cloned();
            let running = Running {
                subscription: subscription.clone(),
                span: span.clone(),
                timer: self.metrics.start_poll(now - due),
                meter,
                asks,
            };
            let poll = async move { round::poll(&registry, &subscription, members, cache).await };
            let id = self.rounds.spawn(poll.instrument(span)).id();
            self.running.insert(id, running);
        }
    }

    fn members(&self, subscription: &Subscription) -> Vec<Member> {
        let members = self.book.members(subscription).into_iter();
        members.map(|(key, entry)| Member { key, entry }).collect()
    }

    fn ended(&mut self, id: Id, round: Option<Round>) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        let round = round.unwrap_or_else(|| {
            // A registry must not be able to end the process with an answer nobody thought of.
            let failure = PollFailure::new(Reason::InvalidAnswer, "internal error");
            round::failed(&failure, self.members(&running.subscription), None)
        });
        let span = running.span.clone();
        span.in_scope(|| self.conclude(running, round));
    }

    fn conclude(&mut self, running: Running, round: Round) {
        let Running {
            subscription,
            timer,
            meter,
            mut asks,
            span,
        } = running;
        if let Some(until) = meter.left_alone_until() {
            self.park(&subscription, until);
        }
        timer.finish(round.end());
        if let Ok(listed) = &round.listed {
            let host = subscription.repository.host();
            self.metrics.answered(host, listed.answer);
            conclude::log_warning(&subscription, listed);
        }
        for ended in round.members {
            let key = ended.member.key.clone();
            let asked = asks.iter().any(|ask| ask.key == key);
            let response = asked.then(|| conclude::response(&subscription, &round.listed, &ended));
            self.tell(&subscription, round.listed.as_ref().ok(), ended, &span);
            let Some(response) = response else {
                continue;
            };
            for ask in asks.extract_if(.., |ask| ask.key == key) {
                let verdict = self.courier.announces(&key).then(|| {
                    let (sender, receiver) = oneshot::channel();
                    let waiting = self.verdicts.entry(key.clone()).or_default();
                    waiting.retain(|sender| !sender.is_closed());
                    waiting.push(sender);
                    receiver
                });
                let response = response.clone();
                let _gone = ask.reply.send(Ok(Answer { response, verdict }));
            }
        }
        self.book.finished(&subscription, clock::instant());
        match round.cache.filter(|_| self.book.polls(&subscription)) {
            Some(cache) => self.caches.insert(subscription, cache),
            None => self.caches.remove(&subscription),
        };
    }

    fn delivered(&mut self, delivered: &Delivered) {
        if delivered.refused
            && let Some(remembered) = self.bundles.get_mut(&delivered.key)
        {
            remembered.told.lost();
        }
        if !delivered.announcement {
            return;
        }
        let taken = matches!(
            delivered.verdict,
            Some(Verdict::Accepted | Verdict::AlreadyKnown | Verdict::NotNewer)
        );
        if !taken && let Some(remembered) = self.bundles.get_mut(&delivered.key) {
            remembered.told.not_taken();
        }
        let words = match delivered.verdict {
            Some(verdict) => format!("{}: {}", verdict_words(verdict), delivered.words),
            None => format!("refused: {}", delivered.words),
        };
        for waiting in self.verdicts.remove(&delivered.key).unwrap_or_default() {
            let _gone = waiting.send(words.clone());
        }
    }
}

fn jitter() -> Jitter {
    Jitter::from_unit(clock::unit_random())
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
