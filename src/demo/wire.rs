//! Requests and answers as values, so that the three APIs are plain functions; and bodies that break off.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body::{Frame, SizeHint};
use serde_json::Value;

pub(super) const NOT_FOUND_PAGE: &str = "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Not Found</title>\n\
    </head>\n<body>\n  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n";

/// A complete request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub method: Method,
    /// Without the query, as sent.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A complete answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub content: Content,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Nothing,
    Json(Value),
    Html(&'static str),
    Text(&'static str),
}

/// What a request authenticates itself with.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    Bearer(String),
    Basic(String, String),
}

impl Call {
    /// The header `name` as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The last value of the query key `name`.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The content of the `Authorization` header, schemes in any case.
    pub(super) fn credential(&self) -> Option<Credential> {
        let (scheme, rest) = self.header(AUTHORIZATION.as_str())?.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Credential::Bearer(rest.trim().to_owned()));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            let (name, password) = text.split_once(':')?;
            return Some(Credential::Basic(name.to_owned(), password.to_owned()));
        }
        None
    }

    /// Whether the body is declared to be JSON.
    pub(super) fn is_json(&self) -> bool {
        self.header(CONTENT_TYPE.as_str())
            .and_then(|kind| kind.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    }
}

impl Answer {
    pub(super) fn json(status: u16, value: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(value) }
    }

    pub(super) fn html(status: u16, page: &'static str) -> Self {
        Self { status, headers: Vec::new(), content: Content::Html(page) }
    }

    pub(super) fn text(status: u16, text: &'static str) -> Self {
        Self { status, headers: Vec::new(), content: Content::Text(text) }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Nothing }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same answer with its JSON changed.
    #[must_use]
    pub(super) fn map_json(mut self, change: impl FnOnce(Value) -> Value) -> Self {
        if let Content::Json(value) = self.content {
            self.content = Content::Json(change(value));
        }
        self
    }

    /// The answer as bytes on the wire.
    pub(super) fn into_response(self) -> Response<Body> {
        self.into_response_with(Body::from)
    }

    /// As [`Self::into_response`], with the bytes of the body sent in another way.
    pub(super) fn into_response_with(self, send: impl FnOnce(Bytes) -> Body) -> Response<Body> {
        let (kind, bytes) = match self.content {
            Content::Nothing => (None, Bytes::new()),
            Content::Json(value) => (Some("application/json"), Bytes::from(value.to_string())),
            Content::Html(page) => (Some("text/html; charset=utf-8"), Bytes::from_static(page.as_bytes())),
            Content::Text(text) => (Some("text/plain; charset=utf-8"), Bytes::from_static(text.as_bytes())),
        };
        let mut response = Response::new(send(bytes));
        *response.status_mut() = self.status.try_into().unwrap_or_default();
        if let Some(kind) = kind {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in self.headers {
            // A value that came in with the request and cannot go out again is left out.
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// A body that announces more than it sends: after `sent` the connection breaks.
pub(super) struct Broken {
    sent: Option<Bytes>,
    announced: u64,
    paused: bool,
}

impl Broken {
    /// Sends the first half of `whole`.
    pub(super) fn half_of(whole: &Bytes) -> Body {
        let sent = whole.slice(..whole.len() / 2);
        Body::new(Self { sent: Some(sent), announced: (whole.len() as u64).max(1), paused: false })
    }
}

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(sent) = self.sent.take() {
            return Poll::Ready(Some(Ok(Frame::data(sent))));
        }
        if !self.paused {
            // An error drops what is still buffered; a pause lets the first half go out before.
            self.paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

/// A body of unannounced length: white space, in which a JSON document may still be about to begin.
pub(super) struct Huge {
    chunks_left: u32,
    chunk: Bytes,
}

impl Huge {
    const CHUNK: usize = 64 * 1024;

    /// `bytes` bytes, in whole chunks.
    pub(super) fn body(bytes: usize) -> Body {
        let chunks_left = u32::try_from(bytes / Self::CHUNK).unwrap_or(u32::MAX);
        Body::new(Self { chunks_left, chunk: Bytes::from(vec![b' '; Self::CHUNK]) })
    }
}

impl http_body::Body for Huge {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.chunks_left == 0 {
            return Poll::Ready(None);
        }
        self.chunks_left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }
}
