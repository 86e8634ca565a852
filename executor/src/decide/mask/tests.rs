//! A secret is found in whatever it was printed as.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::Value;

use super::*;

fn hiding(secrets: &[&str]) -> Masker {
    let mut masks = Masks::default();
    for secret in secrets {
        masks.add(secret);
    }
    masks.masker()
}

fn masked(secret: &str, text: &str) -> String {
    hiding(&[secret]).mask(text).into_owned()
}

fn in_json(text: &str) -> String {
    Value::from(text).to_string()
}

/// As `json.dumps` of Python does by default, and Go does with `<`, `>` and `&`.
fn in_ascii_json(text: &str) -> String {
    let mut escaped = String::from("\"");
    for unit in text.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some(plain @ ('a'..='z' | 'A'..='Z' | '0'..='9' | ' ')) => escaped.push(plain),
            Some('\n') => escaped.push_str("\\n"),
            _ => write!(escaped, "\\u{unit:04x}").unwrap(),
        }
    }
    escaped + "\""
}

fn percent_encoded(text: &str, blank: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push_str(blank),
            _ => write!(encoded, "%{byte:02X}").unwrap(),
        }
    }
    encoded
}

fn in_hexadecimal(text: &str, between: &str) -> String {
    let digits: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    digits.join(between)
}

fn wrapped(text: &str, width: usize) -> String {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(width)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join("\n")
}

/// What comes next may look encoded together with a `%` that stands for itself.
fn ends_in_percent(text: &str) -> bool {
    let before_digit = text.strip_suffix(|c: char| c.is_ascii_hexdigit());
    text.ends_with('%') || before_digit.is_some_and(|text| text.ends_with('%'))
}

#[test]
fn what_is_not_secret_stays() {
    let text = "an ordinary line: key=value, 100% \\o/ aGVsbG8gd29ybGQ= 68656c6c6f";
    assert_eq!(masked("hunter22", text), text);
    assert_eq!(Masker::default().mask(text), text);
}

#[rstest]
#[case::plain("pass=hunter22;", "pass=***;")]
#[case::base64("aHVudGVyMjI= in base64", "***= in base64")]
#[case::base64_of_more("cm9ib3Q6aHVudGVyMjI=", "cm9ib3Q6***=")]
#[case::hexadecimal("0x68756e7465723232!", "0x***!")]
#[case::upper_case("68756E7465723232", "***")]
#[case::dump("68 75 6e 74 65 72 32 32", "***")]
#[case::escaped(r"\x68\x75nter22", "***")]
#[case::percent("%68unter%32%32", "***")]
#[case::twice("hunter22hunter22", "***")]
fn each_form_is_replaced_as_a_whole(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(masked("hunter22", text), expected);
}

#[test]
fn a_secret_inside_of_another_leaves_nothing_of_it() {
    let masker = hiding(&["pass", "password", "ssword-and-more"]);
    assert_eq!(masker.mask("a password."), "a ***.");
    assert_eq!(masker.mask("a password-and-more."), "a ***.");
}

#[test]
fn of_several_lines_each_is_masked_but_not_what_is_on_every_page() {
    let secret = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\n}\nqwertzuiop\n-----END KEY-----\n";
    let text = "first\nqwertzuiop\n}\nMIIEpAIBAAKCAQEA";
    assert_eq!(masked(secret, text), "first\n***\n}\n***");
    assert_eq!(masked(secret, secret.trim()), "***");
}

#[test]
fn words_that_would_hide_the_log_are_left() {
    assert_eq!(masked("abc", "abcdef"), "abcdef");
    assert_eq!(masked(" x ", "x"), "x");
}

#[test]
fn secrets_that_are_made_to_keep_us_busy_hide_everything_instead() {
    let secrets: Vec<String> = (4..500).map(|length| "a".repeat(length)).collect();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let masked = hiding(&secrets).mask(&"a".repeat(1 << 18)).into_owned();
    assert_eq!(masked, WITHHELD);
}

#[test]
fn a_secret_is_found_wherever_windows_end() {
    let encoded = in_hexadecimal("hunter22", ":");
    for distance in (0..encoded.len() + 2).step_by(7) {
        for end in [WINDOW, WINDOW - LONGEST] {
            let text = format!(
                "{}{encoded}{}",
                ".".repeat(end - distance),
                ".".repeat(WINDOW)
            );
            assert!(masked("hunter22", &text).contains(".***."), "{distance}");
        }
    }
}

/// One look-up for each of a thousand secrets in each view of a mebibyte would not end.
#[test]
fn a_long_log_is_searched_for_many_secrets_at_once() {
    let secrets: Vec<String> = (0..1000)
        .map(|number| format!("{:032x}", 0x9e37_79b9_7f4a_7c15_u128 * (number + 1)))
        .collect();
    let mut masks = Masks::default();
    for secret in &secrets {
        masks.add(secret);
    }
    let line = format!("{{\"a\": \"100%\\n\"}} + {}\n", "x".repeat(90));
    let mut log = line.repeat((1 << 20) / line.len());
    log.push_str(&secrets[500]);
    let masked = masks.masker().mask(&log).into_owned();
    assert!(masked.ends_with("\n***"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_secret_is_never_found_in_any_encoding(
        secret in r"[ -~äß€🔑\n\t]{4,40}".prop_filter("long enough", |secret| secret.trim().chars().count() >= 4),
        before in r"[ -~\n]{0,40}",
        after in r"[ -~\n]{0,40}",
    ) {
        let secret = secret.trim();
        let surrounded = format!("{before}{secret}{after}");
        let forms = [
            secret.to_owned(),
            in_json(secret),
            in_json(&in_json(secret)),
            in_ascii_json(secret),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
            in_hexadecimal(secret, ""),
            in_hexadecimal(secret, "").to_uppercase(),
            in_hexadecimal(secret, ":"),
        ];
        let percent_encoded = [
            percent_encoded(secret, "%20"),
            percent_encoded(secret, "+"),
            percent_encoded(secret, "%20").to_lowercase(),
            percent_encoded(&STANDARD.encode(secret), "+"),
        ];
        let percent_encoded = percent_encoded.into_iter().filter(|_| !ends_in_percent(&before));
        let masker = hiding(&[secret]);
        for form in forms.into_iter().chain(percent_encoded) {
            // Lower-case percent encoding changes letters too; then it is no longer the secret.
            let same = form.chars().any(char::is_uppercase) || !secret.chars().any(char::is_uppercase);
            let text = format!("{before}{form}{after}");
            let shown = masker.mask(&text).into_owned();
            let inner = form.trim_matches(['"', '\\', '=']);
            prop_assert!(!same || !shown.contains(inner), "{form:?} is in {shown:?}");
        }
        // Inside of a longer text that was encoded as a whole, at any offset, wrapped or not.
        for encoded in [STANDARD.encode(&surrounded), URL_SAFE_NO_PAD.encode(&surrounded)] {
            for text in [encoded.clone(), wrapped(&encoded, 76), in_json(&wrapped(&encoded, 76))] {
                let shown = masker.mask(&text).into_owned();
                prop_assert!(shown.contains(MASK), "{text:?} is shown");
                let rest: String = shown.replace("\\n", "\n").split_whitespace().collect();
                // Digits that hold nothing but bits of the secret.
                let digits = (before.len() * 8).div_ceil(6)..(before.len() + secret.len()) * 8 / 6;
                prop_assert!(!rest.contains(&encoded[digits]), "{text:?} is shown as {shown:?}");
            }
        }
    }

    #[test]
    fn of_a_long_secret_no_part_is_seen(
        seed in "[a-zA-Z0-9/+]{64}",
        from in 0_usize..3000,
    ) {
        let secret: String = (0..80).fold(String::new(), |secret, number| secret + &format!("{number:02}{seed}"));
        let masker = hiding(&[&secret]);
        // Cut at its beginning, as a log may be: what is left of the first piece may be seen.
        let shown = masker.mask(&secret[from..]).into_owned();
        prop_assert!(shown.len() <= PIECE + MASK.len(), "{} bytes are shown", shown.len());
        prop_assert!(shown.ends_with(MASK));
    }

    #[test]
    fn any_text_is_masked_without_harm(text in any::<String>(), secret in any::<String>()) {
        let shown = masked(&secret, &text);
        let secret = secret.trim();
        prop_assert!(secret.chars().count() < 4 || !shown.contains(secret));
    }
}

#[test]
fn more_secrets_than_memory_allows_for_show_nothing() {
    let lines: Vec<String> = (0..20_000)
        .map(|line| format!("a line of a secret {line:06}"))
        .collect();
    let masker = hiding(&[&lines.join("\n")]);
    assert!(masker.is_closed());
    assert_eq!(masker.mask("anything"), WITHHELD);
    let masker = hiding(&[&lines[..4000].join("\n")]);
    assert!(!masker.is_closed());
    assert_eq!(masker.mask(&format!("x {} y", lines[3999])), "x *** y");
}
