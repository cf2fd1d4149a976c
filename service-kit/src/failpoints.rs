//! For tests only: failpoints, at which a process can be made to die or to stand still, and safeguards that can be
//! switched off to show that they are needed. Without the feature `failpoints` both cost nothing and do nothing.

/// A place between two steps: a process that dies here must leave nothing that does not heal.
///
/// With the feature, `FAILPOINTS=<name>=return` (or `1*return`, …; the syntax of the `fail` crate)
/// aborts the process here, and `<name>=1*return(stop)` stops all of it here as SIGSTOP does, so that a test
/// can do something meanwhile; it goes on after a SIGCONT.
#[inline]
pub fn failpoint(name: &str) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name, |how: Option<String>| {
        if how.as_deref() == Some("stop") {
            eprintln!("failpoint {name}: stopping");
            return nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).expect("it may stop itself");
        }
        eprintln!("failpoint {name}: aborting");
        std::process::abort()
    });
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

/// Something that would be wrong without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// Writes of an attempt that does not hold the run are refused.
    Fence,
    /// Scans announce what the direct path did not.
    RelayScan,
    /// What the broker lost is announced again.
    Reconciler,
    /// Runs whose lease has ended are taken over.
    EndedLeases,
    /// A cancel of an unknown run leaves a tombstone.
    Tombstone,
    /// One job for an object, one for a key.
    UniqueIndexes,
}

impl Safeguard {
    /// The name by which `SAFEGUARDS_OFF` switches it off.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fence => "fence",
            Self::RelayScan => "relay_scan",
            Self::Reconciler => "reconciler",
            Self::EndedLeases => "ended_leases",
            Self::Tombstone => "tombstone",
            Self::UniqueIndexes => "unique_indexes",
        }
    }

    /// Whether it is switched off; without the feature never.
    #[inline]
    #[must_use]
    pub fn is_off(self) -> bool {
        #[cfg(feature = "failpoints")]
        return std::env::var("SAFEGUARDS_OFF")
            .is_ok_and(|off| off.split(',').any(|name| name == self.name()));
        #[cfg(not(feature = "failpoints"))]
        return false;
    }
}

/// Reads `FAILPOINTS`; to be called once, at the start of `main`. Does nothing without the feature.
pub fn setup() {
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}
