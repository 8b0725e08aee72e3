//! What templates come to, as fields of a JSON body.

use super::*;
use crate::document::Report;

/// The body that the field `x = TEMPLATE` makes of `given`; null where the field is dropped.
fn field(template: &str, given: &Given) -> Result<Value, String> {
    let text = format!(
        "[provider]\nname = \"t\"\n[params.list]\ntype = \"list\"\noptional = true\n[params.policy]\ntype = \"json\"\n\
         optional = true\n[params.text]\ntype = \"string\"\ndefault = \"d\"\n[auth.form.key]\nbasic = true\n[mint]\n\
         url = \"{{{{ base_url }}}}/t\"\njson = {{ x = {template}, y = [{template}] }}\ncapture = {{ secret = \"/s\" }}\n\
         [lifetime]\nround = \"hour\"\n"
    );
    let mut report = Report::new();
    let provider = definition::parse("t.toml", &text, &mut report).ok_or_else(|| report.render())?;
    let request = provider.render(Operation::Mint, &given.values()).map_err(|failure| failure.detail)?;
    let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
    let x = body.get("x").cloned().unwrap_or_default();
    assert_eq!(body["y"].get(0).cloned().unwrap_or_default(), x, "a list drops what a table drops");
    Ok(x)
}

#[test]
fn a_lone_expression_keeps_its_type_and_any_other_template_is_text() {
    let params = json!({ "list": ["a", 1], "policy": { "rules": [{ "allow": true }] } });
    let mut given = Given::new("https://h.example.com/", params);
    given.mint_request.lifetime = Some(Span::minutes(200));
    for (template, wanted) in [
        (r#""{{ params.list }}""#, json!(["a", 1])),
        (r#""{{ params.policy }}""#, json!({ "rules": [{ "allow": true }] })),
        (r#""{{ params.policy.rules }}""#, json!([{ "allow": true }])),
        (r#""list {{ params.list }}""#, json!("list [\"a\",1]")),
        (r#""{{ params.list | json }}""#, json!("[\"a\",1]")),
        ("7", json!(7)),
        ("true", json!(true)),
        ("{ deep = [1, \"{{ params.text }}\"] }", json!({ "deep": [1, "d"] })),
        (r#""{{ params.text }}-{{ params.text }}""#, json!("d-d")),
        (r#""{{ '}}' ~ params.text }}""#, json!("}}d")),
        (r#""{{ 'yes' if params.list else 'no' }}""#, json!("yes")),
        (r#""{{ base_url }}""#, json!("https://h.example.com")),
        // 200 minutes are three whole hours.
        (r#""{{ want.ttl }}""#, json!(10_800)),
        (r#""{{ want.ttl }}s""#, json!("10800s")),
        (r#""{{ want.ttl | hours }}""#, json!(3)),
        (r#""{{ want.ttl | days }}""#, json!(1)),
        (r#""{{ want.expires }}""#, json!("2030-01-02T06:04:05.000000000Z")),
        (r#""{{ want.expires | rfc3339 }}""#, json!("2030-01-02T06:04:05Z")),
        (r#""{{ want.expires | rfc3339(3) }}""#, json!("2030-01-02T06:04:05.000Z")),
        (r#""{{ want.expires | date }}""#, json!("2030-01-02")),
        (r#""{{ want.expires | naive_utc }}""#, json!("2030-01-02T06:04:05")),
        (r#""{{ want.expires | utc_text }}""#, json!("2030-01-02 06:04:05 UTC")),
        (r#""{{ want.expires | epoch }}""#, json!(1_893_564_245)),
        (r#""{{ want.expires | epoch_ms }}""#, json!(1_893_564_245_000_i64)),
        (r#""{{ now | plus_days(2) | date }}""#, json!("2030-01-04")),
        (r#""{{ 'a?b>' | b64 }}""#, json!("YT9iPg==")),
        (r#""{{ 'a?b>' | b64url }}""#, json!("YT9iPg")),
        (r#""{{ cred.secret }}""#, json!(CREDENTIAL)),
        (r#""x {{ cred.secret }}""#, json!(format!("x {CREDENTIAL}"))),
    ] {
        assert_eq!(field(template, &given), Ok(wanted), "{template}");
    }
}

#[test]
fn a_value_that_is_not_there_drops_its_key_and_breaks_a_text() {
    let given = Given::new("https://h.example.com", json!({}));
    for template in [
        "{{ params.list }}",
        "{{ want.ttl | days }}",
        "{{ want.expires | date }}",
        "{{ cred.username }}",
        "{{ params.policy }}",
    ] {
        assert_eq!(field(&format!("\"{template}\""), &given), Ok(Value::Null), "{template}");
        assert!(field(&format!("\"x {template}\""), &given).is_err(), "{template} within text");
    }
    let error = field(r#""{{ params.policy.rules }}""#, &given).unwrap_err();
    assert_eq!(error, "mint of t: `params.policy.rules` is undefined");
    let guarded = r#""{{ params.policy.rules if params.policy else none }}""#;
    assert_eq!(field(guarded, &given), Ok(Value::Null));
}

#[test]
fn an_expression_that_could_take_all_memory_is_refused_in_words() {
    let mut given = Given::new("https://h.example.com", json!({}));
    given.mint_request.lifetime = Some(Span::hours(1));
    let product = "`*` multiplies numbers only";
    for (template, wanted) in [
        ("{{ params.text * 1000 }}".to_owned(), product),
        ("{{ 'x' * 1000 }}".to_owned(), product),
        ("{{ [0] * 1000 }}".to_owned(), product),
        ("{{ (1 ~ 2) * 1000 }}".to_owned(), product),
        (format!("{{{{ params.text {} }}}}", "| json ".repeat(5)), "more than 4 filters"),
        (format!("{{{{ {}1 }}}}", "1+".repeat(150)), "more than 300 bytes"),
    ] {
        let error = field(&format!("\"{template}\""), &given).unwrap_err();
        assert!(error.contains(wanted), "{template}: {error}");
    }
    assert_eq!(field(r#""{{ want.ttl * 1000 }}""#, &given), Ok(json!(3_600_000)));
}
