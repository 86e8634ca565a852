//! Which value does an unquoted YAML scalar stand for? Answered as Helm's `--values` does, which
//! reads YAML with go-yaml v2: people move their values files into config maps, and `yes`, `0644`
//! or `1_000` must not change their meaning on the way. Numbers that Helm would round are refused
//! instead.

use serde_json::{Number, Value};

use super::Problem;

/// From here on, two integers may be the same float.
const EXACT_IN_FLOAT: f64 = 9_007_199_254_740_992.0;

/// The value of the plain, untagged scalar `text`.
pub(super) fn plain(text: &str) -> Result<Value, Problem> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return Err(Problem::NotFinite),
        _ => {}
    }
    let number = match text.as_bytes()[0] {
        b'.' => float(text)?,
        b'0'..=b'9' | b'+' | b'-' => {
            let digits = text.replace('_', "");
            match integer(&digits) {
                Some(number) => Some(number),
                None => float(&digits)?,
            }
        }
        _ => None,
    };
    Ok(number.map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

/// The value of `text` under a tag of YAML's core schema.
pub(super) fn tagged(text: &str, tag: &str) -> Result<Value, Problem> {
    if tag == "str" {
        return Ok(Value::String(text.to_owned()));
    }
    match (tag, plain(text)?) {
        ("null", Value::Null) => Ok(Value::Null),
        ("bool", Value::Bool(value)) => Ok(Value::Bool(value)),
        ("int", Value::Number(number)) if !number.is_f64() => Ok(Value::Number(number)),
        ("float", Value::Number(number)) => number
            .as_f64()
            .filter(|float| number.is_f64() || float.abs() < EXACT_IN_FLOAT)
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or(Problem::NumberTooLarge),
        _ => Err(Problem::TagMismatch),
    }
}

/// Go's `ParseInt(text, 0, 64)`, and `ParseUint` for what only that can hold.
fn integer(text: &str) -> Option<Number> {
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'-' => (Some('-'), &text[1..]),
        b'+' => (Some('+'), &text[1..]),
        _ => (None, text),
    };
    let (radix, digits) = radix(unsigned);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match sign {
        Some('-') => 0_i64.checked_sub_unsigned(magnitude).map(Number::from),
        Some(_) => i64::try_from(magnitude).ok().map(Number::from),
        None => Some(Number::from(magnitude)),
    }
}

fn radix(digits: &str) -> (u32, &str) {
    let Some(rest) = digits.strip_prefix('0') else {
        return (10, digits);
    };
    match rest.as_bytes() {
        [] => (10, digits),
        [b'x' | b'X', _, ..] => (16, &rest[1..]),
        [b'o' | b'O', _, ..] => (8, &rest[1..]),
        [b'b' | b'B', _, ..] => (2, &rest[1..]),
        _ => (8, rest),
    }
}

/// A float, `None` for text. Digits alone come here when no integer type holds them, or when they
/// look octal and are not (`08`).
fn float(text: &str) -> Result<Option<Number>, Problem> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !unsigned.is_empty() && digits(unsigned)
    });
    if !(mantissa_fits && exponent_fits) {
        return Ok(None);
    }
    let Ok(value) = text.parse::<f64>() else {
        return Ok(None);
    };
    if digits(unsigned) && value.abs() >= EXACT_IN_FLOAT {
        return Err(Problem::NumberTooLarge);
    }
    Ok(Number::from_f64(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[rstest::rstest]
    #[case::empty("", json!(null))]
    #[case::tilde("~", json!(null))]
    #[case::null("Null", json!(null))]
    #[case::odd_null("nULL", json!("nULL"))]
    #[case::yes("yes", json!(true))]
    #[case::on("On", json!(true))]
    #[case::single_letter("y", json!(true))]
    #[case::off("OFF", json!(false))]
    #[case::odd_bool("tRue", json!("tRue"))]
    #[case::zero("0", json!(0))]
    #[case::minus_zero("-0", json!(0))]
    #[case::plus("+5", json!(5))]
    #[case::underscores("1_000", json!(1000))]
    #[case::octal("0644", json!(420))]
    #[case::octal_1_2("0o17", json!(15))]
    #[case::not_octal("08", json!(8.0))]
    #[case::hex("-0xfF", json!(-255))]
    #[case::binary("0b11", json!(3))]
    #[case::hex_prefix_only("0x", json!("0x"))]
    #[case::hex_too_long("0x1ffffffffffffffff", json!("0x1ffffffffffffffff"))]
    #[case::past_double("9007199254740993", json!(9_007_199_254_740_993_u64))]
    #[case::smallest("-9223372036854775808", json!(i64::MIN))]
    #[case::largest("18446744073709551615", json!(u64::MAX))]
    #[case::float("1.0", json!(1.0))]
    #[case::version("1.10.0", json!("1.10.0"))]
    #[case::point_first(".5", json!(0.5))]
    #[case::point_last("5.", json!(5.0))]
    #[case::exponent("1e3", json!(1000.0))]
    #[case::signed_exponent("-1.5E-3", json!(-0.0015))]
    #[case::no_exponent("1e", json!("1e"))]
    #[case::beyond_float("1e999", json!("1e999"))]
    #[case::point(".", json!("."))]
    #[case::minus("-", json!("-"))]
    #[case::minus_minus("--5", json!("--5"))]
    #[case::date("2001-12-14", json!("2001-12-14"))]
    #[case::base_60("12:30", json!("12:30"))]
    #[case::cpu("500m", json!("500m"))]
    #[case::leading_underscore("_1", json!("_1"))]
    #[case::merge("<<", json!("<<"))]
    fn a_plain_scalar_means_what_it_means_to_helm(#[case] text: &str, #[case] value: Value) {
        assert_eq!(plain(text), Ok(value));
    }

    #[rstest::rstest]
    #[case::above_u64("18446744073709551616", Problem::NumberTooLarge)]
    #[case::below_i64("-9223372036854775809", Problem::NumberTooLarge)]
    #[case::octal_like("09999999999999999999", Problem::NumberTooLarge)]
    #[case::nan(".NaN", Problem::NotFinite)]
    #[case::infinity("-.inf", Problem::NotFinite)]
    fn a_number_that_would_be_rounded_or_lost_is_refused(
        #[case] text: &str,
        #[case] problem: Problem,
    ) {
        assert_eq!(plain(text), Err(problem));
    }

    #[rstest::rstest]
    #[case::str("str", "yes", Ok(json!("yes")))]
    #[case::int("int", "0x10", Ok(json!(16)))]
    #[case::float("float", "5", Ok(json!(5.0)))]
    #[case::float_too_large("float", "9007199254740993", Err(Problem::NumberTooLarge))]
    #[case::bool("bool", "on", Ok(json!(true)))]
    #[case::null("null", "", Ok(json!(null)))]
    #[case::not_an_int("int", "abc", Err(Problem::TagMismatch))]
    #[case::map("map", "abc", Err(Problem::TagMismatch))]
    fn a_tag_decides_the_type_or_the_document_is_refused(
        #[case] tag: &str,
        #[case] text: &str,
        #[case] value: Result<Value, Problem>,
    ) {
        assert_eq!(tagged(text, tag), value);
    }
}
