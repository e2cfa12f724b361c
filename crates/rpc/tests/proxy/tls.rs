//! Nodes behind `https`: one whose certificate holds, and those whose does not.

use crate::common::{Stage, ok, proxy, raw};
use prunedb_rpc::{Upstream, UrlError};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

const NEW: &str = r#"{"jsonrpc":"2.0","id":1,"method":"new"}"#;

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

fn authorities() -> Result<RootCertStore, UrlError> {
    let mut authorities = RootCertStore::empty();
    authorities.add(certificate(include_bytes!("../../fixtures/tls/authority.pem"))).unwrap();
    Ok(authorities)
}

/// Takes TLS off what comes, and passes it on.
async fn terminator(node: SocketAddr) -> u16 {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../fixtures/tls/server.key"));
    let chain = vec![certificate(include_bytes!("../../fixtures/tls/server.pem"))];
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // who does not believe the certificate leaves here
                let Ok(mut socket) = acceptor.accept(socket).await else { return };
                let mut node = TcpStream::connect(node).await.unwrap();
                _ = copy_bidirectional(&mut socket, &mut node).await;
            });
        }
    });
    port
}

async fn asked(upstream: Upstream) -> (u16, String) {
    let proxy = proxy(upstream).await;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{NEW}",
        NEW.len()
    );
    raw(proxy.local_addr(), request.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_by_authority_and_name() {
    let stage = Stage::new(|_| ok(r#"{"jsonrpc":"2.0","id":1,"result":"secret"}"#)).await;
    let port = terminator(stage.node.local_addr()).await;
    let url = |host: &str| format!("https://me:pw@{host}:{port}/path");

    let upstream = Upstream::trusting(&url("localhost"), authorities).unwrap();
    assert_eq!(upstream.to_string(), format!("https://localhost:{port}"));
    let (status, answer) = asked(upstream).await;
    assert!(status == 200 && answer.contains("secret"), "{answer}");
    assert_eq!(stage.heard_authorization(), [Some("Basic bWU6cHc=".into())]);

    // another name than the certificate's, and an authority that nobody named
    let other_name = Upstream::trusting(&url("127.0.0.1"), authorities).unwrap();
    let nobody = Upstream::trusting(&url("localhost"), || Ok(RootCertStore::empty())).unwrap();
    for (upstream, reason) in [(other_name, "not valid for name"), (nobody, "UnknownIssuer")] {
        let (status, answer) = asked(upstream).await;
        assert!(status == 502 && answer.contains("cannot be reached"), "{answer}");
        assert!(answer.contains(reason), "{answer}");
    }
    // a node that speaks no TLS
    let clear = format!("https://localhost:{}", stage.node.local_addr().port());
    let (status, answer) = asked(Upstream::trusting(&clear, authorities).unwrap()).await;
    assert!(status == 502 && answer.contains("cannot be reached"), "{answer}");
    assert_eq!(stage.heard().len(), 1, "the others were sent nothing, credentials least of all");

    let none = || Err(UrlError::NoAuthorities { reason: "none found".into() });
    let refused = Upstream::trusting(&url("localhost"), none).unwrap_err();
    assert!(refused.to_string().contains("SSL_CERT_FILE"), "{refused}");
    // in the clear nobody asks for authorities
    assert!(Upstream::trusting("http://localhost", none).is_ok());
}
