//! Hostile logs among them: endless lines, terminal sequences, secrets at every cut.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use super::*;
use crate::decide::mask::Masks;

fn read(log: &[u8]) -> Read {
    Read {
        end: log.to_vec(),
        before: Before::Nothing,
    }
}

fn hiding(secrets: &[&str]) -> Masker {
    let mut masks = Masks::default();
    for secret in secrets {
        masks.add(secret);
    }
    masks.masker()
}

fn tail(log: &[u8]) -> String {
    keep(&read(log), &Masker::default()).tail
}

#[test]
fn a_short_log_is_in_the_status_and_nowhere_else() {
    let kept = keep(&read(b"one\ntwo\n"), &Masker::default());
    assert_eq!(kept.tail, "one\ntwo");
    assert_eq!(kept.whole, None);
}

#[test]
fn of_a_longer_log_the_status_has_the_last_whole_lines() {
    let log = "0123456789 abcdef\n".repeat(1000);
    let kept = keep(&read(log.as_bytes()), &Masker::default());
    assert!(kept.tail.len() <= STATUS_LIMIT && kept.tail.len() > STATUS_LIMIT - 20);
    assert!(kept.tail.starts_with("0123"));
    assert_eq!(kept.whole.as_deref(), Some(log.trim_end()));
}

#[test]
fn of_a_log_that_no_object_holds_the_end_is_kept_and_the_rest_counted() {
    let line = "0123456789 abcdef\n";
    let log = Read {
        end: line.repeat(READ / line.len()).into_bytes(),
        before: Before::Bytes(1 << 30),
    };
    let whole = keep(&log, &Masker::default()).whole.unwrap();
    assert!(whole.len() <= WHOLE_LIMIT && whole.len() > WHOLE_LIMIT - 200);
    let (header, end) = whole.split_once('\n').unwrap();
    let missing: u64 = header
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap();
    assert_eq!(missing + end.len() as u64, (1 << 30) + log.end.len() as u64);
    assert!(end.starts_with("0123"));
    assert!(end.ends_with("abcdef"));
}

#[test]
fn one_endless_line_is_cut_between_characters() {
    let log = Read {
        end: "ü".repeat(READ / 2).into_bytes(),
        before: Before::MoreThan(64 << 20),
    };
    let kept = keep(&log, &Masker::default());
    assert_eq!(kept.tail, "ü".repeat(STATUS_LIMIT / 2));
    let whole = kept.whole.unwrap();
    assert!(whole.starts_with("[werf-operator: this is the end of the log, more than "));
    assert!(whole.len() <= WHOLE_LIMIT);
}

#[test]
fn colours_and_control_characters_are_dropped_and_invalid_utf8_does_no_harm() {
    let log = b"\x1b[31mred\x1b[0m\x07 and\ttab \xe2\x80\xae \r\n";
    assert_eq!(tail(log), "red and\ttab");
    assert_eq!(tail(b"a\xff\xfeb"), "a\u{fffd}\u{fffd}b");
}

#[test]
fn a_secret_with_control_characters_or_colours_inside_is_masked_too() {
    let masker = hiding(&["ab\u{7}cdefgh", "password"]);
    let log = "x ab\u{7}cdefgh y pass\u{1b}[1mword z";
    let kept = keep(&read(log.as_bytes()), &masker);
    assert_eq!(kept.tail, "x *** y *** z");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever the reading or the status cuts, no part of a secret is left that could not as well
    /// be anything else.
    #[test]
    fn no_cut_leaves_half_a_secret(
        secret in "[a-zA-Z0-9]{24}",
        read_from in 0_usize..24,
        encoded in any::<bool>(),
        distance in STATUS_LIMIT - 40..STATUS_LIMIT + 40,
    ) {
        let shown = if encoded { BASE64.encode(&secret) } else { secret.clone() };
        let log = format!("{shown}{}{shown}{}", ".".repeat(2 * mask::LONGEST), "-".repeat(distance));
        let log = Read { end: log.as_bytes()[read_from..].to_vec(), before: Before::Bytes(1) };
        let kept = keep(&log, &hiding(&[&secret]));
        let whole = kept.whole.unwrap();
        for part in shown.as_bytes().windows(6) {
            let part = std::str::from_utf8(part).unwrap();
            prop_assert!(!kept.tail.contains(part), "{part} of {shown}");
            prop_assert!(!whole.contains(part), "{part} of {shown}");
        }
    }
}
