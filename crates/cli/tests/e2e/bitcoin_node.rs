//! A real Bitcoin node on regtest: the program that `BITCOIND` names.

use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a node may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program; `None`, and a line that says so, where it is not named.
pub(crate) fn program(test: &str) -> Option<PathBuf> {
    let program = std::env::var_os("BITCOIND").map(PathBuf::from);
    if program.is_none() {
        eprintln!("{test}: skipped, BITCOIND is not set (`cargo xtask bitcoind` builds one)");
    }
    program
}

/// A node; killed when dropped.
pub(crate) struct Bitcoind {
    child: Child,
    dir: PathBuf,
    rpc: SocketAddr,
}

impl Bitcoind {
    /// Starts it and waits until it answers. Its files are small: 64 KiB.
    #[track_caller]
    pub(crate) fn start(program: &Path, dir: &Path, more: &[&str]) -> Self {
        fs::create_dir_all(dir).unwrap();
        let (rpc, p2p) = (free_address(), free_address());
        let child = Command::new(program)
            .arg("-regtest")
            .arg(format!("-datadir={}", dir.display()))
            .arg(format!("-rpcport={}", rpc.port()))
            .arg(format!("-bind={p2p}"))
            .args(["-server", "-rest", "-listen", "-fastprune", "-dbcache=8", "-par=1"])
            .args(["-dnsseed=0", "-fixedseeds=0", "-discover=0", "-natpmp=0", "-printtoconsole=0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let node = Self { child, dir: dir.into(), rpc };
        until("it answers", || {
            node.cookie().is_some() && node.call("getblockcount", json!([])).is_ok()
        });
        node
    }

    /// Stops it as its operator does.
    pub(crate) fn stop(mut self) {
        self.get("stop", json!([]));
        assert!(self.child.wait().unwrap().success());
    }

    /// Where its JSON-RPC is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.rpc)
    }

    /// The file with the name and password for its JSON-RPC.
    pub(crate) fn cookie_file(&self) -> String {
        self.dir.join("regtest/.cookie").to_str().unwrap().into()
    }

    fn cookie(&self) -> Option<String> {
        fs::read_to_string(self.cookie_file()).ok()
    }

    /// A result, or the error.
    pub(crate) fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        self.call_at(self.rpc, method, params)
    }

    /// The same question to somebody else, named as to this node.
    pub(crate) fn call_at(
        &self,
        address: SocketAddr,
        method: &str,
        params: Value,
    ) -> Result<Value, Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = self.post(address, &request).ok_or("no answer")?;
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Posts a body with the node's cookie.
    pub(crate) fn post(&self, address: SocketAddr, body: &Value) -> Option<Value> {
        let credentials = base64(self.cookie()?.trim().as_bytes());
        let (_, body) = post(address, &credentials, &body.to_string())?;
        serde_json::from_str(&body).ok()
    }

    /// A result.
    #[track_caller]
    pub(crate) fn get(&self, method: &str, params: Value) -> Value {
        self.call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Its height.
    pub(crate) fn height(&self) -> u64 {
        self.get("getblockcount", json!([])).as_u64().unwrap()
    }

    /// The hash at a height.
    pub(crate) fn hash(&self, height: u64) -> String {
        self.get("getblockhash", json!([height])).as_str().unwrap().into()
    }

    /// Adds blocks whose coinbases pay to a descriptor; gives the coinbases' ids.
    pub(crate) fn mine(&self, count: u64, descriptor: &str) -> Vec<String> {
        let descriptor = &self.get("getdescriptorinfo", json!([descriptor]))["descriptor"];
        let hashes = self.get("generatetodescriptor", json!([count, descriptor]));
        let coinbase = |hash: &Value| self.get("getblock", json!([hash]))["tx"][0].clone();
        hashes
            .as_array()
            .unwrap()
            .iter()
            .map(|hash| coinbase(hash).as_str().unwrap().into())
            .collect()
    }

    /// A history with transactions that spend and pay in every usual way, up to this height; gives blocks that have some.
    pub(crate) fn make_history(&self, height: u64) -> Vec<String> {
        // the keys of the number 1, and what they sign
        const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        const LONG_KEY: &str = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
            483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
        const SECRETS: [&str; 2] = [
            "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA",
            "91avARGdfge8E4tZfYLoxeJ5sGBdNJQH4kvjJoQFacbgwmaKkrx",
        ];
        let x = &KEY[2..];
        let spendable = [
            "raw(51)".into(),
            format!("pk({KEY})"),
            format!("pk({LONG_KEY})"),
            format!("pkh({KEY})"),
            format!("wpkh({KEY})"),
            format!("multi(1,{KEY})"),
        ];
        let paid = [
            format!("pkh({KEY})"),
            format!("wpkh({KEY})"),
            format!("sh(wpkh({KEY}))"),
            format!("tr({x})"),
        ];
        let address = |descriptor: &String| {
            let info = self.get("getdescriptorinfo", json!([descriptor]));
            self.get("deriveaddresses", json!([info["descriptor"]]))[0].clone()
        };
        let addresses: Vec<Value> = paid.iter().map(address).collect();
        let coins: Vec<String> = spendable
            .iter()
            .chain(&spendable)
            .flat_map(|descriptor| self.mine(1, descriptor))
            .collect();
        self.mine(100, "raw(51)");
        let mut blocks = Vec::new();
        for (number, coins) in coins.chunks(2).enumerate() {
            let transactions = coins.iter().map(|txid| {
                let to = |at: usize| addresses[(number + at) % 4].as_str().unwrap().to_owned();
                let mut outputs = json!([{ "data": "00".repeat(number) + "6869" }]);
                for (at, amount) in [(0, "12.5"), (1, "0.00000546"), (2, "37.4")] {
                    outputs.as_array_mut().unwrap().push(json!({ to(at): amount }));
                }
                let inputs = json!([{ "txid": txid, "vout": 0, "sequence": number }]);
                let raw = self.get("createrawtransaction", json!([inputs, outputs, number]));
                self.get("signrawtransactionwithkey", json!([raw, SECRETS]))["hex"].clone()
            });
            let transactions: Value = transactions.collect();
            let made = self.get("generateblock", json!(["raw(51)", transactions]));
            blocks.push(made["hash"].as_str().unwrap().into());
        }
        self.mine(height - self.height(), "raw(51)");
        blocks
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Waits for something.
#[track_caller]
pub(crate) fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happens() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An address that was free just now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Posts a body; gives status and body of the answer.
pub(crate) fn post(address: SocketAddr, credentials: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {credentials}\r\nContent-Type: application/json\r\n\
        Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.into()))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]);
            out.push(if at <= three.len() { digit } else { '=' });
        }
    }
    out
}
