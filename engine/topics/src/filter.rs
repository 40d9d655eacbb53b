//! The rule by which a filter matches a name.

/// One level, whatever it says.
pub(crate) const ONE: &str = "*";

/// As the last level: the rest, be it nothing.
pub(crate) const REST: &str = "#";

/// Whether a subscription to `filter` receives what is published to `name`.
///
/// Both are split into levels by `/`; a name of no characters is one empty level. In the filter, a level
/// that is exactly `*` stands for one level, and a last level that is exactly `#` for all levels from there on,
/// of which there may be none: `a/#` matches `a`, `a/` and `a/b/c`. Everything else stands for itself:
/// `#general`, `a*`, the first level of `#/a`; and so does all of the name.
///
/// ```
/// use corecast_topics::matches;
/// assert!(matches("room/*/news", "room/7/news"));
/// assert!(!matches("room/*", "room/7/news"));
/// assert!(matches("room/#", "room/7/news") && matches("room/#", "room"));
/// assert!(!matches("#general", "general"));
/// ```
#[must_use]
pub fn matches(filter: &str, name: &str) -> bool {
    let (path, rest) = split_filter(filter);
    let Some(path) = path else { return true };
    match strip_common(path, name, level_matches) {
        (None, None) => true,
        (None, Some(_)) => rest,
        _ => false,
    }
}

/// Whether a filter can match more than the name of its own spelling.
#[must_use]
pub fn is_pattern(filter: &str) -> bool {
    split_filter(filter).1 || filter.split('/').any(|level| level == ONE)
}

/// A filter without its last level if that is `#`, and whether it was. What is `None` has no levels at all.
pub(crate) fn split_filter(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix(REST) {
        Some("") => (None, true),
        Some(path) if path.ends_with('/') => (Some(&path[..path.len() - 1]), true),
        _ => (Some(filter), false),
    }
}

/// The first level, and those behind it.
pub(crate) fn split_level(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (path, None),
    }
}

pub(crate) fn level_matches(filter: &str, name: &str) -> bool {
    filter == ONE || filter == name
}

/// What is left of two paths without the levels that they begin with in common.
pub(crate) fn strip_common<'a, 'b>(
    one: &'a str,
    other: &'b str,
    same: impl Fn(&str, &str) -> bool,
) -> (Option<&'a str>, Option<&'b str>) {
    let (mut one, mut other) = (Some(one), Some(other));
    while let (Some(a), Some(b)) = (one, other) {
        let ((a, a_rest), (b, b_rest)) = (split_level(a), split_level(b));
        if !same(a, b) {
            break;
        }
        (one, other) = (a_rest, b_rest);
    }
    (one, other)
}
