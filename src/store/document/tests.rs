use super::*;

fn shown(read: Result<Read, Problem>) -> String {
    match read {
        Ok(Read::Value(value)) => format!("= {}", String::from_utf8_lossy(&value)),
        Ok(Read::Missing) => "missing".to_owned(),
        Ok(Read::Disputed) => "disputed".to_owned(),
        Err(problem) => problem.to_string(),
    }
}

fn edited(result: Result<Text, Problem>) -> String {
    match result {
        Ok(text) => String::from_utf8(text.to_vec()).unwrap(),
        Err(problem) => format!("refused: {problem}"),
    }
}

/// Each document is read, and gets `new`; what else it holds stays.
fn table(syntax: Syntax, rows: &[(&str, &str, &str, &str)]) {
    for (document, pointer, read, after) in rows {
        let pointer: Pointer = pointer.parse().unwrap();
        assert_eq!(shown(get(document.as_bytes(), syntax, &pointer)), *read, "{document:?} {pointer}");
        assert_eq!(edited(set(document.as_bytes(), syntax, &pointer, "n\"ew")), *after, "{document:?} {pointer}");
    }
}

#[test]
fn json_keeps_every_other_byte() {
    table(
        Syntax::Json,
        &[
            ("", "/a/b", "missing", "{\"a\": {\"b\": \"n\\\"ew\"}}\n"),
            ("{}", "/a", "missing", "{\"a\": \"n\\\"ew\"}"),
            ("{ \"a\" : \"old\",\"b\":1.50 }\n", "/a", "= old", "{ \"a\" : \"n\\\"ew\",\"b\":1.50 }\n"),
            ("{\n\t\"b\": [ 1, {\"a\": null} ]\n}", "/b/1/a", "disputed", "{\n\t\"b\": [ 1, {\"a\": \"n\\\"ew\"} ]\n}"),
            ("{\n  \"b\": 1\n}\n", "/a", "missing", "{\n  \"a\": \"n\\\"ew\",\n  \"b\": 1\n}\n"),
            ("{\"b\": {\"x\": 1}}", "/b/c/d", "missing", "{\"b\": {\"c\": {\"d\": \"n\\\"ew\"}, \"x\": 1}}"),
            ("{\"a/b\": {\"~\": \"x\"}}", "/a~1b/~0", "= x", "{\"a/b\": {\"~\": \"n\\\"ew\"}}"),
            ("{\"\\u0061\": \"\\u00e9\"}", "/a", "= é", "{\"\\u0061\": \"n\\\"ew\"}"),
            (
                "{\"a\": 1,\n \"a\": 2}",
                "/a",
                "line 2: \"a\" of /a is there twice: remove one",
                "refused: line 2: \"a\" of /a is there twice: remove one",
            ),
            ("{\"a\": {}}", "/a", "disputed", "refused: line 1: /a is a table or a list, which is not replaced"),
            (
                "{\n  // mine\n  \"a\": 1}",
                "/a",
                "line 2: it is not JSON (column 3)",
                "refused: line 2: it is not JSON (column 3)",
            ),
            (
                "{\"a\": [1]}",
                "/a/1",
                "line 1: /a/1: the list has no item 1",
                "refused: line 1: /a/1: the list has no item 1",
            ),
            (
                "{\"a\": \"x\"}",
                "/a/b",
                "line 1: /a/b leads through a value that is no table",
                "refused: line 1: /a/b leads through a value that is no table",
            ),
        ],
    );
}

#[test]
fn yaml_keeps_every_other_byte() {
    table(
        Syntax::Yaml,
        &[
            ("", "/a/b", "missing", "a: {b: \"n\\\"ew\"}\n"),
            ("# only this\n", "/a", "missing", "# only this\na: \"n\\\"ew\"\n"),
            ("a: old # why\nb: 2\n", "/a", "= old", "a: \"n\\\"ew\" # why\nb: 2\n"),
            ("b: é\na:   'o''ld'\r\n", "/a", "= o'ld", "b: é\na:   \"n\\\"ew\"\r\n"),
            ("a:\n  - x: 1\n  - y: \"2\"\n", "/a/1/y", "= 2", "a:\n  - x: 1\n  - y: \"n\\\"ew\"\n"),
            ("a:\nb: 1\n", "/a", "disputed", "a: \"n\\\"ew\"\nb: 1\n"),
            ("a: 0x10\n", "/a", "disputed", "a: \"n\\\"ew\"\n"),
            ("x:\n    b: 1\ny: 2\n", "/x/c", "missing", "x:\n    c: \"n\\\"ew\"\n    b: 1\ny: 2\n"),
            ("x: {b: 1}\n", "/x/c", "missing", "x: {c: \"n\\\"ew\", b: 1}\n"),
            ("x: {}\n", "/x/c", "missing", "x: {c: \"n\\\"ew\"}\n"),
            ("---\n# head\nb: 1\n", "/c/d", "missing", "---\n# head\nc: {d: \"n\\\"ew\"}\nb: 1\n"),
            ("a: &x old\nb: *x\n", "/a", "= old", "refused: line 1: /a has an anchor, so that others refer to it"),
            ("a: old\nb: &x {}\nc: *x\n", "/c", "disputed", "refused: line 3: /c is an alias of something else"),
            ("a: |\n  old\n", "/a", "= old\n", "refused: line 2: /a is a block of text: write it in quotes once"),
            (
                "a: 1\n---\na: 2\n",
                "/a",
                "line 1: it has several documents",
                "refused: line 1: it has several documents",
            ),
            (
                "- x: 1\n",
                "/0/y",
                "missing",
                "refused: line 1: /0/y is not there: write it by hand once, with any value in quotes",
            ),
        ],
    );
    let broken = shown(get(b"a: [1\nb: }", Syntax::Yaml, &"/a".parse().unwrap()));
    assert!(broken.contains("it is not YAML"), "{broken}");
}

#[test]
fn toml_keeps_every_other_byte() {
    table(
        Syntax::Toml,
        &[
            ("", "/a", "missing", "a = 'n\"ew'\n"),
            ("a = 'old' # why\nb=1\n", "/a", "= old", "a = 'n\"ew' # why\nb=1\n"),
            ("# head\n[x]\nb = 1.50\n\n[y]\n", "/x/a", "missing", "# head\n[x]\nb = 1.50\na = 'n\"ew'\n\n[y]\n"),
            ("[[p]]\na = \"1\"\n[[p]]\na = \"2\"\n", "/p/1/a", "= 2", "[[p]]\na = \"1\"\n[[p]]\na = 'n\"ew'\n"),
            ("x = {a = \"1\", b = 2}\n", "/x/a", "= 1", "x = {a = 'n\"ew', b = 2}\n"),
            ("a = 1\n", "/a", "disputed", "a = 'n\"ew'\n"),
            ("[a]\n", "/a", "disputed", "refused: line 1: /a is a table or a list, which is not replaced"),
            ("a = 1\na = 2\n", "/a", "line 2: it is not TOML", "refused: line 2: it is not TOML"),
        ],
    );
}

#[test]
fn properties_keep_every_other_byte() {
    for (document, key, read, after) in [
        ("", "a", "missing", "a=\\ n\\u00e9\\\\w\n"),
        ("# a=1\na = old\\\r\n   er\r\nb:2\r\n", "a", "= older", "# a=1\na = \\ n\\u00e9\\\\w\r\nb:2\r\n"),
        ("b:2", "b", "= 2", "b:\\ n\\u00e9\\\\w"),
        ("a\n", "a", "= ", "a=\\ n\\u00e9\\\\w\n"),
        ("x\\=y z\n", "x=y", "= z", "x\\=y \\ n\\u00e9\\\\w\n"),
        ("b=2", "a b", "missing", "b=2\na\\ b=\\ n\\u00e9\\\\w\n"),
        (
            "a=1\na=2\n",
            "a",
            "line 2: a stands on line 1 already: remove one",
            "refused: line 2: a stands on line 1 already: remove one",
        ),
        ("a=\\u12\n", "a", "line 1: an escape \\uXXXX is broken", "refused: line 1: an escape \\uXXXX is broken"),
    ] {
        assert_eq!(shown(get_property(document.as_bytes(), key)), read, "{document:?}");
        assert_eq!(edited(set_property(document.as_bytes(), key, " né\\w")), after, "{document:?}");
    }
}

#[test]
fn values_come_back_as_they_were_written() {
    let pointer: Pointer = "/a/b".parse().unwrap();
    for value in [
        "x",
        "'",
        "\"\\",
        "#: {}[]",
        " blanks ",
        "lines\r\n\tand tabs\n",
        "\u{7f}\u{85}é𝄞",
        "${X} $(y) %s",
        "true",
        "123",
    ] {
        for syntax in [Syntax::Json, Syntax::Yaml, Syntax::Toml] {
            let document = set(b"", syntax, &pointer, value).unwrap();
            assert_eq!(shown(get(&document, syntax, &pointer)), format!("= {value}"), "{syntax:?}");
            let again = set(&document, syntax, &pointer, value).unwrap();
            assert!(again == document, "what is there already changes nothing");
        }
        let document = set_property(b"", "a", value).unwrap();
        assert_eq!(shown(get_property(&document, "a")), format!("= {value}"));
    }
}
