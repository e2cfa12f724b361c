//! The proxy: a request's calls, each answered by the chain's archive or by the node.
//!
//! A call that comes alone and is the node's goes there as it came, and its answer comes back as it is. Of a batch, those that are
//! the node's go there in one request, under numbers of ours, because the clients' own ids need not differ.

use crate::{
    chain::{Answer, Chain},
    http::{Body, Handler, full, json_type, plain, read_body},
    message::{
        Authorization, Call, ErrorObject, Malformed, Request as RpcRequest,
        Response as RpcResponse, Version, read_request, write_response,
    },
    upstream::{Reply, Upstream, UpstreamError},
};
use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, ORIGIN},
};
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use tokio::{sync::Semaphore, task::JoinSet};

/// Most bytes of a request.
const REQUEST_BYTES_MAX: usize = 10 << 20;
/// Most bytes of what the archive answers to one batch.
const ANSWERS_BYTES_MAX: usize = 64 << 20;
/// Lookups in the archive at a time; more wait.
const LOOKUPS_MAX: usize = 64;

/// Stands before a node and answers for it what is archived.
#[derive(Debug)]
pub struct Proxy<C> {
    chain: Arc<C>,
    upstream: Upstream,
    lookups: Arc<Semaphore>,
}

/// What a call came to: a result or an error.
type Outcome = Result<Box<RawValue>, Box<RawValue>>;

impl<C: Chain> Proxy<C> {
    /// A proxy before this node.
    pub fn new(chain: C, upstream: Upstream) -> Self {
        Self { chain: Arc::new(chain), upstream, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// Answers a request's body.
    async fn respond(&self, body: Bytes, authorization: Option<&HeaderValue>) -> Reply {
        let mut request = read_request(&body);
        let calls = match &mut request {
            RpcRequest::One(call) => std::slice::from_mut(call),
            RpcRequest::Batch(calls) => calls,
        };
        for call in calls.iter_mut().filter_map(|call| call.as_mut().ok()) {
            call.authorization = authorization.map(Authorization::of);
        }
        match request {
            RpcRequest::One(Ok(call)) => self.one(call, body, authorization).await,
            RpcRequest::One(Err(malformed)) => malformed_reply(&malformed),
            RpcRequest::Batch(calls) => self.batch(calls, authorization).await,
        }
    }

    async fn one(&self, call: Call, body: Bytes, authorization: Option<&HeaderValue>) -> Reply {
        let (call, answer) = self.look_up(call).await;
        let outcome = match answer {
            Answer::PassOn => match self.pass_on(&call, body, authorization).await {
                Ok(reply) => return reply,
                Err(error) => {
                    let status = match &error {
                        UpstreamError::NotAResponse { status, .. } if !status.is_success() => {
                            *status
                        }
                        UpstreamError::Slow { .. } => StatusCode::GATEWAY_TIMEOUT,
                        _ => StatusCode::BAD_GATEWAY,
                    };
                    return reply(&call, Err(error_json(&unavailable(&error))), status);
                }
            },
            answer => outcome(answer),
        };
        let failed = outcome.is_err() && call.version == Version::One;
        let status = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        reply(&call, outcome, status)
    }

    /// The node's answer, as it is, if it is one.
    async fn pass_on(
        &self,
        call: &Call,
        body: Bytes,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, UpstreamError> {
        let reply = self.upstream.post(body, authorization).await?;
        let Some(id) = &call.id else { return Ok(nothing()) };
        let response = RpcResponse::read(&reply.body)
            .map_err(|error| self.upstream.not_a_response(reply.status, error))?;
        match response.outcome() {
            Some(_) if response.answers(id) => Ok(reply),
            _ => Err(self.upstream.not_a_response(reply.status, "it answers something else")),
        }
    }

    async fn batch(
        &self,
        calls: Vec<Result<Call, Malformed>>,
        authorization: Option<&HeaderValue>,
    ) -> Reply {
        let mut answers: Vec<Option<Outcome>> = Vec::with_capacity(calls.len());
        answers.resize_with(calls.len(), || None);
        let mut wanted: Vec<Option<(Version, Option<Box<RawValue>>)>> =
            Vec::with_capacity(calls.len());
        let mut looking = JoinSet::new();
        for (index, call) in calls.into_iter().enumerate() {
            match call {
                Ok(call) => {
                    wanted.push(call.id.clone().map(|id| (call.version, Some(id))));
                    let looked = self.look_up(call);
                    looking.spawn(async move { (index, looked.await) });
                }
                Err(malformed) => {
                    wanted.push(Some((malformed.version, malformed.id)));
                    answers[index] = Some(Err(error_json(&malformed.error)));
                }
            }
        }
        let (mut passed_on, mut answered_bytes) = (Vec::new(), 0);
        while let Some(joined) = looking.join_next().await {
            // a lookup that panicked has said so, and its call stays unanswered
            let Ok((index, (call, answer))) = joined else { continue };
            match answer {
                Answer::PassOn => passed_on.push((index, call)),
                answer => {
                    let mut outcome = outcome(answer);
                    answered_bytes += outcome.as_ref().map_or(0, |result| result.get().len());
                    if answered_bytes > ANSWERS_BYTES_MAX {
                        outcome = Err(error_json(&ErrorObject::new(
                            ErrorObject::LIMIT_EXCEEDED,
                            format!(
                                "the batch's answers have more than {ANSWERS_BYTES_MAX} bytes: ask in smaller ones"
                            ),
                        )));
                    }
                    answers[index] = Some(outcome);
                }
            }
        }
        passed_on.sort_by_key(|&(index, _)| index);
        self.pass_on_all(&passed_on, authorization, &mut answers).await;
        let mut body = String::from("[");
        for (wanted, answer) in wanted.iter().zip(answers) {
            let Some((version, id)) = wanted else { continue };
            let answer = answer.unwrap_or_else(|| {
                let message = "the archive failed while it looked for this";
                Err(error_json(&ErrorObject::new(ErrorObject::INTERNAL, message)))
            });
            if body.len() > 1 {
                body.push(',');
            }
            let answer = answer.as_deref().map_err(|error| &**error);
            write_response(*version, id.as_deref(), answer, &mut body);
        }
        body.push(']');
        match body.len() {
            2 => nothing(),
            _ => Reply { status: StatusCode::OK, body: body.into() },
        }
    }

    /// Asks the node for all that it has to answer, in one request.
    async fn pass_on_all(
        &self,
        calls: &[(usize, Call)],
        authorization: Option<&HeaderValue>,
        answers: &mut [Option<Outcome>],
    ) {
        if calls.is_empty() {
            return;
        }
        let mut body = String::from("[");
        for (index, call) in calls {
            if body.len() > 1 {
                body.push(',');
            }
            call.write_as(*index, &mut body);
        }
        body.push(']');
        let failed = match self.upstream.post(body.into(), authorization).await {
            Ok(reply) if calls.iter().all(|(_, call)| call.id.is_none()) => {
                tracing::trace!(status = %reply.status, "notifications are passed on");
                return;
            }
            Ok(reply) => match self.take_answers(&reply, calls, answers) {
                Ok(()) => error_json(&unavailable(
                    &self.upstream.not_a_response(reply.status, "it leaves this call out"),
                )),
                Err(error) => error,
            },
            Err(error) => error_json(&unavailable(&error)),
        };
        for (index, _) in calls {
            answers[*index].get_or_insert_with(|| Err(failed.clone()));
        }
    }

    /// Gives each call its answer; the error is for all that have none.
    fn take_answers(
        &self,
        reply: &Reply,
        calls: &[(usize, Call)],
        answers: &mut [Option<Outcome>],
    ) -> Result<(), Box<RawValue>> {
        if let Ok(response) = RpcResponse::read(&reply.body)
            && let Some(Err(error)) = response.outcome()
        {
            return Err(error.to_owned()); // it refuses the batch
        }
        let responses = RpcResponse::read_batch(&reply.body).map_err(|error| {
            error_json(&unavailable(&self.upstream.not_a_response(reply.status, error)))
        })?;
        for response in &responses {
            let number = response.id.and_then(|id| id.get().parse::<usize>().ok());
            let Some(number) = number else { continue };
            let asked = calls.binary_search_by_key(&number, |&(index, _)| index);
            if let (Ok(_), Some(outcome)) = (asked, response.outcome()) {
                let outcome = outcome.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
                answers[number].get_or_insert(outcome);
            }
        }
        Ok(())
    }

    /// Looks in the archive, on a thread that may block.
    fn look_up(&self, call: Call) -> impl Future<Output = (Call, Answer)> + Send + use<C> {
        let (chain, lookups) = (Arc::clone(&self.chain), Arc::clone(&self.lookups));
        async move {
            let _place = lookups.acquire_owned().await;
            let asked = call.clone();
            let looked = tokio::task::spawn_blocking(move || chain.answer(&asked)).await;
            let answer = looked.unwrap_or_else(|_| {
                let message = "the archive failed while it looked for this";
                Answer::Error(ErrorObject::new(ErrorObject::INTERNAL, message))
            });
            (call, answer)
        }
    }
}

impl<C: Chain> Handler for Proxy<C> {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() != Method::POST {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "JSON-RPC comes by POST");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        // a web page can send anything but this without being asked whether it may
        let json = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let json =
            json.is_some_and(|value| value.to_ascii_lowercase().starts_with("application/json"));
        if request.headers().contains_key(ORIGIN) && !json {
            let message = "a request from a web page must be application/json";
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
        }
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let reply = match read_body(request.into_body(), REQUEST_BYTES_MAX).await {
            Ok(body) => self.respond(body, authorization.as_ref()).await,
            Err(response) => return *response,
        };
        let mut response = Response::new(full(reply.body));
        *response.status_mut() = reply.status;
        if reply.status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(CONTENT_TYPE, json_type());
        }
        response
    }
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Result(result) => Ok(result),
        Answer::Error(error) => Err(error_json(&error)),
        Answer::PassOn => unreachable!("those are passed on"),
    }
}

fn error_json(error: &ErrorObject) -> Box<RawValue> {
    to_raw_value(error).expect("strings and numbers")
}

fn unavailable(error: &UpstreamError) -> ErrorObject {
    tracing::warn!(%error, "the node does not answer");
    ErrorObject::new(
        ErrorObject::UNAVAILABLE,
        format!("not archived here, and the node does not answer: {error}"),
    )
}

/// The answer to a call that nobody waits for.
const fn nothing() -> Reply {
    Reply { status: StatusCode::NO_CONTENT, body: Bytes::new() }
}

fn reply(call: &Call, outcome: Outcome, status: StatusCode) -> Reply {
    let Some(id) = &call.id else { return nothing() };
    let mut body = String::new();
    write_response(call.version, Some(id), outcome.as_deref().map_err(|error| &**error), &mut body);
    Reply { status, body: body.into() }
}

fn malformed_reply(malformed: &Malformed) -> Reply {
    let status = match (malformed.version, malformed.error.code) {
        (Version::Two, _) => StatusCode::OK,
        (Version::One, _) => StatusCode::BAD_REQUEST,
    };
    let (error, mut body) = (error_json(&malformed.error), String::new());
    write_response(malformed.version, malformed.id.as_deref(), Err(&error), &mut body);
    Reply { status, body: body.into() }
}
