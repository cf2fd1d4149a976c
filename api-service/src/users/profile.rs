//! What is said about a user, and changes of it.

use std::{fmt, ops::Deref, str::FromStr};

use email_address::{EmailAddress, Options};
use utoipa::ToSchema;

use crate::{
    http::read::{JsonBody, Kept, Number, ReadFields, StringValue, Text},
    idempotency::CanonicalObject,
};

/// The longest address, in bytes (RFC 5321, erratum 1690).
const MAX_EMAIL: usize = 254;

/// The largest body of a user, in bytes: room for a mistake that can be named.
const MAX_BODY: usize = 64 << 10;

/// What a user is called: 1 to 200 characters.
pub type Name = Text<1, 200>;

/// The group that a user is in.
pub type Group = Number<0, { i32::MAX as u32 }>;

/// An e-mail address of ASCII characters, at most 254 of them, with a domain of two parts at least.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = "email", max_length = 254, example = "ada@example.org")]
pub struct Email(String);

impl StringValue for Email {}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address such as ada@example.org, of at most {MAX_EMAIL} ASCII characters")]
pub struct BadEmail;

impl FromStr for Email {
    type Err = BadEmail;

    fn from_str(text: &str) -> Result<Self, BadEmail> {
        let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
        // One address could be written in several ways with quotes, or with letters beyond ASCII.
        if text.len() > MAX_EMAIL || !text.is_ascii() || text.contains('"') {
            return Err(BadEmail);
        }
        EmailAddress::parse_with_options(text, options).map_err(|_| BadEmail)?;
        Ok(Self(text.to_owned()))
    }
}

impl Deref for Email {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl Email {
    /// What is the same for addresses that differ in case only. It is stored: its form never changes.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// All that is said about a user.
#[derive(Debug, Clone, PartialEq, ReadFields, ToSchema)]
#[schema(as = NewUser)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the user is called.
    #[schema(inline, example = "Ada Lovelace")]
    pub name: Name,
    /// The user's address. No two users have one that differs in case only.
    #[schema(inline)]
    pub email: Email,
    /// The group that the user is in.
    #[schema(inline, example = 7)]
    pub group: Group,
}

impl JsonBody for Profile {
    const MAX_BYTES: usize = MAX_BODY;
}

/// A change of some of it (RFC 7396). Nothing of it can be removed.
#[derive(Debug, Clone, Default, PartialEq, ReadFields, ToSchema)]
#[schema(as = UserChange)]
#[serde(deny_unknown_fields)]
pub struct ProfileChange {
    /// What the user is called from now on.
    #[schema(inline, value_type = Name, required = false)]
    pub name: Option<Kept<Name>>,
    /// The user's address from now on.
    #[schema(inline, value_type = Email, required = false)]
    pub email: Option<Kept<Email>>,
    /// The group that the user is in from now on.
    #[schema(inline, value_type = Group, required = false)]
    pub group: Option<Kept<Group>>,
}

impl JsonBody for ProfileChange {
    const MAX_BYTES: usize = MAX_BODY;
}

impl From<Profile> for ProfileChange {
    fn from(Profile { name, email, group }: Profile) -> Self {
        Self { name: Some(Kept(name)), email: Some(Kept(email)), group: Some(Kept(group)) }
    }
}

impl Profile {
    /// What tells a request for a user from another one under the same key.
    pub(super) fn request_hash(&self) -> String {
        let Self { name, email, group } = self;
        let mut fields = CanonicalObject::default();
        fields.add("name", &Some(&**name), &None);
        fields.add("email", &Some(&**email), &None);
        fields.add("group", &Some(group), &None);
        fields.request_hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::read::read_json_object;

    fn profile(json: &str) -> Profile {
        read_json_object(json.as_bytes()).unwrap()
    }

    fn wrong<T: ReadFields + fmt::Debug>(json: &str) -> Vec<(String, String)> {
        let (errors, ..) = read_json_object::<T>(json.as_bytes()).unwrap_err().into_parts();
        errors.into_iter().map(|error| (error.field, error.message.into_owned())).collect()
    }

    #[test]
    fn an_address_is_one_or_is_refused() {
        let longest = format!("{}@{}.org", "x".repeat(64), "y.".repeat(92) + "z");
        assert_eq!(longest.len(), 254);
        for text in ["a@b.org", "A.b+c@Ex-ample.co.uk", "o'hara@example.org", "x@xn--mller-kva.de", &longest]
        {
            assert_eq!(text.parse::<Email>().map(|email| email.to_string()), Ok(text.to_owned()));
        }
        let too_long = format!("x{longest}");
        for text in [
            "",
            "a",
            "@b.org",
            "a@",
            "a@b",
            "a b@c.org",
            "a@b@c.org",
            ".a@b.org",
            "a..b@c.org",
            "a@-b.org",
            "a@b..org",
            "\"a b\"@c.org",
            "a@[127.0.0.1]",
            "Ada <a@b.org>",
            "ä@b.org",
            "a@bü.org",
            " a@b.org",
            "a@b.org\n",
            &too_long,
        ] {
            assert_eq!(text.parse::<Email>(), Err(BadEmail), "{text:?}");
        }
    }

    #[test]
    fn case_does_not_tell_addresses_apart() {
        let key = |text: &str| text.parse::<Email>().unwrap().key();
        assert_eq!(key("Ada@Example.ORG"), key("ada@example.org"));
        assert_ne!(key("ada@example.org"), key("ida@example.org"));
    }

    #[test]
    fn a_user_has_a_name_an_address_and_a_group() {
        let fields =
            |json: &str| wrong::<Profile>(json).into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        assert_eq!(fields("{}"), ["name", "email", "group"]);
        assert_eq!(fields(r#"{"name":"","email":"a","group":-1}"#), ["name", "email", "group"]);
        assert_eq!(fields(r#"{"name":"A","email":"a@b.org","group":2147483648}"#), ["group"]);
        assert_eq!(fields(r#"{"name":"A","email":"a@b.org","group":"1","id":"x"}"#), ["group", "id"]);
    }

    #[test]
    fn what_a_user_always_has_can_not_be_removed() {
        let found = wrong::<ProfileChange>(r#"{"name":null,"group":null}"#);
        let message = "can not be removed: null is not allowed here".to_owned();
        assert_eq!(found, [("name".to_owned(), message.clone()), ("group".to_owned(), message)]);
        let none: ProfileChange = read_json_object(b"{}").unwrap();
        assert_eq!(none, ProfileChange::default());
    }

    /// Replicas of several versions compare these: a value that changes here needs another version of the hash.
    #[test]
    fn hashes_are_what_they_always_were() {
        let hash = profile(r#"{"name":"Ada","email":"ada@example.org","group":7}"#).request_hash();
        assert_eq!(hash, "v1:58d22340afa7c8b8f573763827c417b7b7d860bf83cd6b27335d908df853e499");
        assert_eq!(
            profile(r#" {"group" : 7.0, "email":"ada@example.org", "name":"\u0041da"}"#).request_hash(),
            hash
        );
        for other in [
            r#"{"name":"ada","email":"ada@example.org","group":7}"#,
            r#"{"name":"Ada","email":"Ada@example.org","group":7}"#,
            r#"{"name":"Ada","email":"ada@example.org","group":8}"#,
        ] {
            assert_ne!(profile(other).request_hash(), hash, "{other}");
        }
    }
}
