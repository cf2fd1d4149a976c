//! An HTTP client for addresses that strangers name: it can not be led into the network that it runs in.
//!
//! Only `http` and `https`; no proxy. A name is looked up when the connection is made, all its addresses are checked, and
//! one of those is connected to, so that no other answer can come between. Addresses that are not public are refused unless
//! [`Allowed`] names host or range. The same holds for every redirect; one that leads to another server is an answer, and
//! is not followed.

mod addresses;
mod allowed;
mod guard;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};

pub use allowed::{Allowed, BadAllowed};
use guard::Guard;
pub use guard::{Lookup, Refused, SystemLookup};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server may say nothing.
const SILENT: Duration = Duration::from_secs(60);

/// How many redirects are followed.
const REDIRECTS: usize = 10;

/// How much of a body is read, in bytes.
pub const BODY_BYTES: usize = 64 << 10;

/// How much of the headers is kept, in bytes.
const HEADER_BYTES: usize = 16 << 10;

/// See the module. Copies share its connections.
#[derive(Debug, Clone)]
pub struct GuardedClient {
    client: reqwest::Client,
    guard: Guard,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// With these headers.
    pub headers: HeaderMap,
    /// With this body, where there is one.
    pub body: Option<String>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Who answered, after all redirects.
    pub url: Url,
    /// The headers, several of one name joined by commas; those that are no text are left out, and what is more than 16 KiB.
    pub headers: BTreeMap<String, String>,
    /// The first [`BODY_BYTES`] of the body.
    pub body: Vec<u8>,
    /// Whether there was more.
    pub is_cut: bool,
    /// After how long to try again, by `Retry-After` (RFC 9110, section 10.2.3).
    pub retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It leads where it may not.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// It took too long.
    #[error("the server took too long to answer")]
    Timeout,
    /// There are too many redirects.
    #[error("more than {REDIRECTS} redirects")]
    Redirects,
    /// Anything else: no connection, a broken one, what is no HTTP.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

impl GuardedClient {
    /// A client that may also go to what is allowed.
    ///
    /// # Errors
    /// Where TLS can not be set up.
    pub fn new(allowed: Allowed) -> anyhow::Result<Self> {
        Self::with_lookup(allowed, Arc::new(SystemLookup))
    }

    /// The same, with a look-up of one's own.
    ///
    /// # Errors
    /// Where TLS can not be set up.
    pub fn with_lookup(allowed: Allowed, lookup: Arc<dyn Lookup>) -> anyhow::Result<Self> {
        let guard = Guard::new(allowed, lookup);
        let follows = guard.clone();
        let redirects = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS {
                return attempt.error(TooManyRedirects);
            }
            if let Err(refused) = follows.check_url(attempt.url()) {
                return attempt.error(refused);
            }
            // Headers and body were meant for this server, and may be secrets.
            let stays = attempt.previous().last().is_some_and(|from| is_same_server(from, attempt.url()));
            if stays { attempt.follow() } else { attempt.stop() }
        });
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .dns_resolver(Arc::new(guard.clone()))
            .redirect(redirects)
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT)
            .read_timeout(SILENT)
            .pool_max_idle_per_host(4)
            .build()
            .context("could not set up the HTTP client")?;
        Ok(Self { client, guard })
    }

    /// Sends a request, and reads the beginning of the answer.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn send(&self, request: Request) -> Result<Answer, HttpError> {
        let Request { method, url, headers, body } = request;
        self.guard.check_url(&url)?;
        let mut sent = self.client.request(method, url).headers(headers);
        if let Some(body) = body {
            sent = sent.body(body);
        }
        read(sent.send().await.map_err(told)?).await
    }
}

/// Whether a redirect stays where it was: the same host, and the same scheme and port, or `https` after `http` on their usual
/// ports.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let place = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default());
    let http = || ("http".to_owned(), Some(80));
    let https = || ("https".to_owned(), Some(443));
    let is_upgrade = place(from) == http() && place(to) == https();
    from.host_str() == to.host_str() && (place(from) == place(to) || is_upgrade)
}

async fn read(mut response: Response) -> Result<Answer, HttpError> {
    let mut body = Vec::new();
    let mut is_cut = false;
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        let room = BODY_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            is_cut = true;
            break;
        }
    }
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
    Ok(Answer {
        status: response.status(),
        url: response.url().clone(),
        headers: texts(response.headers()),
        body,
        is_cut,
        retry_after,
    })
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut room = HEADER_BYTES;
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
    };
    for (name, value) in headers.iter().filter_map(text) {
        let Some(left) = room.checked_sub(name.len() + value.len() + 2) else { continue };
        room = left;
        texts.entry(name).and_modify(|before| *before = format!("{before}, {value}")).or_insert(value);
    }
    texts
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text.trim()).ok()?;
    Some(at.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// What reqwest says is wrapped several times.
fn told(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(this) = cause {
        if let Some(refused) = this.downcast_ref::<Refused>() {
            return refused.clone().into();
        }
        if this.is::<TooManyRedirects>() {
            return HttpError::Redirects;
        }
        cause = this.source();
    }
    if error.is_timeout() { HttpError::Timeout } else { HttpError::Failed(error.into()) }
}

#[derive(Debug, thiserror::Error)]
#[error("more than {REDIRECTS} redirects")]
struct TooManyRedirects;

/// A builder of clients for addresses that the operator names. The process gets `ring` as its provider of cryptography,
/// unless it has chosen one.
pub(crate) fn plain() -> reqwest::ClientBuilder {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// The machine's certificates, and those that browsers have, since a container may have none.
pub(crate) fn tls() -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("could not set up TLS")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
