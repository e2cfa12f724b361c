//! A server over a database on a disk and nodes in memory, and a client.

use bytes::BytesMut;
use prunedb_codec::{Key, LakeSecret};
use prunedb_disk::{Disk, faulty::FaultyDisk};
use prunedb_engine::{Db, Options};
use prunedb_server::{Server, ServerConfig};
use prunedb_store::{MemoryStore, ShardStore};
use prunedb_wire::{Limits, Reply, ReplyDecoder, put_array_head, put_bulk};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use tokio::runtime::Runtime;

pub(crate) struct World {
    pub(crate) disk: FaultyDisk,
    pub(crate) db: Db,
    pub(crate) address: SocketAddr,
    server: Option<Server>,
    runtime: Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let runtime = Runtime::new().unwrap();
        let names: Vec<String> = (0..3).map(|n| format!("node-{n}")).collect();
        let stores: Vec<MemoryStore> = names.iter().cloned().map(MemoryStore::new).collect();
        let connect = move |name: &str| {
            let store = stores.iter().find(|store| store.name() == name).unwrap();
            Arc::new(store.clone()) as Arc<dyn ShardStore>
        };
        let faulty = FaultyDisk::new(7);
        let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
        let secret = LakeSecret::new(Key::new([7; 32]));
        let options = Options::new("/db", "2+1".parse().unwrap());
        Db::create(&disk, &options, secret.lake_id(), names).unwrap();
        let db = Db::open(disk, options, secret, &connect, runtime.handle().clone()).unwrap();
        let mut config = ServerConfig::new((Ipv4Addr::LOCALHOST, 0).into());
        change(&mut config);
        let server = runtime.block_on(Server::start(config, db.clone())).unwrap();
        Self { disk: faulty, db, address: server.local_addr(), server: Some(server), runtime }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Ends the server, which then no longer holds the database.
    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    decoder: ReplyDecoder,
    input: BytesMut,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let limits =
            Limits { bulk_bytes_max: 70 << 20, message_bytes_max: 80 << 20, count_max: 1 << 16 };
        Self { socket, decoder: ReplyDecoder::new(limits), input: BytesMut::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next answer; `None` where the server has closed.
    pub(crate) fn answer(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.decoder.decode(&mut self.input).unwrap() {
                return Some(reply);
            }
            let mut bytes = vec![0; 64 << 10];
            match self.socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(read) => self.input.extend_from_slice(&bytes[..read]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// The next answer, an array of which an element may be an array: the decoder takes them one by one.
    pub(crate) fn answer_nested(&mut self) -> Vec<Reply> {
        let head = self.line();
        let count: usize = head.strip_prefix('*').unwrap().parse().unwrap();
        (0..count).map(|_| self.answer().unwrap()).collect()
    }

    fn line(&mut self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        assert!(self.input.is_empty());
        while !line.ends_with(b"\r\n") {
            self.socket.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().into()
    }

    pub(crate) fn call(&mut self, arguments: &[&str]) -> Reply {
        self.send(&request(arguments));
        self.answer().unwrap()
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, arguments: &[&str], says: &str) {
        match self.call(arguments) {
            Reply::Error(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                assert!(text.contains(says), "{arguments:?}: {text}");
            }
            other => panic!("{arguments:?}: {other:?}"),
        }
    }
}

pub(crate) fn request(arguments: &[&str]) -> BytesMut {
    let mut out = BytesMut::new();
    put_array_head(arguments.len(), &mut out);
    arguments.iter().for_each(|a| put_bulk(a.as_bytes(), &mut out));
    out
}

pub(crate) fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.to_owned().into())
}

pub(crate) fn simple(text: &str) -> Reply {
    Reply::Simple(text.to_owned().into())
}

pub(crate) fn bulks(texts: &[&str]) -> Reply {
    Reply::Array(texts.iter().map(|text| bulk(text)).collect())
}
