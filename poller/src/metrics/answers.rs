//! Answers by host. A tenant chooses the hosts, so their number is bounded, and those that are
//! polled no more are dropped.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Answer;

/// Hosts with a series of their own; those that come later share one.
const HOSTS: usize = 100;

/// No host has this name: a host has a dot or a port, or is `localhost`.
const OTHERS: &str = "other";

/// Complete lists by host and by what was new about them; clones count into the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    counted: Family<Labels, Counter>,
    hosts: Arc<Mutex<HashSet<String>>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    host: String,
    answer: &'static str,
}

impl Answers {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "registry_answers",
            "Complete tag lists by host and by what was new about them",
            self.counted.clone(),
        );
    }

    pub(super) fn count(&self, host: &str, answer: Answer) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = if hosts.contains(host) {
            host
        } else if hosts.len() < HOSTS {
            hosts.insert(host.to_owned());
            for answer in Answer::ALL {
                let _zero = self.counted.get_or_create(&labels(host, answer));
            }
            host
        } else {
            OTHERS
        };
        self.counted.get_or_create(&labels(host, answer)).inc();
    }

    /// Drops the series of all other hosts.
    pub(super) fn retain(&self, polled: impl Fn(&str) -> bool) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|host| {
            let stays = polled(host);
            if !stays {
                for answer in Answer::ALL {
                    self.counted.remove(&labels(host, answer));
                }
            }
            stays
        });
    }
}

fn labels(host: &str, answer: Answer) -> Labels {
    Labels {
        host: host.to_owned(),
        answer: answer.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn lines(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(str::to_owned).collect()
    }

    #[test]
    fn hosts_are_told_apart_until_there_are_too_many() {
        let mut registry = Registry::default();
        let answers = Answers::default();
        answers.register(&mut registry);
        for n in 0..1000 {
            answers.count(&format!("r{n}.example.com"), Answer::NotModified);
        }
        answers.count("r7.example.com", Answer::List);
        let told = lines(&registry);
        assert_eq!(told.len(), 3 * HOSTS + 1);
        for line in [
            "registry_answers_total{host=\"r7.example.com\",answer=\"200\"} 1",
            "registry_answers_total{host=\"r7.example.com\",answer=\"304\"} 1",
            "registry_answers_total{host=\"r7.example.com\",answer=\"unchanged\"} 0",
            "registry_answers_total{host=\"other\",answer=\"304\"} 900",
        ] {
            assert!(told.iter().any(|told| told == line), "{line}: {told:?}");
        }
    }

    #[test]
    fn a_host_that_is_polled_no_more_makes_room() {
        let mut registry = Registry::default();
        let answers = Answers::default();
        answers.register(&mut registry);
        for n in 0..HOSTS {
            answers.count(&format!("r{n}.example.com"), Answer::List);
        }
        answers.retain(|host| host == "r7.example.com");
        assert_eq!(lines(&registry).len(), 3);
        answers.count("late.example.com", Answer::List);
        let told = lines(&registry);
        assert_eq!(told.len(), 6);
        assert!(told.iter().any(|line| line.contains("late.example.com")));
    }
}
