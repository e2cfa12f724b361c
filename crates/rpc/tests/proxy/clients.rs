//! Clients that send what they should not.

use crate::common::{Stage, ok, raw, read_response};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

const OLD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"old"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request() {
    let stage = Stage::new(|_| ok("")).await;
    let to = stage.proxy.local_addr();
    let get = raw(to, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(get, (405, "JSON-RPC comes by POST\n".into()));
    assert_eq!(raw(to, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.0, 400);
    let long = format!("POST / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    // it may hang up before all of it is sent
    let mut socket = TcpStream::connect(to).await.unwrap();
    _ = socket.write_all(long.as_bytes()).await;
    assert_eq!(read_response(&mut socket).await.0, 431);
    let (code, answer) = stage.post("{").await;
    assert!(
        code == 200 && answer.contains("-32700") && answer.ends_with(r#""id":null}"#),
        "{answer}"
    );
    assert_eq!(stage.heard(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_limit_announced_or_not() {
    let stage = Stage::new(|_| ok("")).await;
    let to = stage.proxy.local_addr();
    let announced =
        b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(raw(to, announced).await.0, 413);
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket
        .write_all(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    for _ in 0..10 {
        socket.write_all(chunk.as_bytes()).await.unwrap();
    }
    _ = socket.write_all(b"1\r\n \r\n0\r\n\r\n").await;
    assert_eq!(read_response(&mut socket).await.0, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_cannot_ask_in_disguise() {
    let stage = Stage::new(|_| ok("")).await;
    let page = "origin: http://evil.example\r\n";
    assert_eq!(stage.post_with(page, OLD).await.0, 415);
    let plain = format!("{page}content-type: text/plain\r\n");
    assert_eq!(stage.post_with(&plain, OLD).await.0, 415);
    let asked = format!("{page}content-type: application/json; charset=utf-8\r\n");
    assert_eq!(stage.post_with(&asked, OLD).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_one_request_after_another() {
    let stage = Stage::new(|_| ok("")).await;
    let request = |close: &str| {
        format!("POST / HTTP/1.1\r\nhost: x\r\n{close}content-length: {}\r\n\r\n{OLD}", OLD.len())
    };
    let all = [request(""), request(""), request("connection: close\r\n")].concat();
    let mut socket = TcpStream::connect(stage.proxy.local_addr()).await.unwrap();
    socket.write_all(all.as_bytes()).await.unwrap();
    let (_, answers) = read_response(&mut socket).await;
    assert_eq!(answers.matches("archived").count(), 3, "{answers}");
}
