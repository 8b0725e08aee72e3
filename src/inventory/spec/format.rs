//! Formats of files that hold more than the secret: the plain editors, and files of tools that are written by them.
//!
//! A tool's file is one of the editors with its slot filled in: there is no other code for it.

use crate::document::{Located, Reader};
use crate::inventory::{CredentialAddress, Dialect, IniReader, Pointer, Syntax, Wrap, XmlPath};

/// What only one format of a file has.
#[derive(Debug)]
pub enum FormatSpec {
    Whole { newline: Option<bool> },
    Env { key: Located<String>, dialect: Option<Located<Dialect>> },
    Document { syntax: Syntax, pointer: Located<Pointer> },
    Properties { key: Located<String> },
    Ini { section: Option<String>, key: Located<String>, reader: IniReader },
    Netrc { machine: Located<String>, login: String },
    GitCredentials { address: Located<CredentialAddress> },
    Xml { path: Located<XmlPath> },
    Wrapped { within: Box<FormatSpec>, wrap: Wrap },
}

/// A format that a store names.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Editor(Editor),
    Tool(Tool),
}

/// A format whose slot the store names.
#[derive(Clone, Copy, Debug)]
pub enum Editor {
    Document(Syntax),
    Properties,
    Ini,
    Xml,
}

/// A file of a tool, which knows its slot.
#[derive(Clone, Copy, Debug)]
pub enum Tool {
    Netrc,
    GitCredentials,
    Npmrc,
    Pypirc,
    Pip,
    DockerConfig,
    Kubeconfig,
    Cargo,
    Gh,
    AwsCredentials,
    MavenSettings,
    Gradle,
}

/// Their names.
pub const KINDS: &[(&str, Kind)] = &[
    ("json", Kind::Editor(Editor::Document(Syntax::Json))),
    ("yaml", Kind::Editor(Editor::Document(Syntax::Yaml))),
    ("toml", Kind::Editor(Editor::Document(Syntax::Toml))),
    ("properties", Kind::Editor(Editor::Properties)),
    ("ini", Kind::Editor(Editor::Ini)),
    ("xml", Kind::Editor(Editor::Xml)),
    ("netrc", Kind::Tool(Tool::Netrc)),
    ("git-credentials", Kind::Tool(Tool::GitCredentials)),
    ("npmrc", Kind::Tool(Tool::Npmrc)),
    ("pypirc", Kind::Tool(Tool::Pypirc)),
    ("pip", Kind::Tool(Tool::Pip)),
    ("docker-config", Kind::Tool(Tool::DockerConfig)),
    ("kubeconfig", Kind::Tool(Tool::Kubeconfig)),
    ("cargo", Kind::Tool(Tool::Cargo)),
    ("gh", Kind::Tool(Tool::Gh)),
    ("aws-credentials", Kind::Tool(Tool::AwsCredentials)),
    ("maven-settings", Kind::Tool(Tool::MavenSettings)),
    ("gradle", Kind::Tool(Tool::Gradle)),
];

/// Takes the keys of a format.
pub fn decode(reader: &Reader<'_>, kind: Kind) -> Option<FormatSpec> {
    match kind {
        Kind::Editor(editor) => wrapped(reader, self::editor(reader, editor)),
        Kind::Tool(tool) => self::tool(reader, tool),
    }
}

fn editor(reader: &Reader<'_>, editor: Editor) -> Option<FormatSpec> {
    const READERS: [(&str, IniReader); 2] = [("python", IniReader::Python), ("npm", IniReader::Npm)];
    match editor {
        Editor::Document(syntax) => {
            reader.required("pointer");
            let pointer = reader.parsed("pointer", str::parse);
            pointer.map(|pointer| FormatSpec::Document { syntax, pointer })
        }
        Editor::Properties => reader.required_string("key").map(|key| FormatSpec::Properties { key }),
        Editor::Ini => {
            let section = reader.parsed("section", section_name).map(|section| section.value);
            let key = name(reader, "key");
            let by = reader.choice("reader", &READERS).map_or(IniReader::Python, |by| by.value);
            key.map(|key| FormatSpec::Ini { section, key, reader: by })
        }
        Editor::Xml => {
            reader.required("pointer");
            let path = reader.parsed("pointer", str::parse::<XmlPath>);
            path.map(|path| FormatSpec::Xml { path })
        }
    }
}

fn tool(reader: &Reader<'_>, tool: Tool) -> Option<FormatSpec> {
    let ini = |section: String, key| FormatSpec::Ini { section: Some(section), key, reader: IniReader::Python };
    match tool {
        Tool::Netrc => {
            let (machine, login) = (name(reader, "machine"), name(reader, "login"));
            Some(FormatSpec::Netrc { machine: machine?, login: login?.value })
        }
        Tool::GitCredentials => {
            let (url, username) = (name(reader, "url"), name(reader, "username"));
            let (url, username) = (url?, username?);
            let value = credential_address(reader, &url, &username.value)?;
            Some(FormatSpec::GitCredentials { address: Located { value, spot: url.spot } })
        }
        Tool::Npmrc => {
            let registry = or_else(reader, "registry", npm_registry, "//registry.npmjs.org/")?;
            let key = registry.map(|registry| format!("{registry}:_authToken"));
            Some(FormatSpec::Ini { section: None, key, reader: IniReader::Npm })
        }
        Tool::Pypirc => {
            let section = or_else(reader, "repository", section_name, "pypi")?;
            let key = Located { value: "password".to_owned(), spot: section.spot };
            Some(ini(section.value, key))
        }
        Tool::Pip => {
            let url = name(reader, "url");
            let section = or_else(reader, "section", section_name, "global");
            let key = or_else(reader, "key", plain, "index-url");
            let wrap = url.and_then(|url| address(reader, &url));
            Some(FormatSpec::Wrapped { within: Box::new(ini(section?.value, key?)), wrap: wrap? })
        }
        Tool::DockerConfig => {
            let (registry, username) = (name(reader, "registry"), name(reader, "username"));
            let (registry, username) = (registry?, username?.value);
            let within = at(Syntax::Json, &registry, Pointer::of(["auths", &registry.value, "auth"]));
            Some(FormatSpec::Wrapped { within: Box::new(within), wrap: Wrap::Basic { username } })
        }
        Tool::Kubeconfig => {
            let user = name(reader, "user")?;
            let item = format!("name={}", user.value);
            Some(at(Syntax::Yaml, &user, Pointer::of(["users", &item, "user", "token"])))
        }
        Tool::Cargo => {
            let registry = or_else(reader, "registry", plain, "")?;
            let pointer = match registry.value.as_str() {
                "" => Pointer::of(["registry", "token"]),
                name => Pointer::of(["registries", name, "token"]),
            };
            wrapped(reader, Some(at(Syntax::Toml, &registry, pointer)))
        }
        Tool::Gh => {
            let host = or_else(reader, "host", plain, "github.com")?;
            Some(at(Syntax::Yaml, &host, Pointer::of([&host.value, "oauth_token"])))
        }
        Tool::AwsCredentials => {
            let profile = or_else(reader, "profile", section_name, "default");
            let key = or_else(reader, "key", plain, "aws_secret_access_key");
            Some(ini(profile?.value, key?))
        }
        Tool::MavenSettings => {
            let server = name(reader, "server")?;
            Some(FormatSpec::Xml { path: server.map(|server| XmlPath::maven_password(&server)) })
        }
        Tool::Gradle => {
            let repository = name(reader, "repository")?;
            Some(FormatSpec::Properties { key: repository.map(|repository| format!("{repository}Password")) })
        }
    }
}

/// A value of a document, of which messages point at `named`.
fn at(syntax: Syntax, named: &Located<String>, pointer: Pointer) -> FormatSpec {
    FormatSpec::Document { syntax, pointer: Located { value: pointer, spot: named.spot } }
}

/// A word that has to be there.
fn name(reader: &Reader<'_>, key: &'static str) -> Option<Located<String>> {
    reader.required(key);
    reader.parsed(key, plain)
}

/// What stands under `key`, or `usual` where nothing does; `None` where it cannot be used.
fn or_else(
    reader: &Reader<'_>,
    key: &'static str,
    parse: fn(&str) -> Result<String, &'static str>,
    usual: &str,
) -> Option<Located<String>> {
    let given = reader.parsed(key, parse);
    if reader.has(key) { given } else { Some(Located { value: usual.to_owned(), spot: reader.spot() }) }
}

fn plain(text: &str) -> Result<String, &'static str> {
    let fits = !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if fits { Ok(text.to_owned()) } else { Err("it is empty, or has blanks in it") }
}

/// What the text says besides the secret: at most one of `prefix`, `basic` and `address`.
pub(super) fn wrapped(reader: &Reader<'_>, within: Option<FormatSpec>) -> Option<FormatSpec> {
    let ways = ["prefix", "basic", "address"];
    let (prefix, basic, url) = (reader.string("prefix"), reader.string("basic"), reader.string("address"));
    let given: Vec<_> = ways.into_iter().filter(|way| reader.has(way)).collect();
    if let [first, second, ..] = given[..] {
        let message = format!("{} has both `{first}` and `{second}`", reader.what());
        reader.report().error_with_help(reader.key_spot(second), message, "remove one of the two");
        return None;
    }
    let wrap = match (prefix, basic, url) {
        (Some(prefix), ..) => Wrap::Prefix(prefix.value),
        (_, Some(username), _) if username.value.contains(':') => {
            let message = format!("`basic` of {} is a user name, which has no colon", reader.what());
            reader.report().error(username.spot, message);
            return None;
        }
        (_, Some(username), _) => Wrap::Basic { username: username.value },
        (.., Some(url)) => address(reader, &url)?,
        _ => return within,
    };
    within.map(|within| FormatSpec::Wrapped { within: Box::new(within), wrap })
}

/// `https://USER@HOST/PATH`, where the password belongs.
fn address(reader: &Reader<'_>, url: &Located<String>) -> Option<Wrap> {
    let parts = url.value.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)));
    match parts {
        Some((scheme, (user, place))) if !user.is_empty() && !user.contains([':', '/']) && !place.is_empty() => {
            Some(Wrap::Address { before: format!("{scheme}://{user}:"), after: format!("@{place}") })
        }
        _ => {
            reader.report().conceal(url.spot);
            let help = "write it with the user name alone: \"https://user@host.example.com/simple\"";
            reader.report().error_with_help(
                url.spot,
                format!("the address of {} is of another form", reader.what()),
                help,
            );
            None
        }
    }
}

fn credential_address(reader: &Reader<'_>, url: &Located<String>, username: &str) -> Option<CredentialAddress> {
    let parts = url.value.split_once("://").filter(|(_, rest)| !rest.contains(['@', '?', '#']) && !rest.is_empty());
    let Some((protocol, rest)) = parts else {
        reader.report().conceal(url.spot);
        let help = "write it without a user name: \"https://git.example.com\", and `username` beside it";
        reader.report().error_with_help(url.spot, format!("`url` of {} is of another form", reader.what()), help);
        return None;
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    Some(CredentialAddress {
        protocol: protocol.to_owned(),
        username: username.to_owned(),
        host: rest[..host_end].to_owned(),
        path: rest[host_end..].trim_end_matches('/').to_owned(),
    })
}

/// The key of a registry in `.npmrc`: its address without the protocol, with a slash at its end.
fn npm_registry(text: &str) -> Result<String, &'static str> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest).trim_start_matches('/');
    let fits = |c: char| c.is_ascii_graphic() && !"=;#[]\"'@".contains(c);
    if rest.is_empty() || !rest.chars().all(fits) {
        return Err("it is not the address of a registry; write for example \"https://npm.example.com/team/\"");
    }
    Ok(format!("//{}/", rest.trim_end_matches('/')))
}

fn section_name(text: &str) -> Result<String, &'static str> {
    let fits = !text.is_empty() && !text.chars().any(|c| c.is_control() || matches!(c, '[' | ']'));
    if fits { Ok(text.to_owned()) } else { Err("it is empty, or has brackets in it") }
}
