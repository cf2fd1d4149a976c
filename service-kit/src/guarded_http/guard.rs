//! What may be connected to.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use super::{addresses::is_public, allowed::Allowed};

/// It leads where it may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither `http` nor `https`.
    #[error("only http and https are allowed, not {0}")]
    Scheme(String),
    /// A name or password in the URL: clients read those differently.
    #[error("a URL with a user name or a password is not allowed")]
    UserInfo,
    /// There is no host in it.
    #[error("the URL names no host")]
    NoHost,
    /// The address is not public.
    #[error("{host} is at {address}, which is not a public address")]
    Address {
        /// The host that was asked for.
        host: String,
        /// Its address.
        address: IpAddr,
    },
}

/// Finds the addresses of a name.
pub trait Lookup: Send + Sync {
    /// All of them.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// As the machine does.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Says what may be connected to. Copies share it.
#[derive(Clone)]
pub(super) struct Guard {
    allowed: Arc<Allowed>,
    lookup: Arc<dyn Lookup>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Guard {
    pub(super) fn new(allowed: Allowed, lookup: Arc<dyn Lookup>) -> Self {
        Self { allowed: Arc::new(allowed), lookup }
    }

    /// What can be said before a name is looked up. A host that is an address in any of its forms (`0x7f.1`, `2130706433`,
    /// `017700000001`) has been made one when the URL was parsed (WHATWG URL, section 3.5).
    pub(super) fn check_url(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Refused::NoHost)?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        address.map_or(Ok(()), |address| self.check_address(host, address))
    }

    fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        if is_public(address) || self.allowed.has_address(address) {
            return Ok(());
        }
        Err(Refused::Address { host: host.to_owned(), address })
    }

    /// The addresses of a name, if each of them is allowed: one that leads inside as well is not for this client.
    async fn addresses(&self, name: String) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let addresses = self.lookup.lookup(name.clone()).await?;
        if !self.allowed.has_host(&name) {
            addresses.iter().try_for_each(|address| self.check_address(&name, *address))?;
        }
        Ok(addresses)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = guard.addresses(name.as_str().to_owned()).await?;
            let sockets: Vec<SocketAddr> =
                addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(sockets.into_iter()) as Addrs)
        })
    }
}
