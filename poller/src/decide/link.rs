//! Where does a list continue? The `Link` header is followed as it stands, but never away from the
//! listing it belongs to: same scheme, host, port and path, or it is refused.

use url::Url;

/// A cursor is some hundred bytes; each target is kept for as long as its list is polled.
const LONGEST: usize = 4096;

/// A continuation that is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedLink {
    /// The header does not parse.
    #[error("the Link header is malformed")]
    Malformed,
    /// It is longer than any cursor.
    #[error("the Link header is longer than {LONGEST} bytes")]
    TooLong,
    /// It leads to another server, another repository, or carries a user.
    #[error("the Link header leads away from the tag list")]
    Elsewhere,
    /// It leads to a page that was read already.
    #[error("the Link header leads in a circle")]
    Circle,
}

/// The next page, if the answer to `current` names one. `read` are the pages so far, `current`
/// among them.
pub fn next_page<'a>(
    current: &Url,
    headers: impl IntoIterator<Item = &'a str>,
    read: impl IntoIterator<Item = &'a Url>,
) -> Result<Option<Url>, RefusedLink> {
    let mut next = None;
    for header in headers {
        if let Some(target) = find_next(header)? {
            next = Some(target);
            break;
        }
    }
    let Some(target) = next else {
        return Ok(None);
    };
    if target.len() > LONGEST {
        return Err(RefusedLink::TooLong);
    }
    let mut url = current.join(target).map_err(|_| RefusedLink::Malformed)?;
    url.set_fragment(None);
    let home = url.origin() == current.origin()
        && url.path() == current.path()
        && url.username().is_empty()
        && url.password().is_none();
    if !home {
        return Err(RefusedLink::Elsewhere);
    }
    // What is not allowed in a URL grows threefold when it is escaped.
    if url.as_str().len() > LONGEST {
        return Err(RefusedLink::TooLong);
    }
    if read.into_iter().any(|page| *page == url) {
        return Err(RefusedLink::Circle);
    }
    Ok(Some(url))
}

/// The target of the first link whose relation is `next`.
fn find_next(header: &str) -> Result<Option<&str>, RefusedLink> {
    let mut rest = header.trim();
    while !rest.is_empty() {
        let (target, after) = match rest.strip_prefix('<') {
            Some(inner) => inner.split_once('>').ok_or(RefusedLink::Malformed)?,
            // RFC 8288 wants the brackets, but some registries leave them out. Then the target
            // ends where its parameters begin, so it must have some.
            None => split_bare(rest).ok_or(RefusedLink::Malformed)?,
        };
        let end = end_of_parameters(after);
        let (parameters, after) = after.split_at(end);
        if parameters.split(';').any(is_next) {
            return Ok(Some(target));
        }
        rest = after.trim_start_matches([',', ' ', '\t']);
    }
    Ok(None)
}

fn split_bare(text: &str) -> Option<(&str, &str)> {
    let (target, parameters) = text.split_at(text.find(';')?);
    let target = target.trim_end();
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"');
    (!target.is_empty() && target.chars().all(allowed)).then_some((target, parameters))
}

/// Where the comma is that parts this link from the next one; a comma in quotes does not.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    text.find(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .unwrap_or(text.len())
}

fn is_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("rel")
            && value
                .trim()
                .trim_matches('"')
                .split_ascii_whitespace()
                .any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: &str = "https://registry.example.com/v2/org/app/tags/list";

    fn follow(header: &str) -> Result<Option<String>, RefusedLink> {
        let current: Url = PAGE.parse().unwrap();
        let read = [current.clone()];
        next_page(&current, [header], &read).map(|url| url.map(String::from))
    }

    #[rstest::rstest]
    #[case(
        "</v2/org/app/tags/list?last=v1&n=100>; rel=\"next\"",
        "?last=v1&n=100"
    )]
    #[case(
        "<https://registry.example.com/v2/org/app/tags/list?n=1>; rel=next",
        "?n=1"
    )]
    #[case(
        "<https://registry.example.com:443/v2/org/app/tags/list?n=1>; rel=next",
        "?n=1"
    )]
    #[case("<?next_page=a,b%3D>; rel=\"next\"", "?next_page=a,b%3D")]
    #[case(
        "</a>; rel=\"prev\"; title=\"a, b\", <?n=2>; REL=\"last next\"",
        "?n=2"
    )]
    #[case("<?n=2#part>;rel=next", "?n=2")]
    #[case("/v2/org/app/tags/list?last=v1&n=100; rel=\"next\"", "?last=v1&n=100")]
    #[case(
        "https://registry.example.com/v2/org/app/tags/list?last=a,b ;rel=next",
        "?last=a,b"
    )]
    fn a_continuation_is_followed_as_it_stands(#[case] header: &str, #[case] query: &str) {
        assert_eq!(follow(header), Ok(Some(format!("{PAGE}{query}"))));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("</v2/org/app/tags/list?n=1>; rel=\"prev\"")]
    #[case("</v2/org/app/tags/list?n=1>")]
    fn without_a_next_link_the_list_ends(#[case] header: &str) {
        assert_eq!(follow(header), Ok(None));
    }

    #[rstest::rstest]
    #[case("<https://evil.example.com/v2/org/app/tags/list?n=1>; rel=next")]
    #[case("<http://registry.example.com/v2/org/app/tags/list?n=1>; rel=next")]
    #[case("<https://registry.example.com:8443/v2/org/app/tags/list?n=1>; rel=next")]
    #[case("<https://u:p@registry.example.com/v2/org/app/tags/list?n=1>; rel=next")]
    #[case("<//evil.example.com/v2/org/app/tags/list?n=1>; rel=next")]
    #[case("</v2/other/tags/list?n=1>; rel=next")]
    #[case("<../../../other/tags/list>; rel=next")]
    #[case("<file:///etc/passwd>; rel=next")]
    #[case("https://evil.example.com/v2/org/app/tags/list?n=1; rel=next")]
    #[case("//evil.example.com/v2/org/app/tags/list; rel=next")]
    #[case("<\\\\evil.example.com/v2/org/app/tags/list>; rel=next")]
    #[case("<javascript:alert(1)>; rel=next")]
    #[case("<https://registry.example.com@evil.example.com/v2/org/app/tags/list>; rel=next")]
    fn a_continuation_elsewhere_is_refused(#[case] header: &str) {
        assert_eq!(follow(header), Err(RefusedLink::Elsewhere));
    }

    #[rstest::rstest]
    #[case("/v2/org/app/tags/list?n=1")]
    #[case("; rel=next")]
    #[case("a b; rel=next")]
    #[case("?n=1>; rel=next")]
    #[case("<https://[bad/>; rel=next")]
    #[case("<unclosed; rel=next")]
    fn a_broken_header_is_refused(#[case] header: &str) {
        assert_eq!(follow(header), Err(RefusedLink::Malformed));
    }

    #[rstest::rstest]
    #[case("a", 4000, true)]
    #[case("a", 4096, false)]
    #[case("\"", 2000, false)]
    fn a_target_that_is_too_long_to_keep_is_refused(
        #[case] text: &str,
        #[case] times: usize,
        #[case] followed: bool,
    ) {
        let target = follow(&format!("<?n={}>; rel=next", text.repeat(times)));
        assert_eq!(target.is_ok(), followed);
        assert!(followed || target == Err(RefusedLink::TooLong));
    }

    #[test]
    fn a_page_is_never_read_twice() {
        assert_eq!(follow("<>; rel=next"), Err(RefusedLink::Circle));
        let pages = ["", "?n=1", "?n=2"].map(|query| format!("{PAGE}{query}").parse().unwrap());
        let back = next_page(&pages[2], ["<?n=1>; rel=next"], &pages);
        assert_eq!(back, Err(RefusedLink::Circle));
    }

    proptest! {
        #[test]
        fn no_header_leads_away(header in "[<>;,\"=a-z/:.@?#%\\\\ ]{0,40}") {
            if let Ok(Some(url)) = follow(&header) {
                prop_assert!(url.starts_with(PAGE), "{}", url);
            }
        }
    }
}
