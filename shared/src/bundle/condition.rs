//! Conditions of a bundle: their types, and setting one without touching its transition time when
//! nothing changed. Semantics are those of kstatus: `Ready` is always there, `Reconciling` and
//! `Stalled` only while they are true.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message the API conventions allow is 32768 bytes; people read far less.
const MESSAGE_LIMIT: usize = 1024;

/// The types of condition a bundle can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The wanted inputs are deployed.
    Ready,
    /// Work is under way or waiting for its time.
    Reconciling,
    /// Nothing will happen until something changes.
    Stalled,
    /// The last poll of the registry succeeded.
    RegistryAvailable,
}

impl ConditionType {
    /// The type as it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::RegistryAvailable => "RegistryAvailable",
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    True,
    /// It does not.
    False,
    /// Not known yet.
    Unknown,
}

impl Holds {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which condition.
    pub kind: ConditionType,
    /// Whether it holds.
    pub holds: Holds,
    /// One `CamelCase` word for machines.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// Sets a condition; its transition time moves only when it starts or stops to hold. The one that the
/// schema gives a fresh object is no time at all.
pub fn set(
    conditions: &mut Vec<Condition>,
    statement: Statement,
    generation: Option<i64>,
    now: Timestamp,
) {
    let Statement {
        kind,
        holds,
        reason,
        message,
    } = statement;
    let previous = conditions.iter().find(|c| c.type_ == kind.as_str());
    let since = previous
        .filter(|c| c.status == holds.as_str())
        .filter(|c| c.last_transition_time.0 != Timestamp::UNIX_EPOCH)
        .map_or_else(|| Time(now), |c| c.last_transition_time.clone());
    let condition = Condition {
        type_: kind.as_str().to_owned(),
        status: holds.as_str().to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(MESSAGE_LIMIT).collect(),
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|c| c.type_ == kind.as_str()) {
        Some(existing) => *existing = condition,
        None => conditions.push(condition),
    }
}

/// Removes a condition.
pub fn clear(conditions: &mut Vec<Condition>, kind: ConditionType) {
    conditions.retain(|c| c.type_ != kind.as_str());
}

/// The condition of a type, if it is there.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(holds: Holds, message: &str) -> Statement {
        Statement {
            kind: ConditionType::Ready,
            holds,
            reason: "Test",
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_changes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        set(&mut conditions, ready(Holds::False, "a"), Some(1), at(10));
        set(&mut conditions, ready(Holds::False, "b"), Some(2), at(20));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert_eq!(conditions[0].message, "b");
        assert_eq!(conditions[0].observed_generation, Some(2));
        set(&mut conditions, ready(Holds::True, "c"), Some(2), at(30));
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn the_time_of_the_schema_gives_way_to_a_real_one() {
        let mut conditions = Vec::new();
        let unknown = |message| ready(Holds::Unknown, message);
        set(&mut conditions, unknown("a"), None, Timestamp::UNIX_EPOCH);
        let now = Timestamp::from_second(10).unwrap();
        set(&mut conditions, unknown("b"), Some(1), now);
        assert_eq!(conditions[0].last_transition_time, Time(now));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            ready(Holds::False, &"ü".repeat(5000)),
            None,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(conditions[0].message.chars().count(), MESSAGE_LIMIT);
    }
}
