//! Reading a request's query parameters one by one, so that whatever is wrong is named.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use super::{FieldError, Problem};

/// The parameters of a query. Each is taken once; what is left over is told by [`Query::finish`].
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

fn wrong(name: &str, message: impl Into<String>) -> Problem {
    Problem::bad_parameter(FieldError::new(name, message))
}

impl Query {
    /// Makes sure that there are none, on a route that has none: a misspelt one must not be passed over.
    ///
    /// # Errors
    /// 400 that names a parameter.
    pub fn expect_none(query: &str) -> Result<(), Problem> {
        Self::parse(query)?.finish()
    }

    /// Splits and decodes a query (`application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// 400 where a value is not UTF-8.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).unwrap_or_else(|| name.to_owned());
            let value = decode(value).ok_or_else(|| wrong(&name, "is not UTF-8"))?;
            Ok((name, value))
        });
        decoded.collect::<Result<_, _>>().map(Self)
    }

    /// All values of a parameter.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(given, _)| given == name).map(|(_, value)| value).collect()
    }

    /// The value of a parameter.
    ///
    /// # Errors
    /// 400 where it is given more than once.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(wrong(name, "is given more than once"));
        }
        Ok(values.pop())
    }

    /// The value of a parameter, of this type.
    ///
    /// # Errors
    /// 400 where it is not one.
    pub fn parsed<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: fmt::Display,
    {
        let parse = |text: String| text.parse().map_err(|error: T::Err| wrong(name, error.to_string()));
        self.one(name)?.map(parse).transpose()
    }

    /// The value of a parameter, a whole number within `range`.
    ///
    /// # Errors
    /// 400 where it is not one.
    pub fn number(&mut self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, Problem> {
        let message = || format!("must be a whole number from {} to {}", range.start(), range.end());
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(wrong(name, message())),
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 that names a parameter that is not known.
    pub fn finish(self) -> Result<(), Problem> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(wrong(name, "is not a parameter of this request")))
    }
}

/// Undoes percent-encoding; none where the bytes are not UTF-8.
fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
