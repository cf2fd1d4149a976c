//! TLS for `https` addresses.

/// A builder of HTTP clients that speak TLS. The process gets `ring` as its provider of cryptography, unless it has
/// chosen one.
pub fn http_client() -> reqwest::ClientBuilder {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
