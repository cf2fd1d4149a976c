//! What a user of NATS may do, as the server tells it, against what a service does. Pure.

use serde::Deserialize;
use shared_events::rights::Rights;

/// The server's answer to `$SYS.REQ.USER.INFO`.
#[derive(Debug, Deserialize)]
pub(super) struct UserInfo {
    pub(super) data: User,
}

/// The user that is connected.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    #[serde(default)]
    pub(super) user: String,
    /// None where all is allowed.
    permissions: Option<Permissions>,
}

#[derive(Debug, Deserialize)]
struct Permissions {
    publish: Option<Subjects>,
    subscribe: Option<Subjects>,
}

#[derive(Debug, Deserialize)]
struct Subjects {
    /// None where all is allowed.
    allow: Option<Vec<String>>,
    #[serde(default)]
    deny: Vec<String>,
}

impl User {
    /// Those of these subjects that it may not publish to, and those that it may not subscribe to.
    pub(super) fn lacks(
        &self,
        Rights { publish, subscribe }: Rights,
    ) -> (Vec<&'static str>, Vec<&'static str>) {
        let Some(permissions) = &self.permissions else { return (Vec::new(), Vec::new()) };
        (lacking(permissions.publish.as_ref(), publish), lacking(permissions.subscribe.as_ref(), subscribe))
    }
}

fn lacking(rights: Option<&Subjects>, wanted: &[&'static str]) -> Vec<&'static str> {
    let Some(Subjects { allow, deny }) = rights else { return Vec::new() };
    let may = |subject: &str| {
        let is_allowed =
            allow.as_ref().is_none_or(|allowed| allowed.iter().any(|pattern| covers(pattern, subject)));
        is_allowed && !deny.iter().any(|pattern| covers(pattern, subject))
    };
    wanted.iter().copied().filter(|subject| !may(subject)).collect()
}

/// Whether the pattern has every subject that this subject, which may be a pattern itself, has.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_has_all_of() {
        for (pattern, subject, does) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.*", true),
            ("a.b", "a.*", false),
            ("a.*", "a.>", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a.*.>", true),
            (">", "a", true),
            ("a.>", "a", false),
            ("a.*", "a.b.c", false),
            ("a.b.c", "a.b", false),
        ] {
            assert_eq!(covers(pattern, subject), does, "{pattern} {subject}");
        }
    }

    fn lacks(permissions: &str, publish: &'static [&'static str]) -> Vec<&'static str> {
        let user = format!(r#"{{"data":{{"user":"me","account":"$G"{permissions}}}}}"#);
        let UserInfo { data } = serde_json::from_str(&user).unwrap();
        data.lacks(Rights { publish, subscribe: &[] }).0
    }

    #[test]
    fn a_user_lacks_what_is_not_allowed_or_is_denied() {
        assert_eq!(lacks("", &["a"]), Vec::<&str>::new());
        let some =
            r#","permissions":{"publish":{"allow":["a.*"],"deny":["a.x"]},"subscribe":{"allow":["b"]}}"#;
        assert_eq!(lacks(some, &["a.b", "a.x", "c"]), ["a.x", "c"]);
        assert_eq!(lacks(r#","permissions":{"publish":{"deny":["b"]}}"#, &["a", "b"]), ["b"]);
    }
}
