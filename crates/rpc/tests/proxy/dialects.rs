//! JSON-RPC 2.0 and 1.0, single and in batches.

use crate::common::{Stage, ok, status};

/// Answers every call of a batch in reverse order, with its method as the result.
fn echo(body: &str) -> hyper::Response<prunedb_rpc::Body> {
    let calls: serde_json::Value = serde_json::from_str(body).unwrap();
    let answer = |call: &serde_json::Value| {
        let id = call.get("id")?;
        Some(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"z":1.0,"a":{}}}}}"#,
            call["method"]
        ))
    };
    match calls.as_array() {
        None => ok(answer(&calls).unwrap_or_default()),
        Some(calls) => {
            let answers: Vec<_> = calls.iter().rev().filter_map(answer).collect();
            ok(format!("[{}]", answers.join(",")))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_the_archive_never_reaches_the_node() {
    let stage = Stage::new(echo).await;
    let old = r#"{"jsonrpc":"2.0","id":"q","method":"old","params":[12.50]}"#;
    assert_eq!(
        stage.post(old).await,
        (200, r#"{"jsonrpc":"2.0","result":["archived",12.50],"id":"q"}"#.into())
    );
    let damaged = stage.post(r#"{"jsonrpc":"2.0","id":1,"method":"damaged"}"#).await;
    let expected =
        r#"{"jsonrpc":"2.0","error":{"code":4444,"message":"block 7 is damaged"},"id":1}"#;
    assert_eq!(damaged, (200, expected.into()));
    let (code, failed) = stage.post(r#"{"jsonrpc":"2.0","id":1,"method":"panic"}"#).await;
    assert!(code == 200 && failed.contains("-32603"), "{failed}");
    assert_eq!(stage.heard(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_is_not_touched() {
    let answer = r#" { "id" : 1e0, "result":{"big":123456789012345678901234567890,"f":1.50,"a":1,"a":2}, "jsonrpc":"2.0" } "#;
    let stage = Stage::new(move |_| ok(answer)).await;
    let asked = r#" {"method":"new","params":[1.0e3],"id":1.0,"jsonrpc":"2.0","extra":{}} "#;
    assert_eq!(stage.post(asked).await, (200, answer.into()));
    assert_eq!(stage.heard(), [asked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_to_both_and_keeps_its_order() {
    let stage = Stage::new(echo).await;
    let (code, answer) = stage
        .post(
            r#"[{"jsonrpc":"2.0","id":1,"method":"new"},{"jsonrpc":"2.0","id":1,"method":"old"},
                {"jsonrpc":"2.0","method":"tell","params":[5]},{"jsonrpc":"2.0","method":"old"},"x",
                {"id":["any"],"method":"newer","params":{"k":2.0}},{"jsonrpc":"2.0","id":"p","method":"panic"}]"#,
        )
        .await;
    assert_eq!(code, 200);
    assert_eq!(
        answer,
        concat!(
            r#"[{"jsonrpc":"2.0","result":{"z":1.0,"a":"new"},"id":1},"#,
            r#"{"jsonrpc":"2.0","result":["archived",null],"id":1},"#,
            r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"invalid request: not an object"},"id":null},"#,
            r#"{"result":{"z":1.0,"a":"newer"},"error":null,"id":["any"]},"#,
            r#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"the archive failed while it looked for this"},"id":"p"}]"#,
        )
    );
    let sent = concat!(
        r#"[{"jsonrpc":"2.0","id":0,"method":"new"},{"jsonrpc":"2.0","method":"tell","params":[5]},"#,
        r#"{"id":5,"method":"newer","params":{"k":2.0}}]"#,
    );
    assert_eq!(stage.heard(), [sent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_notifications() {
    let stage = Stage::new(echo).await;
    let tell = r#"{"jsonrpc":"2.0","method":"tell"}"#;
    assert_eq!(stage.post(tell).await, (204, String::new()));
    assert_eq!(stage.post(&format!("[{tell},{tell}]")).await, (204, String::new()));
    assert_eq!(stage.heard(), [tell.to_owned(), format!("[{tell},{tell}]")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_dialect_is_answered_as_bitcoin_core_does() {
    let refusal = r#"{"result":null,"error":{"code":-5,"message":"no such block"},"id":"c"}"#;
    let stage = Stage::new(move |_| status(500, refusal)).await;
    let old = stage.post(r#"{"method":"old","params":[1],"id":"c"}"#).await;
    assert_eq!(old, (200, r#"{"result":["archived",1],"error":null,"id":"c"}"#.into()));
    let (code, damaged) = stage.post(r#"{"jsonrpc":"1.0","method":"damaged","id":"c"}"#).await;
    assert!(
        code == 500 && damaged.starts_with(r#"{"result":null,"error":{"code":4444"#),
        "{damaged}"
    );
    let (code, invalid) = stage.post(r#"{"method":7,"id":"c"}"#).await;
    assert!(code == 400 && invalid.ends_with(r#","id":"c"}"#), "{invalid}");
    assert_eq!(stage.post(r#"{"method":"new","id":"c"}"#).await, (500, refusal.into()));
}
