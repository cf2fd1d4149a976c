//! Hosts and origins, as `Host` and `Origin` name them, and the lists of them that settings have.

use std::{fmt, str::FromStr};

/// A host, and its port where one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// In lower case; an IPv6 address in its brackets.
    host: String,
    port: Option<u16>,
}

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be hosts such as jobs.example, localhost:8080 or [::1]:8080")]
pub struct BadAuthority;

impl FromStr for Authority {
    type Err = BadAuthority;

    fn from_str(text: &str) -> Result<Self, BadAuthority> {
        // The last colon, unless it is one of an address in brackets.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = port.map(read_port).transpose()?;
        let is_name = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let is_address = |host: &str| {
            let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        };
        if is_name(host) || is_address(host) {
            return Ok(Self { host: host.to_ascii_lowercase(), port });
        }
        Err(BadAuthority)
    }
}

fn read_port(digits: &str) -> Result<u16, BadAuthority> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number).ok_or(BadAuthority)
}

/// Where a page comes from: `https://board.example:8443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    authority: Authority,
}

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be * or origins such as https://board.example, without a path")]
pub struct BadOrigin;

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(BadOrigin)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let authority = authority.parse().map_err(|_| BadOrigin)?;
        if is_scheme { Ok(Self { scheme: scheme.to_ascii_lowercase(), authority }) } else { Err(BadOrigin) }
    }
}

/// As browsers write it: in lower case, and without the scheme's own port.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Authority { host, port } = &self.authority;
        write!(f, "{}://{host}", self.scheme)?;
        match port {
            Some(port) if Some(*port) != self.default_port() => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

impl Origin {
    /// Whether this is the origin of what is served under `host`. That the scheme is the same can not be known:
    /// a proxy may have taken the encryption off.
    #[must_use]
    pub fn is_of(&self, host: &Authority) -> bool {
        let port = |authority: &Authority| authority.port.or(self.default_port());
        self.authority.host == host.host && port(&self.authority) == port(host)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.is_of(&other.authority)
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }
}

/// Origins whose pages may use the API (`CORS_ORIGINS`): none, some, or with `*` all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    all: bool,
    some: Vec<Origin>,
}

impl FromStr for AllowedOrigins {
    type Err = BadOrigin;

    fn from_str(list: &str) -> Result<Self, BadOrigin> {
        let mut origins = Self::default();
        for text in list.split(',').map(str::trim) {
            if text == "*" {
                origins.all = true;
            } else {
                origins.some.push(text.parse()?);
            }
        }
        Ok(origins)
    }
}

impl AllowedOrigins {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.all && self.some.is_empty()
    }

    /// Whether all are.
    #[must_use]
    pub const fn has_all(&self) -> bool {
        self.all
    }

    /// Those that are named.
    #[must_use]
    pub fn named(&self) -> &[Origin] {
        &self.some
    }

    /// Whether pages of this one may; none stands for what is no origin, such as `null`.
    #[must_use]
    pub fn has(&self, origin: Option<&Origin>) -> bool {
        self.all || origin.is_some_and(|origin| self.some.iter().any(|allowed| allowed.is_same(origin)))
    }
}

/// Hosts under which the API may be asked for (`ALLOWED_HOSTS`): all where none is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<Authority>);

impl FromStr for AllowedHosts {
    type Err = BadAuthority;

    fn from_str(list: &str) -> Result<Self, BadAuthority> {
        list.split(',').map(|text| text.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl AllowedHosts {
    /// Whether the API may be asked for under this host. One that is allowed without a port is so with any; one
    /// whose port is a scheme's own may be asked for without it.
    #[must_use]
    pub fn has(&self, host: Option<&Authority>) -> bool {
        let fits = |allowed: &Authority, asked: &Authority| {
            let is_default = matches!(allowed.port, Some(80 | 443)) && asked.port.is_none();
            allowed.host == asked.host && (allowed.port.is_none() || allowed.port == asked.port || is_default)
        };
        self.0.is_empty() || host.is_some_and(|asked| self.0.iter().any(|allowed| fits(allowed, asked)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_read_with_and_without_ports() {
        for fine in ["a", "A.example", "127.0.0.1:80", "[::1]", "[::1]:8080", "my_host:65535"] {
            assert!(fine.parse::<Authority>().is_ok(), "{fine}");
        }
        for wrong in
            ["", ":80", "a:", "a:x", "a:+1", "a:65536", "a b", "a/b", "u@a", "::1", "[::1", "[x]", "*"]
        {
            assert!(wrong.parse::<Authority>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_is_at_home_under_its_own_host_and_port() {
        let is_of = |origin: &str, host: &str| {
            origin.parse::<Origin>().unwrap().is_of(&host.parse::<Authority>().unwrap())
        };
        for (origin, host) in [
            ("http://a", "a"),
            ("http://a", "a:80"),
            ("http://A:80", "a"),
            ("https://a", "a:443"),
            ("http://a:8080", "A:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_of(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://b", "a"),
            ("http://a:81", "a"),
            ("http://a", "a:81"),
            ("https://a", "a:80"),
            ("http://a.b", "a"),
        ] {
            assert!(!is_of(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        let written = |text: &str| text.parse::<Origin>().unwrap().to_string();
        assert_eq!(written("HTTPS://Board.Example:443"), "https://board.example");
        assert_eq!(written("http://a:443"), "http://a:443");
    }

    #[test]
    fn lists_name_what_is_allowed() {
        let origins: AllowedOrigins = "https://a.example, http://b:81".parse().unwrap();
        let has = |origin: &str| origins.has(origin.parse().ok().as_ref());
        assert!(has("https://a.example") && has("https://a.example:443") && has("http://b:81"));
        assert!(!has("http://a.example") && !has("http://b") && !has("null") && !has("https://x.a.example"));
        assert!("*".parse::<AllowedOrigins>().unwrap().has(None));
        for wrong in ["a.example", "https://a.example/", "https://a,", "null"] {
            assert!(wrong.parse::<AllowedOrigins>().is_err(), "{wrong}");
        }

        let hosts: AllowedHosts = "a.example, b:81, c:443".parse().unwrap();
        let has = |host: &str| hosts.has(host.parse().ok().as_ref());
        assert!(has("a.example") && has("A.EXAMPLE:9") && has("b:81") && has("c") && has("c:443"));
        assert!(!has("b") && !has("x.a.example") && !has("") && !has("c:80"));
        assert!(AllowedHosts::default().has(None));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = (text.parse::<Authority>(), text.parse::<Origin>());
        }
    }
}
