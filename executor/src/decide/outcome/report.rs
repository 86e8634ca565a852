//! The first operation that failed, out of the deploy report that werf leaves in the container's
//! termination message.
//!
//! The report is `releaseReportV3` of nelm (`pkg/action/common.go`), JSON with tabs, its failed
//! operations last and sorted. Each is `<verb>: <Kind>/<name>`, with ` (namespace=…)` and
//! ` (iteration=…)` behind it where there is one (`OperationIDHuman` and `IDHuman`). The kubelet keeps
//! the last 4096 bytes of the file (`getTerminationMessage` in `kuberuntime_container.go`), so a report
//! of many operations begins anywhere. Where werf left no report the end of its log is here instead.
//! Nothing of it can be trusted: whoever controls the image of a Job writes what they like.

use serde_json::Value;

use crate::decide::mask::Masker;
use crate::decide::text::shown;

const KEY: &str = "\"failedOperations\"";

/// The kubelet's limit. More is no termination message.
const LIMIT: usize = 4096;

/// The longest operation that is told.
const OPERATION_LIMIT: usize = 200;

/// The first failed operation, as it is told to people: `Deployment/app: track readiness failed`.
/// Masked before anything is cut, put in order or parsed, and again after each.
pub(super) fn failed_operation(message: &str, masker: &Masker) -> Option<String> {
    if message.len() > LIMIT {
        return None;
    }
    let message = masker.mask(message);
    let (_, list) = message.rsplit_once(KEY)?;
    let list = list.trim_start().strip_prefix(':')?.trim_start();
    // One value, whatever comes after it; a list that does not end is none.
    let mut values = serde_json::Deserializer::from_str(list).into_iter::<Vec<Value>>();
    let operations = values.next()?.ok()?;
    let mut operations = operations.iter().filter_map(Value::as_str);
    let told = told(operations.next()?, masker)?;
    Some(match operations.count() {
        0 => told,
        1 => format!("{told}, and 1 other operation"),
        more => format!("{told}, and {more} other operations"),
    })
}

fn told(operation: &str, masker: &Masker) -> Option<String> {
    let operation = shown(operation, masker, OPERATION_LIMIT);
    let Some((verb, resource)) = operation.split_once(": ") else {
        return (!operation.is_empty()).then(|| format!("{operation} failed"));
    };
    // Everything is in the one namespace that the status names, nearly always.
    let (resource, rest) = match resource.split_once(" (namespace=") {
        Some((resource, rest)) => (resource, rest.split_once(')').map_or("", |(_, rest)| rest)),
        None => (resource, ""),
    };
    Some(format!("{resource}: {verb} failed{rest}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::decide::mask::Masks;

    /// As nelm writes it.
    const REPORT: &str = "{\n\t\"version\": 3,\n\t\"release\": \"app\",\n\t\"namespace\": \"prod\",\n\t\"revision\": 2,\n\t\"status\": \"failed\",\n\t\"completedOperations\": [\n\t\t\"create: ConfigMap/page (namespace=prod)\"\n\t],\n\t\"canceledOperations\": [\n\t\t\"create: Service/app (namespace=prod)\"\n\t],\n\t\"failedOperations\": [\n\t\t\"track readiness: Deployment/app (namespace=prod)\"\n\t]\n}";

    #[test]
    fn the_operation_that_failed_is_told() {
        assert_eq!(
            failed_operation(REPORT, &Masker::Open).as_deref(),
            Some("Deployment/app: track readiness failed")
        );
    }

    #[test]
    fn of_a_report_whose_beginning_is_lost_the_end_is_read() {
        for start in 1..REPORT.find(KEY).unwrap() {
            assert_eq!(
                failed_operation(&REPORT[start..], &Masker::Open).as_deref(),
                Some("Deployment/app: track readiness failed")
            );
        }
    }

    #[rstest]
    #[case::several(
        r#""failedOperations":["create: A/b","update: C/d"]}"#,
        Some("A/b: create failed, and 1 other operation")
    )]
    #[case::iteration(
        r#""failedOperations":["apply: A/b (namespace=n) (iteration=1)"]}"#,
        Some("A/b: apply failed (iteration=1)")
    )]
    #[case::no_verb(r#""failedOperations":["Job/migrate"]}"#, Some("Job/migrate failed"))]
    #[case::none(
        r#"{"version":3,"status":"deployed","completedOperations":["create: A/b"]}"#,
        None
    )]
    #[case::empty(r#""failedOperations":[]"#, None)]
    #[case::not_ended(r#""failedOperations":["create: A/b","#, None)]
    #[case::not_strings(r#""failedOperations":[{"a":1},7]"#, None)]
    #[case::deep(&format!(r#""failedOperations":{}"#, "[".repeat(4000)), None)]
    #[case::log("Error: pull access denied", None)]
    #[case::control(
        "\"failedOperations\":[\"create: A/\\u001b[31mb\\u202e\\n\\tc\"]",
        Some("A/b c: create failed")
    )]
    fn tells_what_there_is(#[case] message: &str, #[case] expected: Option<&str>) {
        assert_eq!(
            failed_operation(message, &Masker::Open).as_deref(),
            expected
        );
    }

    #[test]
    fn a_long_name_is_cut() {
        let report = format!(r#""failedOperations":["create: A/{}"]"#, "b".repeat(3000));
        assert!(
            failed_operation(&report, &Masker::Open)
                .unwrap()
                .chars()
                .count()
                < 250
        );
        assert_eq!(
            failed_operation(&format!("{report}{}", " ".repeat(5000)), &Masker::Open),
            None
        );
    }

    #[rstest]
    #[case::at_the_cut(&format!("create: Secret/{}SECRET", "b".repeat(170)))]
    #[case::across_the_swap("hunter: 22secretly and long")]
    #[case::with_blanks("create: A/two  blanks  in  it")]
    #[case::with_controls("create: A/hun\\u0007ter22")]
    fn no_part_of_a_secret_is_told(#[case] operation: &str) {
        let long = "x7".repeat(100);
        let mut masks = Masks::default();
        for secret in [
            &long,
            "hunter: 22secretly",
            "two  blanks  in  it",
            "hunter22",
        ] {
            masks.add(secret);
        }
        let operation = operation.replace("SECRET", &long);
        let report = format!(r#""failedOperations":["{operation}"]"#);
        let told = failed_operation(&report, &masks.masker()).unwrap();
        for part in ["x7", "22", "two", "hun"] {
            assert!(!told.contains(part), "{told}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_container_writes_does_harm(before in ".{0,50}", list in ".{0,200}") {
            let told = failed_operation(&format!("{before}{KEY}: [\"{list}\"]"), &Masker::Open);
            if let Some(told) = told {
                prop_assert!(told.chars().count() < 300 && !told.contains(char::is_control));
            }
        }
    }
}
