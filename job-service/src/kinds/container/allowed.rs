//! Which images and networks the operator allows.

use std::str::FromStr;

use shared_events::payloads::Container;

/// The images that may be run: names with or without a tag or digest, in which `*` stands for anything but a `/`, and `**`
/// for anything. One without a tag allows all of the image's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedImages(Vec<String>);

/// Why a text is no list of images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of an image")]
pub struct BadImagePattern(String);

/// The networks that containers may be in, besides none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNetworks(Vec<String>);

/// Why a text is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// It has not the form.
    #[error("{0:?} is not the name of a network")]
    Form(String),
    /// It is no network of its own, but the machine's or another container's.
    #[error("must not have {0:?}: it would let containers reach whatever the machine listens on")]
    Machine(String),
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

impl FromStr for AllowedImages {
    type Err = BadImagePattern;

    fn from_str(text: &str) -> Result<Self, BadImagePattern> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@*".contains(&byte);
        let checked = parts(text).map(|pattern| {
            let is_one = pattern.bytes().all(is_part);
            if is_one { Ok(pattern.to_owned()) } else { Err(BadImagePattern(pattern.to_owned())) }
        });
        checked.collect::<Result<_, _>>().map(Self)
    }
}

impl AllowedImages {
    /// Whether this one may be run, as the job writes it.
    #[must_use]
    pub fn allow(&self, image: &str) -> bool {
        let (name, _) = split(image);
        self.0.iter().any(|pattern| {
            let of = if split(pattern).1.is_empty() { name } else { image };
            matches(pattern.as_bytes(), of.as_bytes())
        })
    }
}

impl FromStr for AllowedNetworks {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let checked = parts(text).map(|network| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if network == "host" || network.starts_with("container:") {
                return Err(BadNetwork::Machine(network.to_owned()));
            }
            if !network.bytes().all(is_part) {
                return Err(BadNetwork::Form(network.to_owned()));
            }
            Ok(network.to_owned())
        });
        checked.collect::<Result<_, _>>().map(Self)
    }
}

impl AllowedNetworks {
    /// Whether containers may be in this one.
    #[must_use]
    pub fn allow(&self, network: &str) -> bool {
        network == Container::NO_NETWORK || self.0.iter().any(|allowed| allowed == network)
    }
}

/// The name, and the tag or digest with what is before it. The `:` of a registry's port is part of the name.
fn split(image: &str) -> (&str, &str) {
    let path = image.rfind('/').map_or(0, |slash| slash + 1);
    let end = image[path..].find([':', '@']).map_or(image.len(), |at| path + at);
    image.split_at(end)
}

/// Whether the whole text is as the pattern says.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|at| matches(rest, &text[at..])),
        [b'*', rest @ ..] => {
            let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=end).any(|at| matches(rest, &text[at..]))
        }
        [first, rest @ ..] => {
            text.split_first().is_some_and(|(byte, text)| byte == first && matches(rest, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_allowed_by_name_tag_and_pattern() {
        let allowed: AllowedImages =
            "alpine, debian:bookworm-*, registry.example:5000/tools/*, ghcr.io/acme/**".parse().unwrap();
        for image in [
            "alpine",
            "alpine:3.22",
            "alpine@sha256:0f",
            "debian:bookworm-slim",
            "registry.example:5000/tools/report:7",
            "ghcr.io/acme/a/b/c:1",
        ] {
            assert!(allowed.allow(image), "{image}");
        }
        for image in [
            "",
            "alpine/x",
            "evil/alpine",
            "docker.io/library/alpine",
            "debian",
            "debian:sid",
            "debian:bookworm-slim/x",
            "registry.example:5000/tools/a/b",
            "registry.example/tools/report",
            "ghcr.io/acmes/a",
            "0123456789ab",
        ] {
            assert!(!allowed.allow(image), "{image}");
        }
        let any: AllowedImages = "**".parse().unwrap();
        assert!(any.allow("a") && any.allow("a:1") && any.allow("b.example:1/c/d@sha256:0f"));
        assert!(!AllowedImages::default().allow("a"));
        assert_eq!("a b".parse::<AllowedImages>(), Err(BadImagePattern("a b".to_owned())));
    }

    #[test]
    fn the_machines_own_network_is_no_network_for_containers() {
        let allowed: AllowedNetworks = "bridge,jobs".parse().unwrap();
        assert!(
            allowed.allow("none")
                && allowed.allow("jobs")
                && !allowed.allow("other")
                && !allowed.allow("host")
        );
        assert!(AllowedNetworks::default().allow("none"));
        for network in ["host", "container:abc"] {
            assert_eq!(network.parse::<AllowedNetworks>(), Err(BadNetwork::Machine(network.to_owned())));
        }
        assert_eq!("a b".parse::<AllowedNetworks>(), Err(BadNetwork::Form("a b".to_owned())));
    }
}
