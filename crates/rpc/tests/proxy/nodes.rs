//! Nodes that lie, are slow, or are not there; and what a node is told about who asks.

use crate::common::{Stage, ok, proxy, raw, status};
use prunedb_rpc::{CallError, Caller, Upstream, UpstreamError};
use std::time::Duration;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, runtime::Handle};

const NEW: &str = r#"{"jsonrpc":"2.0","id":1,"method":"new"}"#;
const BOTH: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"new"},{"jsonrpc":"2.0","id":2,"method":"old"},{"jsonrpc":"2.0","id":3,"method":"new"}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_becomes_an_error_that_says_so() {
    for (lie, code, reason) in [
        (r#"{"jsonrpc":"2.0","id":2,"result":0}"#, 502, "answers something else"),
        (r#"{"jsonrpc":"2.0","id":null,"result":0}"#, 502, "answers something else"),
        (r#"{"jsonrpc":"2.0","id":1}"#, 502, "answers something else"),
        ("", 502, "no JSON-RPC response"),
        ("null", 502, "no JSON-RPC response"),
        ("[]", 502, "no JSON-RPC response"),
        (r#"{"jsonrpc":"2.0","id":1,"result":0"#, 502, "no JSON-RPC response"),
        ("<html>", 401, "HTTP 401 Unauthorized"),
    ] {
        let stage = Stage::new(move |_| status(if code == 401 { 401 } else { 200 }, lie)).await;
        let (found, answer) = stage.post(NEW).await;
        assert_eq!(found, code, "{lie}: {answer}");
        assert!(answer.contains("-32002") && answer.contains(reason), "{lie}: {answer}");
        let (found, answer) = stage.post(BOTH).await;
        assert_eq!(found, 200);
        let answers: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answers[1]["result"][0], "archived");
        assert!(
            answers[0]["error"]["code"] == -32002 && answers[2]["error"]["code"] == -32002,
            "{answers}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_answered_in_part() {
    let members = r#"[{"id":2,"result":"for nobody"},{"id":7,"result":0},{"id":"0","result":0},7]"#;
    let stage = Stage::new(move |_| ok(members)).await;
    let (_, answer) = stage.post(BOTH).await;
    // one member is no response at all: none is believed
    assert_eq!(answer.matches("-32002").count(), 2, "{answer}");
    let members = r#"[{"id":2,"result":"third"},{"id":2,"result":"again"},{"id":7,"result":0}]"#;
    let stage = Stage::new(move |_| ok(members)).await;
    let (_, answer) = stage.post(BOTH).await;
    let answers: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answers[2]["result"], &answers[2]["id"]), (&"third".into(), &3.into()));
    assert!(answers[0]["error"]["message"].as_str().unwrap().contains("leaves this call out"));
    let stage =
        Stage::new(|_| ok(r#"{"error":{"code":-32600,"message":"batch too large"},"id":null}"#))
            .await;
    let (_, answer) = stage.post(BOTH).await;
    assert_eq!(answer.matches("batch too large").count(), 2, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_and_one_that_sends_too_much() {
    let slow = |_: &str| {
        let mut response = ok(r#"{"id":1,"result":0}"#);
        response.headers_mut().insert("pause-ms", "60000".parse().unwrap());
        response
    };
    let stage = Stage::new(slow).await;
    let (code, answer) = stage.post(NEW).await;
    assert!(code == 504 && answer.contains("did not answer within 0.5 s"), "{answer}");
    let stage = Stage::new(|_| ok(" ".repeat((64 << 20) + 1))).await;
    let (code, answer) = stage.post(NEW).await;
    assert!(code == 502 && answer.contains("more than 67108864 bytes"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_or_breaks_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let proxy = proxy(upstream).await;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{NEW}",
        NEW.len()
    );
    let breaks_off = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":1,")
            .await
            .unwrap();
        // and the listener goes, too
    });
    let (code, answer) = raw(proxy.local_addr(), request.as_bytes()).await;
    assert!(code == 502 && answer.contains("cannot be reached"), "{answer}");
    breaks_off.await.unwrap();
    let (code, answer) = raw(proxy.local_addr(), request.as_bytes()).await;
    assert!(code == 502 && answer.contains("refused"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks() {
    let script = |_: &str| ok(r#"{"id":1,"result":0}"#);
    let stage = Stage::new(script).await;
    stage.post(NEW).await;
    stage.post_with("authorization: Basic Y2xpZW50\r\n", NEW).await;
    assert_eq!(stage.heard_authorization(), [None, Some("Basic Y2xpZW50".into())]);
    let stage = Stage::with_credentials("me:pw@", script).await;
    stage.post_with("authorization: Basic Y2xpZW50\r\n", NEW).await;
    assert_eq!(stage.heard_authorization(), [Some("Basic bWU6cHc=".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_hears_results_and_refusals() {
    let stage = Stage::new(|body| match body.starts_with('[') {
        true => ok(r#"[{"id":1,"result":"b"},{"id":0,"result":null}]"#),
        false => ok(r#"{"id":0,"error":{"code":-32601,"message":"no"}}"#),
    })
    .await;
    let url = format!("http://{}", stage.node.local_addr());
    let upstream = Upstream::new(&url).unwrap().with_patience(Duration::from_secs(5));
    let caller = Caller::new(upstream, Handle::current());
    tokio::task::spawn_blocking(move || {
        assert!(caller.batch::<[u8; 0]>(&[]).unwrap().is_empty());
        let refused = caller.call("eth_x", [1]).unwrap_err();
        assert!(
            matches!(&refused, CallError::Refused { method, .. } if method == "eth_x"),
            "{refused}"
        );
        let both = caller.batch(&[("a", [1]), ("b", [2])]).unwrap();
        assert_eq!(both.iter().map(|result| result.get()).collect::<Vec<_>>(), ["null", r#""b""#]);
        let three = caller.batch(&[("a", [1]), ("b", [2]), ("c", [3])]).unwrap_err();
        assert!(
            matches!(three, CallError::Upstream(UpstreamError::NotAResponse { .. })),
            "{three}"
        );
    })
    .await
    .unwrap();
}
