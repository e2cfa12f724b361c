//! A node's address as it stands in the configuration and in the head, and the store behind it.
//!
//! ```text
//! host:port                   our own node, in the clear
//! tls://host:port/key         our own node over TLS; its public key in 64 hex digits
//! zdb://host:port/namespace   a plain 0-db server; the namespace's password, if any, from ZDB_PASSWORD
//! file:///path                a folder, in builds with the feature `objects`
//! s3://bucket/prefix          a bucket, in builds with the feature `s3`
//! ```

#[cfg(feature = "objects")]
use crate::ObjectBlobs;
use crate::{BlobStore, NodeOptions, NodeStore, ShardStore, ZdbBlobs};
use prunedb_access::{Credentials, Identity, PublicKey};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Why an address leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is not a node: {reason}")]
pub struct AddressError {
    /// the address
    pub address: String,
    /// what is wrong, and what would be right
    pub reason: String,
}

const FORMS: &str = "write HOST:PORT, tls://HOST:PORT/KEY, zdb://HOST:PORT/NAMESPACE, file:///FOLDER or s3://BUCKET/PREFIX";

/// The parts of an address.
enum Parts<'a> {
    Node,
    Tls {
        server: &'a str,
        key: PublicKey,
    },
    Zdb {
        server: &'a str,
        namespace: &'a str,
    },
    #[cfg_attr(
        not(feature = "objects"),
        expect(dead_code, reason = "only object stores have folders")
    )]
    Folder(&'a str),
    Bucket,
}

/// Checks an address; nothing is connected.
///
/// # Errors
/// [`AddressError`] says what is wrong.
pub fn check_address(address: &str) -> Result<(), AddressError> {
    parts(address).map(drop)
}

/// The store behind an address; nothing is connected before its first request, but a folder is created.
///
/// # Errors
/// [`AddressError`] where the address is none, or what is there cannot be used.
pub fn connect(address: &str, options: NodeOptions) -> Result<Arc<dyn ShardStore>, AddressError> {
    connect_as(address, options, None)
}

/// The same, for a client that closed nodes know; other kinds of stores do not see the credentials.
///
/// # Errors
/// Those of [`connect`].
pub fn connect_as(
    address: &str,
    options: NodeOptions,
    credentials: Option<&Credentials>,
) -> Result<Arc<dyn ShardStore>, AddressError> {
    match parts(address)? {
        Parts::Node | Parts::Tls { .. } => {
            Ok(Arc::new(connect_node(address, options, credentials)?))
        }
        Parts::Zdb { server, namespace } => {
            let password = std::env::var("ZDB_PASSWORD").ok().filter(|p| !p.is_empty());
            let blobs = ZdbBlobs::new(server, namespace, password, options);
            Ok(Arc::new(BlobStore::new(address, blobs)))
        }
        #[cfg(feature = "objects")]
        Parts::Folder(path) => {
            let blobs = ObjectBlobs::folder(path.as_ref())
                .map_err(|e| AddressError { address: address.into(), reason: e.to_string() })?;
            Ok(Arc::new(BlobStore::new(address, blobs)))
        }
        #[cfg(not(feature = "objects"))]
        Parts::Folder(_) => Err(missing(address, "objects")),
        #[cfg(not(feature = "s3"))]
        Parts::Bucket => Err(missing(address, "s3")),
        #[cfg(feature = "s3")]
        Parts::Bucket => {
            let blobs = ObjectBlobs::s3(address)
                .map_err(|e| AddressError { address: address.into(), reason: e.to_string() })?;
            Ok(Arc::new(BlobStore::new(address, blobs)))
        }
    }
}

/// One of our own nodes.
///
/// # Errors
/// [`AddressError`] where the address is none, or that of another kind of store.
pub fn connect_node(
    address: &str,
    options: NodeOptions,
    credentials: Option<&Credentials>,
) -> Result<NodeStore, AddressError> {
    let wrong = |reason| AddressError { address: address.into(), reason };
    match parts(address)? {
        Parts::Node => Ok(NodeStore::new(address, options)),
        Parts::Tls { server, key } => {
            let credentials = match credentials {
                Some(credentials) => credentials.clone(),
                None => stranger().map_err(wrong)?,
            };
            Ok(NodeStore::with_tls(address, server, key, credentials, options))
        }
        _ => Err(wrong("only our own nodes answer this".into())),
    }
}

/// The credentials of somebody who comes once.
fn stranger() -> Result<Credentials, String> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut seed[..]).map_err(|e| format!("no random bytes for a key: {e}"))?;
    Ok(Credentials::anonymous(Identity::from_seed(seed)))
}

#[cfg(not(feature = "s3"))]
fn missing(address: &str, feature: &str) -> AddressError {
    let reason = format!("this build has no such stores: build it with `--features {feature}`");
    AddressError { address: address.into(), reason }
}

fn parts(address: &str) -> Result<Parts<'_>, AddressError> {
    let wrong = |reason: &str| AddressError { address: address.into(), reason: reason.into() };
    let Some((scheme, rest)) = address.split_once("://") else {
        return if is_server(address) { Ok(Parts::Node) } else { Err(wrong(FORMS)) };
    };
    match scheme {
        "tls" => {
            let (server, key) = rest.split_once('/').unwrap_or((rest, ""));
            if !is_server(server) {
                return Err(wrong("its server is not HOST:PORT"));
            }
            match key.parse() {
                Ok(key) => Ok(Parts::Tls { server, key }),
                Err(e) => Err(wrong(&format!("its key, tls://HOST:PORT/KEY: {e}"))),
            }
        }
        "zdb" => {
            let (server, namespace) = rest.split_once('/').unwrap_or((rest, ""));
            if !is_server(server) {
                return Err(wrong("its server is not HOST:PORT"));
            }
            let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if namespace.is_empty() || namespace.len() > 128 || !namespace.bytes().all(good) {
                return Err(wrong("name a namespace of that server: zdb://HOST:PORT/NAMESPACE"));
            }
            Ok(Parts::Zdb { server, namespace })
        }
        "file" if rest.starts_with('/') && rest.len() > 1 => Ok(Parts::Folder(rest)),
        "file" => Err(wrong("a folder begins with a slash: file:///FOLDER")),
        "s3" if rest.split('/').next().is_some_and(|bucket| !bucket.is_empty()) => {
            Ok(Parts::Bucket)
        }
        "s3" => Err(wrong("name a bucket: s3://BUCKET/PREFIX")),
        _ => Err(wrong(FORMS)),
    }
}

fn is_server(address: &str) -> bool {
    let parts =
        address.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
    parts.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_nowhere_is_refused_with_what_would_be_right() {
        for good in [
            "10.0.0.1:9900",
            "[::1]:9900",
            "node.example:1",
            "zdb://10.0.0.1:9900/prune-1",
            "tls://node.example:9900/abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcd",
            "file:///disk1/shards",
            "s3://bucket",
            "s3://bucket/a/b",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("nonsense", "write HOST:PORT"),
            ("host:0", "write HOST:PORT"),
            ("ftp://host:1/x", "write HOST:PORT"),
            ("zdb://host/x", "its server is not HOST:PORT"),
            ("zdb://host:9900", "name a namespace"),
            ("zdb://host:9900/a b", "name a namespace"),
            ("tls://host:9900", "expected 64 hex digits, found 0"),
            ("tls://host/abcd", "its server is not HOST:PORT"),
            ("tls://host:9900/abcx", "expected 64 hex digits, found 4"),
            ("file://relative", "begins with a slash"),
            ("s3:///x", "name a bucket"),
        ] {
            let error = check_address(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{bad}` is not a node")), "{error}");
            assert!(error.contains(why), "{error}");
        }
        #[cfg(feature = "objects")]
        let error = connect("file:///proc/none/of/it", NodeOptions::default()).unwrap_err();
        #[cfg(feature = "objects")]
        assert!(error.reason.contains("cannot use the folder"), "{error}");
    }
}
