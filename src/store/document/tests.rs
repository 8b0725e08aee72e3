use super::super::format;
use super::*;
use crate::inventory::{Format, Wrap};

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

/// The same of a file of a tool: what it reads, and what it is once the slot has `new`.
fn tools(format: &Format, rows: &[(&str, &str, &str)]) {
    for (document, read, after) in rows {
        assert_eq!(shown(format::get(document.as_bytes(), format)), *read, "{document:?} {format:?}");
        assert_eq!(edited(format::set(document.as_bytes(), "n%ew", format)), *after, "{document:?} {format:?}");
    }
}

fn ini(section: Option<&str>, key: &str, reader: IniReader) -> Format {
    Format::Ini { section: section.map(str::to_owned), key: key.to_owned(), reader }
}

#[test]
fn ini_files_keep_every_other_byte() {
    tools(
        &ini(Some("pypi"), "password", IniReader::Python),
        &[
            ("", "missing", "[pypi]\npassword = n%ew\n"),
            ("[a]\nx = 1", "missing", "[a]\nx = 1\n\n[pypi]\npassword = n%ew\n"),
            (
                "; mine\n[pypi]\nusername = __token__\nPassWord : o#ld ;x\n\n[b]\npassword = 2\n",
                "= o#ld ;x",
                "; mine\n[pypi]\nusername = __token__\nPassWord : n%ew\n\n[b]\npassword = 2\n",
            ),
            (
                "[pypi]\r\nusername=u\r\n\r\n[b]\r\n",
                "missing",
                "[pypi]\r\nusername=u\r\npassword = n%ew\r\n\r\n[b]\r\n",
            ),
            ("[pypi]\npassword =\n", "= ", "[pypi]\npassword = n%ew\n"),
            (
                "[pypi]\npassword = a\n  b\n",
                "disputed",
                "refused: line 2: password goes on in the next line: write it in one line once",
            ),
            ("[pypi]\nlist =\n  password = no\n", "missing", "[pypi]\nlist =\n  password = no\npassword = n%ew\n"),
            (
                "[pypi]\npassword = 1\npassword = 2\n",
                "line 3: password stands on line 2 already: remove one",
                "refused: line 3: password stands on line 2 already: remove one",
            ),
            (
                "[pypi]\n[pypi]\n",
                "line 2: the section [pypi] is there twice: join them",
                "refused: line 2: the section [pypi] is there twice: join them",
            ),
        ],
    );
    tools(
        &ini(None, "//npm.example.com/:_authToken", IniReader::Npm),
        &[
            ("", "missing", "//npm.example.com/:_authToken=n%ew\n"),
            (
                "registry=https://npm.example.com/\n//npm.example.com/:_authToken = a\\;b\\#c ; mine\nx=1\n",
                "= a;b#c",
                "registry=https://npm.example.com/\n//npm.example.com/:_authToken = n%ew\nx=1\n",
            ),
            ("//npm.example.com/:_authToken=${T}", "disputed", "//npm.example.com/:_authToken=n%ew"),
            ("a=1\n[s]\nb=2\n", "missing", "a=1\n//npm.example.com/:_authToken=n%ew\n[s]\nb=2\n"),
        ],
    );
}

#[test]
fn netrc_keeps_every_other_byte() {
    tools(
        &Format::Netrc { machine: "h".to_owned(), login: "u".to_owned() },
        &[
            ("", "missing", "machine h login u password n%ew\n"),
            (
                "# machine h login u password no\nmachine h login v password x\nmachine h\n\tlogin u\n\tpassword old # mine\n",
                "= old",
                "# machine h login u password no\nmachine h login v password x\nmachine h\n\tlogin u\n\tpassword n%ew # mine\n",
            ),
            ("machine h password old login u", "= old", "machine h password n%ew login u"),
            ("machine h login u\n", "missing", "machine h login u password n%ew\n"),
            (
                "machine a login u password p\ndefault login x password y\n",
                "missing",
                "machine a login u password p\nmachine h login u password n%ew\ndefault login x password y\n",
            ),
            (
                "macdef m\nmachine h login u password no\n\nmachine h login u password old\n",
                "= old",
                "macdef m\nmachine h login u password no\n\nmachine h login u password n%ew\n",
            ),
            (
                "machine h login u password \"a b\"\n",
                "line 1: \"b\"\" is no keyword of netrc",
                "refused: line 1: \"b\"\" is no keyword of netrc",
            ),
            ("machine h login u password \"ab\"\n", "disputed", "machine h login u password n%ew\n"),
            (
                "machine h login u password 1\nmachine h login u password 2\n",
                "line 2: u of machine h stands on line 1 already: remove one",
                "refused: line 2: u of machine h stands on line 1 already: remove one",
            ),
            (
                "machine h logn u\n",
                "line 1: \"logn\" is no keyword of netrc",
                "refused: line 1: \"logn\" is no keyword of netrc",
            ),
        ],
    );
}

#[test]
fn credentials_of_git_keep_every_other_byte() {
    let address = CredentialAddress {
        protocol: "https".to_owned(),
        username: "c i".to_owned(),
        host: "h:8443".to_owned(),
        path: String::new(),
    };
    tools(
        &Format::GitCredentials { address },
        &[
            ("", "missing", "https://c%20i:n%25ew@h:8443\n"),
            (
                "https://x:y@h:8443\nhttps://c%20i:o%2fld@h:8443/\nhttp://c%20i:z@h:8443\n",
                "= o/ld",
                "https://x:y@h:8443\nhttps://c%20i:n%25ew@h:8443/\nhttp://c%20i:z@h:8443\n",
            ),
            ("https://c%20i:o%2@h:8443\n", "disputed", "https://c%20i:n%25ew@h:8443\n"),
        ],
    );
}

#[test]
fn xml_keeps_every_other_byte() {
    tools(
        &Format::Xml { path: XmlPath::maven_password("ci") },
        &[
            (
                "<?xml version=\"1.0\"?>\n<!-- mine -->\n<settings xmlns=\"x\">\n  <servers>\n    <server><id>other</id><password>x</password></server>\n    <server>\n      <id> ci </id>\n      <password>a &amp; b</password>\n    </server>\n  </servers>\n</settings>\n",
                "= a & b",
                "<?xml version=\"1.0\"?>\n<!-- mine -->\n<settings xmlns=\"x\">\n  <servers>\n    <server><id>other</id><password>x</password></server>\n    <server>\n      <id> ci </id>\n      <password>n%ew</password>\n    </server>\n  </servers>\n</settings>\n",
            ),
            (
                "<settings><servers><server><id>ci</id>\n  <username>u</username></server></servers></settings>",
                "missing",
                "<settings><servers><server><id>ci</id>\n  <username>u</username>\n  <password>n%ew</password></server></servers></settings>",
            ),
            (
                "<settings><servers><server><id>ci</id><password/></server></servers></settings>",
                "= ",
                "<settings><servers><server><id>ci</id><password>n%ew</password></server></servers></settings>",
            ),
            (
                "<settings><servers/></settings>",
                "line 1: server of /settings/servers/server[id=ci]/password is not there: write it by hand once",
                "refused: line 1: server of /settings/servers/server[id=ci]/password is not there: write it by hand once",
            ),
            (
                "<settings>\n<servers>",
                "line 2: it is not well-formed XML",
                "refused: line 2: it is not well-formed XML",
            ),
            (
                "<settings><servers><server><id>ci</id><password><![CDATA[x]]></password></server></servers></settings>",
                "disputed",
                "refused: line 1: /settings/servers/server[id=ci]/password has a comment or a marked section in it: write plain text once",
            ),
        ],
    );
}

#[test]
fn an_item_of_a_list_is_found_by_a_key_of_it() {
    table(
        Syntax::Yaml,
        &[(
            "users:\n- name: a\n  user: {token: x}\n- name: ci # mine\n  user:\n    token: old\n",
            "/users/name=ci/user/token",
            "= old",
            "users:\n- name: a\n  user: {token: x}\n- name: ci # mine\n  user:\n    token: \"n\\\"ew\"\n",
        )],
    );
    table(
        Syntax::Json,
        &[(
            "[{\"n\": \"a\", \"t\": \"x\"}, {\"t\": \"y\", \"n\": \"b\"}]",
            "/n=b/t",
            "= y",
            "[{\"n\": \"a\", \"t\": \"x\"}, {\"t\": \"n\\\"ew\", \"n\": \"b\"}]",
        )],
    );
}

#[test]
fn what_stands_for_a_secret_is_read_back_as_the_secret() {
    let json = || Box::new(Format::Document { syntax: Syntax::Json, pointer: "/a".parse().unwrap() });
    let wrapped = |wrap| Format::Wrapped { within: json(), wrap };
    let basic = wrapped(Wrap::Basic { username: "ci".to_owned() });
    tools(
        &basic,
        &[
            ("{\"a\": \"Y2k6eDp5\"}", "= x:y", "{\"a\": \"Y2k6biVldw==\"}"),
            ("{\"a\": \"eDp5\"}", "disputed", "{\"a\": \"Y2k6biVldw==\"}"),
        ],
    );
    tools(
        &wrapped(Wrap::Prefix("Bearer ".to_owned())),
        &[("{\"a\": \"Bearer x\"}", "= x", "{\"a\": \"Bearer n%ew\"}")],
    );
    let address = Wrap::Address { before: "https://ci:".to_owned(), after: "@h/simple".to_owned() };
    tools(
        &wrapped(address),
        &[
            ("{\"a\": \"https://ci:o%40ld@h/simple\"}", "= o@ld", "{\"a\": \"https://ci:n%25ew@h/simple\"}"),
            ("{\"a\": \"https://other\"}", "disputed", "{\"a\": \"https://ci:n%25ew@h/simple\"}"),
        ],
    );
}

#[test]
fn values_that_a_reader_would_change_are_refused() {
    let netrc = Format::Netrc { machine: "h".to_owned(), login: "u".to_owned() };
    let maven = Format::Xml { path: XmlPath::maven_password("ci") };
    let python = ini(Some("s"), "k", IniReader::Python);
    let npm = ini(None, "k", IniReader::Npm);
    for (format, value, fine) in [
        (&netrc, "a%$~;b", true),
        (&netrc, "a b", false),
        (&netrc, "a\\b", false),
        (&netrc, "#a", false),
        (&python, "a%b#c;d\"e", true),
        (&python, "a #b", false),
        (&python, " a", false),
        (&python, "a\nb", false),
        (&npm, "a;b#c\\d=e", true),
        (&npm, "a${B}", false),
        (&npm, "\"a\"", false),
        (&npm, "true", false),
        (&maven, "a&<>\"'é", true),
        (&maven, "${env.X}", false),
        (&maven, "{abc}", false),
        (&maven, "a\u{1}b", false),
    ] {
        assert_eq!(format::check_value(value, format).is_ok(), fine, "{value:?} {format:?}");
        if fine && !matches!(format, Format::Xml { .. }) {
            let text = format::set(b"", value, format).unwrap();
            assert_eq!(shown(format::get(&text, format)), format!("= {value}"));
        }
    }
}
