//! Requests and responses of JSON-RPC 2.0, and of 1.0 as Bitcoin Core speaks it. No I/O.
//!
//! ```text
//! {"jsonrpc": "2.0", "method": "m", "params": [...] | {...}, "id": 1}   without "id": nobody waits for an answer
//! {"method": "m", "params": [...], "id": any}                          1.0: always answered
//! {"jsonrpc": "2.0", "result": ... | "error": {...}, "id": 1}
//! {"result": ... | null, "error": null | {...}, "id": any}              1.0
//! [request, ...] --> [response, ...]
//! ```

use hyper::header::HeaderValue;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt::Write as _};

/// Most calls of a batch.
pub(crate) const BATCH_CALLS_MAX: usize = 1000;

/// Which JSON-RPC a call speaks; it is answered in the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Without a "jsonrpc" member, or an older one.
    One,
    /// 2.0.
    Two,
}

/// One call that is well-formed.
#[derive(Clone, Debug)]
pub struct Call {
    /// How to answer it.
    pub version: Version,
    /// By which the client knows the answer; `None` if it wants none.
    pub id: Option<Box<RawValue>>,
    /// What is asked.
    pub method: String,
    /// Its arguments, an array or an object.
    pub params: Option<Box<RawValue>>,
    /// How the client names itself to the node.
    pub authorization: Option<Authorization>,
}

/// A client's credentials, as it sent them; not looked at, and never shown.
#[derive(Clone, Debug)]
pub struct Authorization(pub(crate) HeaderValue);

impl Authorization {
    pub(crate) fn of(value: &HeaderValue) -> Self {
        let mut value = value.clone();
        value.set_sensitive(true);
        Self(value)
    }
}

impl Call {
    /// The arguments given by position; none if they are given by name.
    pub fn positional(&self) -> Vec<&RawValue> {
        let params = self.params.as_deref().map_or("[]", RawValue::get);
        serde_json::from_str(params).unwrap_or_default()
    }

    /// An argument, by position or by name; `null` is none.
    pub fn argument(&self, position: usize, name: &str) -> Option<&RawValue> {
        let params = self.params.as_deref()?.get();
        let found = match params.starts_with('[') {
            true => self.positional().get(position).copied(),
            false => {
                let named: Vec<(Cow<'_, str>, &RawValue)> = members(params).ok()?;
                named.into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
            }
        };
        found.filter(|value| value.get() != "null")
    }

    /// Appends the call as a member of a batch, under another id.
    pub(crate) fn write_as(&self, id: usize, out: &mut String) {
        out.push('{');
        if self.version == Version::Two {
            out.push_str(r#""jsonrpc":"2.0","#);
        }
        if self.id.is_some() {
            // cannot fail: it is a string
            _ = write!(out, r#""id":{id},"#);
        }
        out.push_str(r#""method":"#);
        out.push_str(&serde_json::Value::from(self.method.as_str()).to_string());
        if let Some(params) = &self.params {
            out.push_str(r#","params":"#);
            out.push_str(params.get());
        }
        out.push('}');
    }
}

/// What a request's body is.
#[derive(Debug)]
pub(crate) enum Request {
    /// One call, or what is wrong with it.
    One(Result<Call, Malformed>),
    /// Several, at least one.
    Batch(Vec<Result<Call, Malformed>>),
}

/// A call that is none.
#[derive(Debug)]
pub(crate) struct Malformed {
    pub(crate) version: Version,
    /// as far as it can be read
    pub(crate) id: Option<Box<RawValue>>,
    pub(crate) error: ErrorObject,
}

impl Malformed {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { version: Version::Two, id: None, error: ErrorObject::new(code, message) }
    }
}

/// Why a call has no result.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ErrorObject {
    /// What kind of error.
    pub code: i64,
    /// What happened, in a sentence.
    pub message: String,
    /// More, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

impl ErrorObject {
    /// Not JSON.
    pub const PARSE: i64 = -32700;
    /// JSON, but no request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// Arguments that the method does not take.
    pub const INVALID_PARAMS: i64 = -32602;
    /// Something of ours failed.
    pub const INTERNAL: i64 = -32603;
    /// What stands behind cannot be reached.
    pub const UNAVAILABLE: i64 = -32002;
    /// More than is answered at once.
    pub const LIMIT_EXCEEDED: i64 = -32005;

    /// An error with no more than its message.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Arguments that the method does not take.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_PARAMS, message)
    }

    /// The same with something for programs.
    #[must_use]
    pub fn with_data(self, data: serde_json::Value) -> Self {
        Self { data: Some(data), ..self }
    }
}

/// Reads a request's body.
pub(crate) fn read_request(body: &[u8]) -> Request {
    let not_json = |error: &dyn std::fmt::Display| {
        Request::One(Err(Malformed::new(ErrorObject::PARSE, format!("parse error: {error}"))))
    };
    // all of it, so that a batch with a fault in its middle is no batch
    let whole: &RawValue = match serde_json::from_slice(body) {
        Ok(whole) => whole,
        Err(error) => return not_json(&error),
    };
    if !whole.get().starts_with('[') {
        return Request::One(read_call(whole));
    }
    let calls: Vec<&RawValue> = match serde_json::from_str(whole.get()) {
        Ok(calls) => calls,
        Err(error) => return not_json(&error),
    };
    let refused = |code, message: String| Request::One(Err(Malformed::new(code, message)));
    match calls.len() {
        0 => refused(ErrorObject::INVALID_REQUEST, "invalid request: an empty batch".into()),
        1..=BATCH_CALLS_MAX => Request::Batch(calls.into_iter().map(read_call).collect()),
        count => refused(
            ErrorObject::INVALID_REQUEST,
            format!("a batch of {count} calls: at most {BATCH_CALLS_MAX} are answered"),
        ),
    }
}

#[derive(Deserialize)]
struct RawCall<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// Tells a `null` from nothing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn read_call(raw: &RawValue) -> Result<Call, Malformed> {
    let refused = |message: &str| Malformed::new(ErrorObject::INVALID_REQUEST, message);
    if !raw.get().starts_with('{') {
        return Err(refused("invalid request: not an object"));
    }
    let call: RawCall<'_> = serde_json::from_str(raw.get())
        .map_err(|error| refused(&format!("invalid request: {error}")))?;
    let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
    let version = match call.jsonrpc.map(text) {
        None => Version::One,
        Some(Some(version)) if version == "2.0" => Version::Two,
        Some(Some(version)) if version.starts_with("1.") => Version::One,
        Some(_) => return Err(refused("invalid request: \"jsonrpc\" is not \"2.0\"")),
    };
    let id = match (version, call.id) {
        (Version::One, id) => Some(id.unwrap_or(RawValue::NULL)),
        (Version::Two, Some(id)) if matches!(id.get().as_bytes()[0], b'{' | b'[' | b't' | b'f') => {
            return Err(refused("invalid request: \"id\" is neither a string nor a number"));
        }
        (Version::Two, id) => id,
    };
    let id = id.map(ToOwned::to_owned);
    let refused = |message: &str| Malformed { version, id: id.clone(), ..refused(message) };
    let method =
        call.method.and_then(text).ok_or_else(|| refused("invalid request: no \"method\""))?;
    let params = match call.params {
        Some(params) if params.get().starts_with(['[', '{']) => Some(params.to_owned()),
        Some(params) if params.get() != "null" => {
            return Err(refused("invalid request: \"params\" is neither an array nor an object"));
        }
        _ => None,
    };
    Ok(Call { version, id, method, params, authorization: None })
}

/// The members of an object, in order.
fn members(object: &str) -> serde_json::Result<Vec<(Cow<'_, str>, &RawValue)>> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((Key(key), value)) = map.next_entry()? {
                members.push((key, value));
            }
            Ok(members)
        }
    }
    #[derive(Deserialize)]
    struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::Deserializer::from_str(object).deserialize_map(Members)
}

/// A response, as it comes from a node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Response<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

impl<'a> Response<'a> {
    /// Reads one.
    pub(crate) fn read(body: &'a [u8]) -> serde_json::Result<Self> {
        let raw: &RawValue = serde_json::from_slice(body)?;
        // serde would take an array for an object without names
        match raw.get().starts_with('{') {
            true => serde_json::from_str(raw.get()),
            false => Err(serde::de::Error::custom("not an object")),
        }
    }

    /// Reads those of a batch.
    pub(crate) fn read_batch(body: &'a [u8]) -> serde_json::Result<Vec<Self>> {
        let members: Vec<&RawValue> = serde_json::from_slice(body)?;
        members.into_iter().map(|member| Self::read(member.get().as_bytes())).collect()
    }

    /// The result, or the error; `None` if it has neither and so is no response.
    pub(crate) fn outcome(&self) -> Option<Result<&'a RawValue, &'a RawValue>> {
        match (self.result, self.error.filter(|error| error.get() != "null")) {
            (_, Some(error)) => Some(Err(error)),
            (Some(result), None) => Some(Ok(result)),
            (None, None) => None,
        }
    }

    /// Whether it answers the call with this id. An error may have none, when the node could not read it.
    pub(crate) fn answers(&self, id: &RawValue) -> bool {
        let value = |id: &RawValue| serde_json::from_str::<serde_json::Value>(id.get()).ok();
        match self.id {
            Some(own) if own.get() == id.get() => true,
            None => self.outcome().is_some_and(|outcome| outcome.is_err()),
            Some(own) if own.get() == "null" => {
                self.outcome().is_some_and(|outcome| outcome.is_err())
            }
            Some(own) => value(own).is_some_and(|own| Some(own) == value(id)),
        }
    }
}

/// Appends a response.
pub(crate) fn write_response(
    version: Version,
    id: Option<&RawValue>,
    outcome: Result<&RawValue, &RawValue>,
    out: &mut String,
) {
    let id = id.map_or("null", RawValue::get);
    let parts = match (version, outcome) {
        (Version::Two, Ok(result)) => {
            [r#"{"jsonrpc":"2.0","result":"#, result.get(), r#","id":"#, id]
        }
        (Version::Two, Err(error)) => {
            [r#"{"jsonrpc":"2.0","error":"#, error.get(), r#","id":"#, id]
        }
        (Version::One, Ok(result)) => [r#"{"result":"#, result.get(), r#","error":null,"id":"#, id],
        (Version::One, Err(error)) => [r#"{"result":null,"error":"#, error.get(), r#","id":"#, id],
    };
    parts.iter().for_each(|part| out.push_str(part));
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The id and the error of what is malformed.
    fn refused(body: &str) -> (Option<String>, i64) {
        match read_request(body.as_bytes()) {
            Request::One(Err(bad)) => (bad.id.map(|id| id.get().into()), bad.error.code),
            other => panic!("{body}: {other:?}"),
        }
    }

    fn call(body: &str) -> Call {
        match read_request(body.as_bytes()) {
            Request::One(Ok(call)) => call,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn every_malformed_kind() {
        let none = |code| (None, code);
        let cases = [
            ("", none(-32700)),
            ("{", none(-32700)),
            ("nul", none(-32700)),
            (r#"{"jsonrpc":"2.0","method":"foobar,"params":"bar"}"#, none(-32700)),
            (r#"{"method":"m","id":1} x"#, none(-32700)),
            (r#"[{"jsonrpc":"2.0","method":"m","id":1},{"jsonrpc":"2.0","method"]"#, none(-32700)),
            ("\u{feff}{}", none(-32700)),
            ("1", none(-32600)),
            ("null", none(-32600)),
            (r#""text""#, none(-32600)),
            ("[]", none(-32600)),
            ("{}", (Some("null".into()), -32600)),
            (r#"{"jsonrpc":"2.0","method":1,"params":"bar"}"#, none(-32600)),
            (r#"{"jsonrpc":"2.0","method":"m","params":"bar","id":7}"#, (Some("7".into()), -32600)),
            (r#"{"jsonrpc":"2.0","id":"x"}"#, (Some(r#""x""#.into()), -32600)),
            (r#"{"jsonrpc":"2.0","method":"m","id":{}}"#, none(-32600)),
            (r#"{"jsonrpc":"2.0","method":"m","id":true}"#, none(-32600)),
            (r#"{"jsonrpc":"3.0","method":"m","id":1}"#, none(-32600)),
            (r#"{"jsonrpc":2,"method":"m","id":1}"#, none(-32600)),
            (r#"{"jsonrpc":"2.0","method":"a","method":"b","id":1}"#, none(-32600)),
        ];
        for (body, expected) in cases {
            assert_eq!(refused(body), expected, "{body}");
        }
        let long = vec![r#"{"method":"m"}"#; BATCH_CALLS_MAX + 1].join(",");
        assert_eq!(refused(&format!("[{long}]")), none(-32600));
        let deep = "[".repeat(100_000);
        assert_eq!(refused(&deep).1, -32700);
    }

    #[test]
    fn well_formed_calls() {
        let two = call(
            r#" {"id":null,"params":[1,"a",null],"method":"m\u0041","jsonrpc":"2.0","more":0}"#,
        );
        assert_eq!((two.version, two.method.as_str()), (Version::Two, "mA"));
        assert_eq!(two.id.as_ref().unwrap().get(), "null");
        assert_eq!(two.argument(0, "").unwrap().get(), "1");
        assert!(two.argument(2, "").is_none() && two.argument(3, "").is_none());
        let notification = call(r#"{"jsonrpc":"2.0","method":"m","params":null}"#);
        assert!(notification.id.is_none() && notification.params.is_none());
        let one = call(r#"{"method":"m","params":{"h":1,"\u0068ash":[2.50]}}"#);
        assert_eq!((one.version, one.id.as_ref().unwrap().get()), (Version::One, "null"));
        assert_eq!(one.argument(0, "hash").unwrap().get(), "[2.50]");
        let mut written = String::new();
        one.write_as(3, &mut written);
        assert_eq!(written, r#"{"id":3,"method":"m","params":{"h":1,"\u0068ash":[2.50]}}"#);
    }

    #[test]
    fn a_batch_has_its_faults_in_their_places() {
        let Request::Batch(calls) =
            read_request(br#"[1,{"jsonrpc":"2.0","method":"m","id":2},[],{"foo":"boo"}]"#)
        else {
            panic!("no batch")
        };
        let faults: Vec<bool> = calls.iter().map(Result::is_err).collect();
        assert_eq!(faults, [true, false, true, true]);
    }

    #[test]
    fn responses_are_known_by_their_ids() {
        let answers = |response: &str, id: &str| {
            let id = RawValue::from_string(id.into()).unwrap();
            Response::read(response.as_bytes()).unwrap().answers(&id)
        };
        assert!(answers(r#"{"result":null,"id":1}"#, "1"));
        assert!(answers(r#"{"result":0,"id":"\u0061"}"#, r#""a""#));
        assert!(answers(r#"{"error":{"code":1},"id":null}"#, "1"));
        assert!(!answers(r#"{"result":0,"id":null}"#, "1"));
        assert!(!answers(r#"{"result":0,"id":"1"}"#, "1"));
        let nothing: Response<'_> = serde_json::from_str(r#"{"error":null,"id":1}"#).unwrap();
        assert!(nothing.outcome().is_none());
        assert!(
            Response::read(b"[1,0,null]").is_err() && Response::read_batch(b"[[1,0]]").is_err()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_request(&bytes);
        }

        #[test]
        fn anything_like_a_request_never_panics(text in r#"[\[\]{}:,"a-c0-9n\\u ]{0,60}|\{("(id|method|params|jsonrpc)":("2.0"|1|null|\[\]|\{\}|"m"),?){0,5}\}"#) {
            if let Request::One(Ok(call)) = read_request(text.as_bytes()) {
                let _ = call.argument(0, "a");
                let mut written = String::new();
                call.write_as(0, &mut written);
                let _: &RawValue = serde_json::from_str(&written).unwrap();
            }
        }
    }
}
