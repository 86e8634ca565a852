//! The same questions put to Helm's own code, through the Go program in `tests/strvals-check`.
//! Ignored by default because it needs Go.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;

/// What Helm makes of each file and its arguments; `None` if it refuses.
fn helm(questions: &[Value]) -> Vec<Option<Value>> {
    let mut program = Command::new("go")
        .args(["run", "."])
        .current_dir(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/strvals-check"
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.join("\n").as_bytes()).unwrap());
    let output = program.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(answers.len(), questions.len());
    answers
        .into_iter()
        .map(|mut answer| answer.get_mut("values").map(Value::take))
        .collect()
}

/// `value` with every number as the float that Helm may make of it: whole ones that a float holds
/// exactly to the last digit, others as exactly as this test's JSON reader reads floats.
fn as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().unwrap() + 0.0;
            let whole = float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
            Value::from(if whole {
                format!("{float:.0}")
            } else {
                format!("{float:.14e}")
            })
        }
        Value::Array(items) => items.into_iter().map(as_floats).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, as_floats(value)))
            .collect(),
        other => other,
    }
}

fn samples<T: std::fmt::Debug>(count: usize, strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

#[test]
#[ignore = "needs Go"]
fn helm_itself_gets_the_merged_document_back() {
    let pairs = samples(5000, (document(), document(), any::<i64>()));
    let mut questions = Vec::new();
    let mut meant = Vec::new();
    for (mut shown, hidden, large) in pairs {
        // Perhaps more than a float holds.
        shown["large"] = Value::from(large);
        let sources = [
            config_map(0, &written(&shown)),
            secret(1, &written(&hidden)),
        ];
        let values = resolve(&sources).unwrap();
        questions
            .push(json!({"file": values.file.unwrap_or_default(), "arguments": values.arguments}));
        let mut expected = shown;
        laid_over(&mut expected, hidden);
        meant.push(expected);
    }
    for ((answer, expected), question) in helm(&questions).into_iter().zip(meant).zip(questions) {
        let answer = answer.unwrap_or_default();
        assert_eq!(answer["large"], expected["large"], "{question}");
        assert_eq!(as_floats(answer), as_floats(expected), "{question}");
    }
}

#[test]
#[ignore = "needs Go"]
fn what_helm_can_read_means_the_same_here_or_is_refused() {
    let number = "[-+]?(0[xXoObB]?)?[0-9a-f_]{0,8}(\\.[0-9]{0,3})?([eE][-+]?[0-9]{0,3})?";
    let word =
        "(~|null|NULL|nUll|y|N|yes|No|on|OFF|true|False|tRUE|\\.5|<<|=|2001-1-2|1:20|-|\\+|\\.)";
    // YAML 1.1 and 1.2 part where an indicator touches what follows: `[?a]`, `{a:}`, `&a:b`.
    let soup = "([-a-c0-2{}\\[\\],!'\"|>#<~. \n]|: |:\n|&[ab] |\\*[ab] ){0,16}";
    let mut texts: Vec<String> = samples(5000, number)
        .into_iter()
        .map(|text| format!("a: {text}"))
        .collect();
    texts.extend(
        samples(200, word)
            .into_iter()
            .map(|text| format!("a: {text}")),
    );
    texts.extend(
        samples(200, word)
            .into_iter()
            .map(|text| format!("{text}: a")),
    );
    texts.extend(samples(20_000, soup));
    texts.extend(
        samples(20_000, soup)
            .into_iter()
            .map(|text| format!("a: {text}")),
    );
    let (mut questions, mut read) = (Vec::new(), Vec::new());
    for text in texts {
        if let Ok(document) = document::parse(text.as_bytes(), &mut Budget::default()) {
            questions.push(json!({ "file": text }));
            read.push(Value::Object(document));
        }
    }
    let mut different = Vec::new();
    for ((answer, read), question) in helm(&questions).into_iter().zip(read).zip(questions) {
        // YAML 1.2 allows more than 1.1, in anchors for example.
        let Some(answer) = answer else { continue };
        if as_floats(answer.clone()) != as_floats(read.clone()) {
            different.push(format!("{question}: here {read}, there {answer}"));
        }
    }
    assert!(
        different.is_empty(),
        "{}:\n{}",
        different.len(),
        different.join("\n")
    );
}
