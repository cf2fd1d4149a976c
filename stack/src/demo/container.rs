//! The engine that runs the demo's container, where one answers on this machine.

use std::time::Duration;

use hasty_client::http_client;
use reqwest::StatusCode;

/// Where engines listen.
const SOCKET: &str = "/var/run/docker.sock";

/// Images that have a shell, the smallest first.
const IMAGES: [&str; 4] = ["busybox", "alpine", "debian:bookworm-slim", "debian"];

const TIMEOUT: Duration = Duration::from_secs(3);

/// An engine, and an image that it has. Nothing is fetched for a demo.
pub(super) struct Engine {
    pub(super) image: &'static str,
}

impl Engine {
    /// Its address, as workers have it.
    pub(super) fn address(&self) -> String {
        format!("unix://{SOCKET}")
    }

    /// It, or why no container is shown.
    pub(super) async fn find() -> Result<Self, String> {
        let away = |error: reqwest::Error| format!("no engine answers at {SOCKET} ({error})");
        let client = http_client().unix_socket(SOCKET).no_proxy().timeout(TIMEOUT).build().map_err(away)?;
        for image in IMAGES {
            let answer =
                client.get(format!("http://engine/images/{image}/json")).send().await.map_err(away)?;
            if answer.status() == StatusCode::OK {
                return Ok(Self { image });
            }
        }
        Err(format!("the engine has none of the images {}", IMAGES.join(", ")))
    }
}
