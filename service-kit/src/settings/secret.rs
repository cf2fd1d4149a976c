//! Settings that nobody may read in a log, an error or a list of settings.

/// What is shown in the place of a secret.
pub(super) const MASK: &str = "********";

/// Parts of names of a URI's parameters whose values are secrets.
const SECRET_PARAMETERS: [&str; 4] = ["password", "secret", "token", "mechanismproperties"];

/// How a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// All of it is one.
    Whole,
    /// It is a URI, or several with commas between, with a user and a password in it perhaps.
    InUri,
}

impl Secrecy {
    /// The text without what is secret.
    pub(super) fn mask(self, text: &str) -> String {
        match self {
            Self::Whole => MASK.to_owned(),
            Self::InUri => masked_uri(text),
        }
    }
}

/// What is before the last `@` of a host is taken for a secret, since a password with an `@` or a `/` in it may not be escaped; a
/// user's name is one too, as NATS knows tokens in its place.
fn masked_uri(text: &str) -> String {
    let (before, parameters) = match text.rsplit_once('?') {
        Some((before, parameters)) if !parameters.contains('@') => (before, Some(parameters)),
        _ => (text, None),
    };
    let masked: Vec<String> = split_servers(before).into_iter().map(masked_server).collect();
    let mut masked = masked.join(",");
    if let Some(parameters) = parameters {
        let parameters: Vec<String> = parameters.split('&').map(masked_parameter).collect();
        masked.push('?');
        masked.push_str(&parameters.join("&"));
    }
    masked
}

/// Splits where a scheme begins after a comma; hosts of one URI stay together.
fn split_servers(text: &str) -> Vec<&str> {
    let mut servers = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.match_indices(',').map(|(at, _)| at).find(|at| {
        let after = rest[at + 1..].trim_start();
        after.split_once("://").is_some_and(|(scheme, _)| {
            !scheme.is_empty()
                && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        })
    }) {
        servers.push(&rest[..next]);
        rest = &rest[next + 1..];
    }
    servers.push(rest);
    servers
}

fn masked_server(server: &str) -> String {
    let (scheme, rest) = match server.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), server),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{MASK}@{host}"),
        None => format!("{scheme}{rest}"),
    }
}

fn masked_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if SECRET_PARAMETERS.iter().any(|part| name.to_lowercase().contains(part)) => {
            format!("{name}={MASK}")
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_show_where_they_lead_and_not_with_what() {
        for (text, shown) in [
            ("mongodb://127.0.0.1:27017", "mongodb://127.0.0.1:27017"),
            ("mongodb://u:p@a:1,b:2/db?replicaSet=x", "mongodb://********@a:1,b:2/db?replicaSet=x"),
            ("mongodb://u:p@ss/wo@a:1", "mongodb://********@a:1"),
            ("mongodb://u:p?q@a:1", "mongodb://********@a:1"),
            ("nats://token@a:4222,nats://u:p@b:4222", "nats://********@a:4222,nats://********@b:4222"),
            ("u:p@a:4222", "********@a:4222"),
            (
                "mongodb://a/?tls=true&tlsCertificateKeyFilePassword=p&authMechanismProperties=X:p",
                "mongodb://a/?tls=true&tlsCertificateKeyFilePassword=********&authMechanismProperties=********",
            ),
        ] {
            assert_eq!(Secrecy::InUri.mask(text), shown, "{text}");
        }
        assert_eq!(Secrecy::Whole.mask("p"), MASK);
    }
}
