//! Plain HTTP: how a test asks a server what is so.

use std::sync::Once;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// A client that knows nothing of patrold.
#[derive(Clone, Debug)]
pub struct Wire(Client);

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Null where it is no JSON.
    pub body: Value,
    pub text: String,
}

impl Reply {
    /// The body of an answer that has to be a success.
    #[track_caller]
    pub fn good(self) -> Value {
        assert!((200..300).contains(&self.status), "HTTP {}: {}", self.status, self.body);
        self.body
    }
}

impl Wire {
    pub fn new() -> Self {
        static TLS: Once = Once::new();
        // The client wants one, although no address here is https.
        TLS.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let policy = reqwest::redirect::Policy::none();
        let client = Client::builder().no_proxy().redirect(policy).timeout(Duration::from_secs(120));
        Self(client.build().unwrap())
    }

    /// A request with these headers.
    pub async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Reply {
        self.finish(self.request(method, url, headers)).await
    }

    /// A request with a JSON body.
    pub async fn send_json(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let request = self.request(method, url, headers).header("Content-Type", "application/json");
        self.finish(request.body(body.to_string())).await
    }

    /// A form, as its encoded text.
    pub async fn send_form(&self, url: &str, form: String) -> Reply {
        let request = self.request(Method::POST, url, &[("Content-Type", "application/x-www-form-urlencoded")]);
        self.finish(request.body(form)).await
    }

    /// A body that has its type among the headers.
    pub async fn send_text(&self, method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Reply {
        self.finish(self.request(method, url, headers).body(body)).await
    }

    fn request(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> RequestBuilder {
        headers.iter().fold(self.0.request(method, url), |request, (name, value)| request.header(*name, *value))
    }

    async fn finish(&self, request: RequestBuilder) -> Reply {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        Reply { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null), text }
    }
}
