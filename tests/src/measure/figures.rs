//! The figures: one line each, and all of them in a file for machines.

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// What was measured, and what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) goal: Option<Goal>,
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
            goal: Some(goal),
            bare: None,
        }
    }

    /// A figure that says what becomes of others, and should be nothing in particular.
    pub(super) fn plain(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value: rounded(value),
            unit,
            goal: None,
            bare: None,
        }
    }

    pub(super) fn beside(self, bare: f64) -> Self {
        Self {
            bare: Some(rounded(bare)),
            ..self
        }
    }

    fn is_met(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::AtMost(most) => self.value <= rounded(most),
            Goal::AtLeast(least) => self.value >= rounded(least),
        })
    }

    fn to_json(&self) -> Value {
        let goal = self.goal.map(|goal| {
            let (operator, value) = goal.parts();
            json!({ "operator": operator, "value": value })
        });
        json!({
            "name": self.name, "value": self.value, "unit": self.unit,
            "goal": goal, "met": self.is_met(), "bare": self.bare,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value, unit) = (&self.name, self.value, self.unit);
        write!(formatter, "{name} {value} {unit}")?;
        if let (Some(goal), Some(met)) = (self.goal, self.is_met()) {
            let (operator, goal) = goal.parts();
            let verdict = if met { "met" } else { "missed" };
            write!(formatter, " goal {operator} {goal} {verdict}")?;
        }
        Ok(())
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

/// Writes all figures of a run, beside those that another benchmark measured at the same commit.
pub(super) fn write(path: &Path, figures: &[Figure]) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let commit = commit()?;
    let mut all = std::fs::read(path)
        .ok()
        .and_then(|bytes| others(&bytes, &commit, figures))
        .unwrap_or_default();
    all.extend(figures.iter().map(Figure::to_json));
    let document = json!({ "commit": commit, "cores": cores, "figures": all });
    std::fs::write(path, serde_json::to_vec_pretty(&document)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The figures of an earlier document about this commit that are not measured anew.
fn others(document: &[u8], commit: &str, figures: &[Figure]) -> Option<Vec<Value>> {
    let mut document: Value = serde_json::from_slice(document).ok()?;
    if document["commit"] != commit {
        return None;
    }
    let mut others = document["figures"].as_array_mut().map(std::mem::take)?;
    others.retain(|other| figures.iter().all(|figure| other["name"] != figure.name));
    Some(others)
}

fn commit() -> anyhow::Result<String> {
    let output = Command::new("git")
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=40",
            "--exclude=*",
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .context("cannot run git")?;
    ensure!(output.status.success(), "there is no commit");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
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
        assert_eq!(Figure::plain("name", 4.0, "ms").to_string(), "name 4 ms");
    }

    #[test]
    fn figures_of_another_benchmark_stay_unless_the_commit_is_another() {
        let document = json!({"commit": "a", "figures": [{"name": "theirs"}, {"name": "ours"}]});
        let document = document.to_string();
        let ours = [Figure::plain("ours", 1.0, "ms")];
        let kept = |commit| others(document.as_bytes(), commit, &ours);
        assert_eq!(kept("a"), Some(vec![json!({"name": "theirs"})]));
        assert_eq!(kept("b"), None);
    }
}
