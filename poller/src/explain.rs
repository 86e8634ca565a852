//! Says which of some tags would be chosen, and why, without a cluster or a registry.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use werf_shared::tag::Tag;

use crate::args::Explain;
use crate::decide::newest::{Choice, Rule};
use crate::decide::page::{Contents, Reading};

/// Prints the reasoning, or what keeps it from being found.
pub fn report(explain: &Explain) -> ExitCode {
    let told = reasoning(&explain.tags_file, &explain.rule).and_then(|text| {
        let written = std::io::stdout().write_all(text.as_bytes());
        written.context("cannot write the answer")
    });
    if let Err(error) = &told {
        let _closed = writeln!(std::io::stderr(), "{error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn reasoning(file: &Path, rule: &Rule) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut reading = Reading::new([rule], usize::MAX);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        reading.entry(Some(line))?;
    }
    let Contents {
        selections,
        invalid,
        ..
    } = reading.finish();
    let selection = selections.first().context("there is one rule")?;
    let (tag, reason) = match &selection.choice {
        Choice::Chosen(tag, why) => (tag.as_str(), why),
        Choice::Nothing(_, why) => ("none", why),
    };
    let candidates: Vec<&str> = selection.candidates.iter().map(Tag::as_str).collect();
    Ok(format!(
        "tag:         {tag}\nreason:      {reason}\nconsidered:  {} tags, {invalid} lines are no tags\npassed over: {}\ncandidates:  {}\n",
        selection.considered,
        selection.dropped,
        candidates.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasoning_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tags");
        std::fs::write(&file, "v1.9.0\nv1.10.0\n\nlatest\nno tag\nv2.0.0\n").unwrap();
        let rule = Rule::Matching("^1".parse().unwrap());
        let expected = "tag:         v1.10.0
reason:      v1.10.0 is the highest version that satisfies ^1
considered:  4 tags, 1 lines are no tags
passed over: 1 outside the constraint, 1 not versions
candidates:  v1.10.0, v1.9.0
";
        assert_eq!(reasoning(&file, &rule).unwrap(), expected);
    }
}
