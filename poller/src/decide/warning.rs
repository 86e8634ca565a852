//! Does a registry warn? The distribution specification ("Warnings") lets it send
//! `Warning: 299 - "text"` for people to read; the text is theirs, so it is cleaned first.

/// Longest warning that is shown; the specification allows 256 characters.
const LONGEST: usize = 256;

/// The first warning among the values of the header, fit to be shown.
pub fn first_warning<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    values.into_iter().find_map(read)
}

/// One value. Anything but `299 - "text"` (RFC 7234, §5.5) is not for us.
fn read(value: &[u8]) -> Option<String> {
    let text = value.trim_ascii().strip_prefix(b"299 - \"")?;
    let mut shown = String::new();
    let mut escaped = false;
    for &byte in text {
        match byte {
            b'\\' if !escaped => {
                escaped = true;
                continue;
            }
            b'"' if !escaped => {
                let shown = shown.trim();
                return (!shown.is_empty()).then(|| shown.to_owned());
            }
            b' '..=b'~' if shown.len() < LONGEST => shown.push(char::from(byte)),
            _ => {}
        }
        escaped = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn warning(value: &str) -> Option<String> {
        first_warning([value.as_bytes()])
    }

    #[rstest::rstest]
    #[case("299 - \"deprecated\"", "deprecated")]
    #[case("299 - \"use \\\"new\\\" \\\\ instead\"", "use \"new\" \\ instead")]
    #[case("299 - \"a\u{1b}[31mb\u{202e}c\"", "a[31mbc")]
    #[case("299 - \"one\", 299 - \"two\"", "one")]
    fn a_warning_is_shown_in_printable_characters(#[case] value: &str, #[case] shown: &str) {
        assert_eq!(warning(value).as_deref(), Some(shown));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("199 - \"other\"")]
    #[case("299 registry \"agent\"")]
    #[case("299 - text")]
    #[case("299 - \"unclosed")]
    #[case("299 - \"\"")]
    #[case("299 - \"\u{1}\"")]
    fn anything_else_is_no_warning(#[case] value: &str) {
        assert_eq!(warning(value), None);
    }

    #[test]
    fn the_first_one_counts() {
        let values = ["199 - \"a\"", "299 - \"b\"", "299 - \"c\""].map(str::as_bytes);
        assert_eq!(first_warning(values).as_deref(), Some("b"));
    }

    proptest! {
        #[test]
        fn a_warning_is_short_and_printable(text in proptest::collection::vec(any::<u8>(), 0..600)) {
            let value = [b"299 - \"", &text[..], b"\""].concat();
            if let Some(shown) = first_warning([&value[..]]) {
                prop_assert!(shown.len() <= LONGEST);
                prop_assert!(shown.bytes().all(|b| matches!(b, b' '..=b'~')));
            }
        }
    }
}
