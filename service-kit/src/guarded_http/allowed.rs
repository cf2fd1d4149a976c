//! What an operator allows besides public addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use reqwest::Url;

/// Hosts and ranges, separated by commas: `hooks.internal`, `*.svc.example`, `10.1.0.0/16`, `127.0.0.1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    hosts: Vec<String>,
    /// `.svc.example` stands for all names that end so.
    suffixes: Vec<String>,
    ranges: Vec<IpNet>,
}

/// A part of the text is neither host nor range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "has {0:?}, which is neither a host's name, nor `*.` and one, nor an address, nor a range such as 10.1.0.0/16"
)]
pub struct BadAllowed(String);

impl FromStr for Allowed {
    type Err = BadAllowed;

    fn from_str(text: &str) -> Result<Self, BadAllowed> {
        let mut allowed = Self::default();
        for part in text.split(',').map(str::trim) {
            if let Ok(range) = part.parse::<IpNet>() {
                allowed.ranges.push(range.trunc());
            } else if let Ok(address) = part.parse::<IpAddr>() {
                allowed.ranges.push(address.to_canonical().into());
            } else if let Some(name) = part.strip_prefix("*.").and_then(host) {
                allowed.suffixes.push(format!(".{name}"));
            } else if let Some(name) = host(part) {
                allowed.hosts.push(name);
            } else {
                return Err(BadAllowed(part.to_owned()));
            }
        }
        Ok(allowed)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.hosts.iter().cloned().chain(self.suffixes.iter().map(|suffix| format!("*{suffix}")));
        let all: Vec<String> = hosts.chain(self.ranges.iter().map(IpNet::to_string)).collect();
        f.write_str(&all.join(","))
    }
}

impl Allowed {
    /// Whether this host may have any address.
    pub(super) fn has_host(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        self.hosts.iter().any(|host| host == name)
            || self.suffixes.iter().any(|suffix| name.ends_with(suffix))
    }

    /// Whether this address is in a range of it.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.ranges.iter().any(|range| range.contains(&address))
    }
}

/// A host's name as a URL has it.
fn host(name: &str) -> Option<String> {
    if name.is_empty() || name.contains(['/', ':', '@', '?', '#', '*', '\\']) {
        return None;
    }
    let url = Url::parse(&format!("http://{name}/")).ok()?;
    url.domain().map(|domain| domain.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ranges_are_told_apart() {
        let allowed: Allowed =
            "Hooks.Internal, *.svc.example,10.1.2.3/16,127.0.0.1,fd00::/8".parse().unwrap();
        assert_eq!(allowed.to_string(), "hooks.internal,*.svc.example,10.1.0.0/16,127.0.0.1/32,fd00::/8");
        for (name, is_allowed) in [
            ("hooks.internal", true),
            ("hooks.internal.", true),
            ("a.svc.example", true),
            ("svc.example", false),
            ("evilsvc.example", false),
            ("nothooks.internal", false),
        ] {
            assert_eq!(allowed.has_host(name), is_allowed, "{name}");
        }
        for (address, is_allowed) in [
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("::ffff:127.0.0.1", true),
            ("fd12::1", true),
            ("::1", false),
        ] {
            assert_eq!(allowed.has_address(address.parse().unwrap()), is_allowed, "{address}");
        }
        for bad in ["", "a,", "http://a", "a:80", "10.0.0.0/33", "*", "*.", "a b"] {
            assert!(bad.parse::<Allowed>().is_err(), "{bad:?}");
        }
    }
}
