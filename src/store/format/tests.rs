use super::*;
use crate::inventory::{Dialect, Syntax};

fn of(kind: &str) -> Format {
    let document = |syntax| Format::Document { syntax, pointer: "/auth/token".parse().unwrap() };
    let env = |dialect| Format::Env { key: "TOKEN".to_owned(), dialect };
    match kind {
        "json" => document(Syntax::Json),
        "yaml" => document(Syntax::Yaml),
        "toml" => document(Syntax::Toml),
        "systemd" => env(Dialect::Systemd),
        "docker" => env(Dialect::Docker),
        "dotenv" => env(Dialect::Dotenv),
        "posix-sh" => env(Dialect::PosixSh),
        other => panic!("{other}"),
    }
}

#[test]
fn a_slot_is_taken_out_and_every_neighbour_stays() {
    for (kind, sentence, before, after) in [
        ("systemd", "between two others", "A=1\nTOKEN=x\n# of B\nB=2\n", "A=1\n# of B\nB=2\n"),
        ("systemd", "the last line, without an end", "A=1\nTOKEN=\"x y\"", "A=1\n"),
        ("systemd", "over two lines", "A=1\nTOKEN=\"x \\\ny\"\nB=2\n", "A=1\nB=2\n"),
        ("systemd", "line ends of Windows", "A=1\r\nTOKEN=x\r\nB=2\r\n", "A=1\r\nB=2\r\n"),
        ("systemd", "alone", "TOKEN=x\n", ""),
        ("docker", "among others", "A=1\nTOKEN=x\nB=2\n", "A=1\nB=2\n"),
        ("dotenv", "with a comment of its own", "A=1\nexport TOKEN='x' # ours\nB=2\n", "A=1\nB=2\n"),
        ("posix-sh", "exported", "A=1\nexport TOKEN='x'\nB=2\n", "A=1\nB=2\n"),
        ("json", "the first", "{\"auth\": {\"token\": \"x\", \"a\": 1}}", "{\"auth\": {\"a\": 1}}"),
        ("json", "in the middle", "{\"auth\":{\"a\":1,\"token\":\"x\",\"b\":[{}]}}", "{\"auth\":{\"a\":1,\"b\":[{}]}}"),
        (
            "json",
            "the last, in lines",
            "{\n  \"auth\": {\n    \"a\": \"}\",\n    \"token\": \"x\"\n  },\n  \"z\": null\n}\n",
            "{\n  \"auth\": {\n    \"a\": \"}\"\n  },\n  \"z\": null\n}\n",
        ),
        ("json", "alone", "{\"auth\": {\n  \"token\": \"x\"\n}, \"z\": 1}", "{\"auth\": {}, \"z\": 1}"),
        (
            "yaml",
            "between two others",
            "auth:\n  a: 1 # one\n  token: \"x\" # ours\n  # of b\n  b: 2\nz: 3\n",
            "auth:\n  a: 1 # one\n  # of b\n  b: 2\nz: 3\n",
        ),
        ("yaml", "the first", "auth:\n  token: x\n  b: 2\n", "auth:\n  b: 2\n"),
        ("yaml", "the last, without an end", "auth:\n  a: {c: 1}\n  token: x", "auth:\n  a: {c: 1}\n"),
        ("yaml", "alone", "auth:\n  token: x\nz: 3\n", "auth:\n  {}\nz: 3\n"),
        ("yaml", "within braces", "auth: {a: [1], token: x}\n", "auth: {a: [1]}\n"),
        ("yaml", "the first within braces", "auth: {token: x, b: 2}\n", "auth: {b: 2}\n"),
        ("yaml", "alone within braces", "auth: {token: x}\n", "auth: {}\n"),
        (
            "toml",
            "between two others",
            "# top\n[auth]\na = 1 # one\ntoken = \"x\" # ours\n# of b\nb = 2\n\n[z]\nc = 3\n",
            "# top\n[auth]\na = 1 # one\n# of b\nb = 2\n\n[z]\nc = 3\n",
        ),
        ("toml", "alone", "[auth]\ntoken = \"x\"\n[z]\n", "[auth]\n[z]\n"),
        ("toml", "within braces", "auth = { a = 1, token = \"x\" }\nz = 3\n", "auth = { a = 1}\nz = 3\n"),
    ] {
        let edited = remove(before.as_bytes(), &of(kind)).unwrap_or_else(|why| panic!("{kind}, {sentence}: {why}"));
        assert_eq!(str::from_utf8(&edited).unwrap(), after, "{kind}, {sentence}");
        assert!(matches!(get(&edited, &of(kind)), Ok(Read::Missing)), "{kind}, {sentence}");
        let again = remove(&edited, &of(kind));
        assert!(again.as_ref().is_err() || again.is_ok_and(|again| *again == *edited), "{kind}, {sentence}: once");
    }
}

#[test]
fn what_cannot_be_taken_out_by_itself_stays() {
    for (kind, sentence, document) in [
        ("posix-sh", "two in a line", "A=1 TOKEN='x'\n"),
        ("yaml", "others refer to it", "auth:\n  token: &t x\n  b: *t\n"),
        ("yaml", "a block of text", "auth:\n  token: |\n    x\n  b: 2\n"),
        ("yaml", "named in the long form", "auth:\n  ? token\n  : x\n  b: 2\n"),
        ("json", "a table", "{\"auth\": {\"a\": 1}}"),
    ] {
        assert!(remove(document.as_bytes(), &of(kind)).is_err(), "{kind}, {sentence}");
    }
    let item = |syntax| Format::Document { syntax, pointer: "/list/0".parse().unwrap() };
    for (syntax, document) in [
        (Syntax::Json, "{\"list\": [\"x\", \"y\"]}"),
        (Syntax::Yaml, "list: [x, y]\n"),
        (Syntax::Toml, "list = [\"x\", \"y\"]\n"),
    ] {
        let why = remove(document.as_bytes(), &item(syntax)).expect_err("the others would move up");
        assert!(why.what.contains("item of a list"), "{syntax:?}: {why}");
    }
}

#[test]
fn an_entry_of_an_item_of_a_list_is_taken_out() {
    let of = |syntax| Format::Document { syntax, pointer: "/users/name=ci/token".parse().unwrap() };
    for (syntax, before, after) in [
        (
            Syntax::Json,
            "{\"users\": [{\"name\": \"a\", \"token\": \"y\"}, {\"name\": \"ci\", \"token\": \"x\"}]}",
            "{\"users\": [{\"name\": \"a\", \"token\": \"y\"}, {\"name\": \"ci\"}]}",
        ),
        (
            Syntax::Yaml,
            "users:\n- token: y\n  name: a\n- token: x\n  name: ci\n",
            "users:\n- token: y\n  name: a\n- name: ci\n",
        ),
    ] {
        let edited = remove(before.as_bytes(), &of(syntax)).unwrap_or_else(|why| panic!("{syntax:?}: {why}"));
        assert_eq!(str::from_utf8(&edited).unwrap(), after, "{syntax:?}");
    }
    let by_number = Format::Document { syntax: Syntax::Toml, pointer: "/users/1/token".parse().unwrap() };
    let before = "[[users]]\ntoken = \"y\"\n\n[[users]]\n# of ci\nname = \"ci\"\ntoken = \"x\"\n";
    let edited = remove(before.as_bytes(), &by_number).unwrap();
    assert_eq!(str::from_utf8(&edited).unwrap(), "[[users]]\ntoken = \"y\"\n\n[[users]]\n# of ci\nname = \"ci\"\n");
}
