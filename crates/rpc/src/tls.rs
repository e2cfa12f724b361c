//! `https`: whose certificates are believed, and connections that show them.

use crate::upstream::UrlError;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// The authorities that this system trusts, or those of the file that `SSL_CERT_FILE` names.
pub(crate) fn authorities_of_the_system() -> Result<RootCertStore, UrlError> {
    let found = rustls_native_certs::load_native_certs();
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(found.certs);
    if authorities.is_empty() {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let reason = if reasons.is_empty() { "none found".into() } else { reasons.join("; ") };
        return Err(UrlError::NoAuthorities { reason });
    }
    Ok(authorities)
}

/// Connections in the clear to `http`, and to `https` with a certificate by one of these authorities.
pub(crate) fn connector(
    clear: HttpConnector,
    authorities: RootCertStore,
) -> HttpsConnector<HttpConnector> {
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites of TLS 1.3")
        .with_root_certificates(authorities)
        .with_no_client_auth();
    HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(clear)
}
