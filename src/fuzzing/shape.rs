//! What no value may change about a request.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::provider::Request;

/// Where `request` goes, how many pieces it has, and what they are called.
pub(crate) fn shape(request: &Request) -> Value {
    let segments = request.url.path_segments().map(Iterator::count);
    let query: Vec<String> = request.url.query_pairs().map(|(key, _)| key.into_owned()).collect();
    let headers: BTreeSet<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    let body = request.body.as_ref().map(|body| match serde_json::from_slice::<Value>(body) {
        Ok(json) => outline(&json),
        Err(_) => url::form_urlencoded::parse(body).map(|(key, _)| key.into_owned()).collect(),
    });
    let (method, origin) = (request.method.as_str(), request.url.origin().ascii_serialization());
    json!({
        "method": method, "origin": origin, "segments": segments, "query": query, "headers": headers, "body": body,
    })
}

fn outline(value: &Value) -> Value {
    match value {
        Value::Object(table) => table.iter().map(|(key, value)| (key.clone(), outline(value))).collect(),
        Value::Array(items) => items.iter().map(outline).collect(),
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => json!("leaf"),
    }
}
