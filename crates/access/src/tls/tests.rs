use super::*;
use rustls::{ClientConnection, ConnectionCommon, NamedGroup, ServerConnection, SideData};

fn identity(seed: u8) -> Identity {
    Identity::from_seed(Zeroizing::new([seed; 32]))
}

/// Carries what one side has to say to the other.
fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn connect(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let mut client = ClientConnection::new(client, no_name())?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    Ok((client, server))
}

#[test]
fn both_sides_know_each_other_and_prefer_the_hybrid_exchange() {
    let (node, holder) = (identity(1), identity(2));
    let (client, server) = connect(client(&holder, node.public()), super::server(&node)).unwrap();
    assert_eq!(peer(client.peer_certificates()), Some(node.public()));
    assert_eq!(peer(server.peer_certificates()), Some(holder.public()));
    let exchange = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(exchange, NamedGroup::X25519MLKEM768);
}

#[test]
fn another_node_in_its_place_is_refused() {
    let (node, thief) = (identity(1), identity(3));
    let refused = connect(client(&identity(2), node.public()), server(&thief));
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains(&format!("has key {}, not {}", thief.public(), node.public())),
        "{error}"
    );
}

#[test]
fn who_does_not_hold_the_key_is_refused() {
    let (node, thief) = (identity(1), identity(3));
    // shows the node's key, signs with its own
    let key = certified(&thief).key.clone();
    let shown = Arc::new(CertifiedKey::new(certified(&node).cert.clone(), key));
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(AnyKey))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown)));
    let refused = connect(client(&identity(2), node.public()), Arc::new(config));
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("the signature is not that of"), "{error}");
}

#[test]
fn a_client_without_a_key_is_refused() {
    let node = identity(1);
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(node.public())))
        .with_no_client_auth();
    assert!(connect(Arc::new(config), server(&node)).is_err());
}

#[test]
fn only_one_raw_key_is_a_peer() {
    let spki = [&SPKI_PREFIX[..], &[7; 32]].concat();
    let key = CertificateDer::from(spki.clone());
    assert_eq!(peer(Some(std::slice::from_ref(&key))), Some(PublicKey([7; 32])));
    assert_eq!(peer(Some(&[key.clone(), key])), None);
    assert_eq!(peer(Some(&[CertificateDer::from(spki[1..].to_vec())])), None);
    assert_eq!(peer(None), None);
}
