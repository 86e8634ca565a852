//! The program as a shell sees it when it is called wrongly: everything wrong at once, exit code 64,
//! nothing started.

use std::process::{Command, Output};

fn executor(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_executor"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the program starts")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_problem_of_flags_and_environment_is_listed_at_once() {
    let output = executor(
        &["--grpc-listen=nowhere", "--log-format=xml"],
        &[("EXECUTOR_ADMIN_LISTEN", "0.0.0.0:99999")],
    );
    assert_eq!(output.status.code(), Some(64));
    let told = told(&output);
    for named in [
        "--grpc-listen (environment: EXECUTOR_GRPC_LISTEN)",
        "--admin-listen (environment: EXECUTOR_ADMIN_LISTEN)",
        "--namespace (environment: EXECUTOR_NAMESPACE): is required",
        "--log-format (environment: LOG_FORMAT)",
    ] {
        assert!(told.contains(named), "{named} in {told}");
    }
    assert!(output.stdout.is_empty(), "something was started");
}

#[test]
fn an_unknown_flag_is_bad_usage_too() {
    let output = executor(&["--frobnicate"], &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(told(&output).contains("--frobnicate"));
}

#[test]
fn without_a_cluster_the_start_fails_and_says_so() {
    let ephemeral = ["--grpc-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"];
    let output = executor(
        &ephemeral,
        &[
            ("EXECUTOR_NAMESPACE", "x"),
            ("KUBECONFIG", "/does/not/exist"),
            ("HOME", "/nowhere"),
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stdout).into_owned() + &told(&output);
    assert!(log.contains("cannot find the cluster"), "{log}");
}
