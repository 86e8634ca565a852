//! The figures: one line each, and all of them in a file for machines.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

/// What was measured, and what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) goal: Goal,
    /// The same of the bare client, where it has one.
    pub(super) bare: Option<f64>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, value: f64, unit: &'static str, goal: Goal) -> Self {
        Self {
            name: name.into(),
            value: rounded(value),
            unit,
            goal,
            bare: None,
        }
    }

    pub(super) fn beside(self, bare: f64) -> Self {
        Self {
            bare: Some(rounded(bare)),
            ..self
        }
    }

    fn is_met(&self) -> bool {
        match self.goal {
            Goal::AtMost(most) => self.value <= rounded(most),
            Goal::AtLeast(least) => self.value >= rounded(least),
        }
    }

    fn to_json(&self) -> Value {
        let (operator, goal) = self.goal.parts();
        json!({
            "name": self.name, "value": self.value, "unit": self.unit,
            "goal": { "operator": operator, "value": goal },
            "met": self.is_met(), "bare": self.bare,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, goal) = self.goal.parts();
        let verdict = if self.is_met() { "met" } else { "missed" };
        let (name, value, unit) = (&self.name, self.value, self.unit);
        write!(
            formatter,
            "{name} {value} {unit} goal {operator} {goal} {verdict}"
        )
    }
}

impl Goal {
    fn parts(self) -> (&'static str, f64) {
        match self {
            Self::AtMost(most) => ("<=", rounded(most)),
            Self::AtLeast(least) => (">=", rounded(least)),
        }
    }
}

/// Nobody measures more than three places.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Writes all figures of a run.
pub(super) fn write(path: &Path, commit: &str, figures: &[Figure]) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let document = json!({
        "commit": commit,
        "cores": cores,
        "figures": figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
    });
    std::fs::write(path, serde_json::to_vec_pretty(&document)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The middle one.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whether_the_goal_is_met() {
        let line = |value, goal| Figure::new("name", value, "ms", goal).to_string();
        assert_eq!(line(1.5, Goal::AtMost(1.5)), "name 1.5 ms goal <= 1.5 met");
        assert_eq!(
            line(1.501, Goal::AtMost(1.5)),
            "name 1.501 ms goal <= 1.5 missed"
        );
        assert_eq!(line(4.0, Goal::AtLeast(5.0)), "name 4 ms goal >= 5 missed");
        assert_eq!(
            line(f64::NAN, Goal::AtLeast(5.0)),
            "name NaN ms goal >= 5 missed"
        );
    }
}
