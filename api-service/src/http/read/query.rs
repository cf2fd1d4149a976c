//! A query's parameters (`application/x-www-form-urlencoded`).

use std::{borrow::Cow, collections::BTreeMap};

use percent_encoding::percent_decode_str;

use super::{Mistake, MistakeCode, Mistakes, Place};

/// The parameters, each with all its values; and what is wrong with them as such.
pub(super) fn parse(query: &str) -> (BTreeMap<Cow<'_, str>, Vec<Cow<'_, str>>>, Mistakes) {
    let (mut parameters, mut mistakes) = (BTreeMap::<_, Vec<_>>::new(), Mistakes::default());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name).unwrap_or(Cow::Borrowed(name));
        match decode(value) {
            Some(value) => parameters.entry(name).or_default().push(value),
            None => mistakes.add(Place::Query, name, Mistake::new(MistakeCode::WrongFormat, "is not UTF-8")),
        }
    }
    (parameters, mistakes)
}

/// Undoes percent-encoding; none where the bytes are not UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['+', '%']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let (parameters, mistakes) = parse("a=1&b=x+y&a=2&c%5f=%c3%bc&&d");
        let all: Vec<(&str, Vec<&str>)> = parameters
            .iter()
            .map(|(name, values)| (name.as_ref(), values.iter().map(AsRef::as_ref).collect()))
            .collect();
        assert_eq!(all, [("a", vec!["1", "2"]), ("b", vec!["x y"]), ("c_", vec!["ü"]), ("d", vec![""])]);
        assert!(mistakes.is_empty());
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_named() {
        let (_, mistakes) = parse("a=%ff&b=1");
        let (errors, ..) = mistakes.into_parts();
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, "a"));
    }
}
