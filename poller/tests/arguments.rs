//! The program as a shell sees it when it is called wrongly: everything wrong at once, exit code 64,
//! nothing started; and its offline verb.

use std::process::{Command, Output};

fn poller(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_poller"))
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
    let output = poller(
        &["--grpc-listen=nowhere", "--scan-timeout=soon"],
        &[("POLLER_HOST_CONCURRENCY", "many"), ("LOG_LEVEL", "loud")],
    );
    assert_eq!(output.status.code(), Some(64));
    let told = told(&output);
    for named in [
        "--grpc-listen (environment: POLLER_GRPC_LISTEN)",
        "--scan-timeout (environment: POLLER_SCAN_TIMEOUT)",
        "--host-concurrency (environment: POLLER_HOST_CONCURRENCY)",
        "--executor-address (environment: POLLER_EXECUTOR_ADDRESS): is required",
        "--log-level (environment: LOG_LEVEL)",
    ] {
        assert!(told.contains(named), "{named} in {told}");
    }
    assert!(output.stdout.is_empty(), "something was started");
}

/// A proxy that is not understood would be one that is passed by.
#[test]
fn a_proxy_that_cannot_be_used_stops_the_program_and_is_not_repeated() {
    for (variable, named) in [
        ("HTTPS_PROXY", "HTTPS_PROXY"),
        ("https_proxy", "HTTPS_PROXY"),
        ("ALL_PROXY", "ALL_PROXY"),
    ] {
        let output = poller(
            &["--executor-address=http://executor:9090"],
            &[(variable, "socks5://user:hunter2@proxy:1080")],
        );
        assert_eq!(output.status.code(), Some(64));
        let told = told(&output);
        assert!(told.contains(named), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn an_unknown_flag_is_bad_usage_too() {
    assert_eq!(poller(&["--frobnicate"], &[]).status.code(), Some(64));
}

#[test]
fn the_choice_of_a_tag_is_explained_offline() {
    let folder = tempfile::tempdir().expect("a folder");
    let tags = folder.path().join("tags");
    std::fs::write(&tags, "v1.9.0\nv1.10.0\nv2.0.0-rc.1\nlatest\n").expect("a file");
    let file = tags.to_string_lossy().into_owned();
    let output = poller(
        &["explain", "--tags-file", &file, "--constraint", "^1"],
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let explained = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(explained.contains("v1.10.0"), "{explained}");
}
