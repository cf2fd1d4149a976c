//! Ports that parallel stacks, in any number of processes, never share.
//!
//! They lie outside the range from which the kernel takes ports for outgoing connections, so that a server
//! that is down for a moment finds its port free when it comes back. Each is leased by a lock on a file in the
//! cache folder; the kernel gives the lock back when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rand::RngExt;

use crate::servers::cache;

const PREFERRED: RangeInclusive<u16> = 20_000..=29_999;

/// A port of the loopback interface that is ours until this is dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    _lock: File,
}

impl PortLease {
    /// Leases any free port.
    pub fn any() -> Result<Self> {
        let folder = locks()?;
        let range = outside(kernels_range());
        let ports = range.end() - range.start() + 1;
        let first = rand::rng().random_range(0..ports);
        for step in 0..ports {
            let port = range.start() + (first + step) % ports;
            if let Some(lease) = Self::try_lock(&folder, port)?
                && bindable(port).is_ok()
            {
                return Ok(lease);
            }
        }
        bail!("no port is free between {} and {}", range.start(), range.end())
    }

    /// Leases this very port, or says why it cannot be had.
    pub fn exactly(port: u16) -> Result<Self> {
        let Some(lease) = Self::try_lock(&locks()?, port)? else {
            bail!("port {port} is taken by another stack; stop that one or choose another port");
        };
        bindable(port)
            .with_context(|| format!("port {port} cannot be used; stop its user or choose another"))?;
        Ok(lease)
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.port
    }

    fn try_lock(folder: &Path, port: u16) -> Result<Option<Self>> {
        let path = folder.join(port.to_string());
        let lock = File::create(&path).with_context(|| format!("could not create {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { port, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => {
                Err(e).with_context(|| format!("could not lock {}", path.display()))
            }
        }
    }
}

fn locks() -> Result<PathBuf> {
    cache::folder("ports")
}

fn bindable(port: u16) -> std::io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

/// The ports that the kernel gives to outgoing connections.
fn kernels_range() -> RangeInclusive<u16> {
    let parse = |text: String| {
        let mut bounds = text.split_whitespace().map(str::parse);
        Some(bounds.next()?.ok()?..=bounds.next()?.ok()?)
    };
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    setting.ok().and_then(parse).unwrap_or(32_768..=60_999)
}

/// Ports to lease from: the preferred ones unless the kernel uses them, else the wider side next to its range.
fn outside(kernels: RangeInclusive<u16>) -> RangeInclusive<u16> {
    if *kernels.start() > *PREFERRED.end() || *kernels.end() < *PREFERRED.start() {
        return PREFERRED;
    }
    let below = 1_024..=kernels.start().saturating_sub(1);
    let above = kernels.end().saturating_add(1)..=u16::MAX;
    let widest = if below.len() >= above.len() { below } else { above };
    // The kernel was given everything: a lease still keeps stacks from each other.
    if widest.len() < 100 { PREFERRED } else { widest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_stay_out_of_the_kernels_range() {
        assert_eq!(outside(32_768..=60_999), PREFERRED);
        assert_eq!(outside(15_000..=60_999), 1_024..=14_999);
        assert_eq!(outside(1_024..=30_000), 30_001..=65_535);
        assert_eq!(outside(1_024..=65_535), PREFERRED);
    }

    #[test]
    fn two_leases_never_share_a_port_and_a_dropped_one_can_be_had_again() {
        let one = PortLease::any().unwrap();
        let taken = PortLease::exactly(one.number()).unwrap_err().to_string();
        assert!(taken.contains(&one.number().to_string()), "{taken}");
        let port = one.number();
        drop(one);
        assert_eq!(PortLease::exactly(port).unwrap().number(), port);
    }

    #[test]
    fn a_port_that_a_stranger_uses_is_named() {
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = stranger.local_addr().unwrap().port();
        let error = PortLease::exactly(port).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} cannot be used")), "{error}");
    }
}
