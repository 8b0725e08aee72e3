//! What is written into files of tools, read by the tools themselves, as far as this machine has them.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use patrold::inventory::{CredentialAddress, Format, IniReader, Pointer, Syntax, Wrap, XmlPath};
use patrold::store::format;

/// Everything that the formats let through, as far as tokens have it.
const VALUES: [&str; 4] = ["plain-Token_123", "p%c:t/s+l=a@s~h.", "do$llar&am<p>q", "semi;hash#x"];

/// What a program prints; `None`: it is not there.
fn printed(program: &str, arguments: &[&str], variables: &[(&str, &Path)], input: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    Some(out.trim_end_matches('\n').to_owned())
}

/// Writes each value into `before` and compares what `read` says of the file.
fn holds(what: &str, format: &Format, before: &str, read: impl Fn(&Path) -> Option<String>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    for value in VALUES {
        if format::check_value(value, format).is_err() {
            continue;
        }
        let text = format::set(before.as_bytes(), value, format).unwrap_or_else(|problem| panic!("{what}: {problem}"));
        fs::write(&file, &*text).unwrap();
        match read(&file) {
            Some(found) => assert_eq!(found, value, "{what} reads another value"),
            None => eprintln!("{what} is not on this machine"),
        }
    }
}

fn python(script: &str, file: &Path) -> Option<String> {
    printed("python3", &["-c", script, file.to_str().unwrap()], &[], "")
}

#[test]
fn python_reads_netrc_and_ini_files() {
    let netrc = Format::Netrc { machine: "h.example.com".into(), login: "ci".into() };
    let read = "import netrc,sys; print(netrc.netrc(sys.argv[1]).authenticators('h.example.com')[2])";
    holds("Python's netrc", &netrc, "machine other login x password y\n", |file| python(read, file));
    let pypirc = Format::Ini { section: Some("internal".into()), key: "password".into(), reader: IniReader::Python };
    let read = "import configparser,sys; c=configparser.RawConfigParser(); c.read(sys.argv[1]); print(c['internal']['password'])";
    holds("Python's configparser", &pypirc, "[distutils]\nindex-servers =\n  internal\n", |file| python(read, file));
}

#[test]
fn git_reads_its_credentials() {
    let address = CredentialAddress {
        protocol: "https".into(),
        username: "c i".into(),
        host: "git.example.com".into(),
        path: String::new(),
    };
    holds("git", &Format::GitCredentials { address }, "https://x:y@other.example.com\n", |file| {
        let store = format!("store --file={}", file.display());
        let helper = format!("credential.helper={store}");
        let asked = "protocol=https\nhost=git.example.com\nusername=c i\n\n";
        let answer =
            printed("git", &["-c", &helper, "credential", "fill"], &[("GIT_TERMINAL_PROMPT", Path::new("0"))], asked)?;
        answer.lines().find_map(|line| line.strip_prefix("password=")).map(str::to_owned)
    });
}

#[test]
fn curl_reads_netrc() {
    let netrc = Format::Netrc { machine: "127.0.0.1".into(), login: "ci".into() };
    holds("curl", &netrc, "", |file| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let arguments = ["-sS", "--max-time", "20", "--noproxy", "*", "--netrc-file", file.to_str().unwrap(), &url];
        let child = Command::new("curl").args(arguments).stdout(Stdio::null()).spawn();
        let mut child = child.ok()?;
        let mut stream = listener.accept().unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            request.extend(byte);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").unwrap();
        drop(stream);
        assert!(child.wait().unwrap().success());
        let request = String::from_utf8(request).unwrap();
        let basic = request.lines().find_map(|line| line.strip_prefix("Authorization: Basic ")).unwrap().to_owned();
        let decode = "import base64,sys; print(base64.b64decode(sys.argv[1]).decode().partition(':')[2])";
        python(decode, Path::new(&basic))
    });
}

#[test]
fn npm_reads_its_token() {
    let key = "//npm.example.com/:_authToken";
    let npmrc = Format::Ini { section: None, key: key.into(), reader: IniReader::Npm };
    // npm's own parser, where npm is installed; `npm config get` protects such keys.
    let read = "const p=require('child_process').execSync('npm root -g').toString().trim()+'/npm/node_modules/ini';\
                let ini; try { ini=require(p) } catch { ini=require(require.resolve('ini',{paths:['/usr/share/nodejs','/usr/lib/node_modules/npm/node_modules']})) }\
                console.log(ini.parse(require('fs').readFileSync(process.argv[1],'utf8'))[process.argv[2]])";
    holds("npm", &npmrc, "registry=https://npm.example.com/\n", |file| {
        printed("node", &["-e", read, file.to_str().unwrap(), key], &[], "")
    });
}

#[test]
fn pip_takes_the_password_out_of_its_index() {
    let ini = Format::Ini { section: Some("global".into()), key: "index-url".into(), reader: IniReader::Python };
    let wrap = Wrap::Address { before: "https://ci:".into(), after: "@pypi.example.com/simple".into() };
    let pip = Format::Wrapped { within: Box::new(ini), wrap };
    holds("pip", &pip, "[global]\ntimeout = 60\n", |file| {
        let all = printed("pip", &["config", "list"], &[("PIP_CONFIG_FILE", file)], "")?;
        let url = all.lines().find_map(|line| line.strip_prefix("global.index-url='")?.strip_suffix('\''));
        let read = "import sys,urllib.parse as u; print(u.unquote(u.urlsplit(sys.argv[1]).password))";
        python(read, Path::new(url.unwrap_or_else(|| panic!("{all}"))))
    });
}

#[test]
fn documents_of_tools_are_read_by_parsers_of_their_languages() {
    let json = Format::Document { syntax: Syntax::Json, pointer: Pointer::of(["auths", "r.example.com", "auth"]) };
    let docker = Format::Wrapped { within: Box::new(json), wrap: Wrap::Basic { username: "ci".into() } };
    let read = "import base64,json,sys; print(base64.b64decode(json.load(open(sys.argv[1]))['auths']['r.example.com']['auth']).decode().partition(':')[2])";
    holds("docker's format", &docker, "{\n\t\"credsStore\": \"\",\n\t\"auths\": {}\n}\n", |file| python(read, file));
    let maven = Format::Xml { path: XmlPath::maven_password("ci") };
    let settings = "<settings><servers><server><id>ci</id><username>u</username></server></servers></settings>";
    let read =
        "import sys,xml.etree.ElementTree as e; print(e.parse(sys.argv[1]).find('servers/server/password').text)";
    holds("an XML parser", &maven, settings, |file| python(read, file));
    let cargo = Format::Document { syntax: Syntax::Toml, pointer: Pointer::of(["registries", "internal", "token"]) };
    let read = "import sys,tomllib; print(tomllib.load(open(sys.argv[1],'rb'))['registries']['internal']['token'])";
    holds("cargo's format", &cargo, "# mine\n", |file| python(read, file));
    let user = Pointer::of(["users", "name=ci", "user", "token"]);
    let kubeconfig = Format::Document { syntax: Syntax::Yaml, pointer: user };
    let before = "apiVersion: v1\nkind: Config\nusers:\n- name: ci\n  user:\n    token: old\n";
    holds("kubectl", &kubeconfig, before, |file| {
        let path = "jsonpath={.users[0].user.token}";
        printed("kubectl", &["config", "view", "--raw", "-o", path], &[("KUBECONFIG", file)], "")
    });
}
