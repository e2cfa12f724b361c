//! TLS 1.3 between pinned keys: both sides show a raw ed25519 key (RFC 7250), there are no certificates, no names and no
//! authorities. The hybrid key exchange X25519MLKEM768 is preferred, so that what is recorded now is not read later; the
//! keys themselves are checked at the moment of the connection, where a quantum computer comes too late.
//!
//! A client knows the node's key beforehand: it is part of the address. A node takes every client's key, and looks at
//! what its holder may do by its capability.

use crate::{Identity, PublicKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, ServerConfig,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use std::{net::Ipv4Addr, sync::Arc};
use zeroize::Zeroizing;

/// An ed25519 key as a SubjectPublicKeyInfo, up to the key's 32 bytes.
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// An ed25519 seed in PKCS #8, up to the seed's 32 bytes.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What a client connects to the node with this key with.
pub fn client(identity: &Identity, node: PublicKey) -> Arc<ClientConfig> {
    let shown = AlwaysResolvesClientRawPublicKeys::new(certified(identity));
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(node)))
        .with_client_cert_resolver(Arc::new(shown));
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Arc::new(config)
}

/// What a node takes connections with.
pub fn server(identity: &Identity) -> Arc<ServerConfig> {
    let shown = AlwaysResolvesServerRawPublicKeys::new(certified(identity));
    let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(AnyKey))
        .with_cert_resolver(Arc::new(shown));
    // a client comes back with its key: nothing is gained by resuming
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// What a server takes connections with of clients who show no key, or show it otherwise.
pub fn server_for_all(identity: &Identity) -> ServerConfig {
    let shown = AlwaysResolvesServerRawPublicKeys::new(certified(identity));
    ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown))
}

/// The view of a client who wants the server with this key, and no other.
pub fn pinned(server: PublicKey) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Pinned(server))
}

/// A name for rustls, which wants one; nothing is checked by it.
pub fn no_name() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())
}

/// The key that the other side has shown, from what rustls calls its certificates.
pub fn peer(certificates: Option<&[CertificateDer<'_>]>) -> Option<PublicKey> {
    match certificates? {
        [key] => public_key(key),
        _ => None,
    }
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let mut private = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
    private[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
    private[PKCS8_PREFIX.len()..].copy_from_slice(identity.seed());
    let private = PrivatePkcs8KeyDer::from(&private[..]);
    let key = aws_lc_rs::sign::any_eddsa_type(&private).expect("every seed makes a key");
    let public = [&SPKI_PREFIX[..], &identity.public().0].concat();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key))
}

fn public_key(spki: &[u8]) -> Option<PublicKey> {
    spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(PublicKey)
}

/// Checks that the other side holds the key that it shows.
fn holds(
    message: &[u8],
    spki: &[u8],
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = public_key(spki).ok_or_else(|| Error::General("not an ed25519 key".into()))?;
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    key.verify(message, signed.signature()).map_err(|e| Error::General(e.to_string()))?;
    Ok(HandshakeSignatureValid::assertion())
}

fn only_tls13() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("only TLS 1.3 is spoken".into()))
}

/// A client's view: the node with this key, and no other.
#[derive(Debug)]
struct Pinned(PublicKey);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match public_key(key) {
            Some(found) if found == self.0 => Ok(ServerCertVerified::assertion()),
            Some(found) => {
                let expected = self.0;
                Err(Error::General(format!("the node there has key {found}, not {expected}")))
            }
            None => Err(Error::General("not an ed25519 key".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        holds(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A node's view: any key, if the client holds it.
#[derive(Debug)]
struct AnyKey;

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match public_key(key) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(Error::General("not an ed25519 key".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        holds(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
