//! Real sockets on loopback, and servers that do one wrong thing each.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::inventory::{ProxyPolicy, is_loopback};
use crate::trust::{ClientCertificate, TlsPolicy};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(500);
const PATIENT: Timeouts = Timeouts { connect: LONG, headers: LONG, body: LONG };
const LIMIT: usize = 64 * 1024;

/// Sends one request to `url`, with these times.
async fn send_within(url: &str, timeouts: Timeouts, ca_file: Option<&Path>) -> Exchange {
    http_client(timeouts, ca_file).send(request(url), Dress::default()).await
}

async fn send(url: &str) -> Exchange {
    send_within(url, PATIENT, None).await
}

fn http_client(timeouts: Timeouts, ca_file: Option<&Path>) -> HttpClient {
    let tls = TlsPolicy { ca_file: ca_file.map(Path::to_owned), ..TlsPolicy::default() };
    with_tls(timeouts, &tls)
}

fn with_tls(timeouts: Timeouts, tls: &TlsPolicy) -> HttpClient {
    let roots = tls.ca_file.as_ref().map(|_| TrustRoots::read(tls).unwrap());
    let tls = roots.map_or_else(trust::nobody, |roots| roots.config());
    through(timeouts, tls, None)
}

fn through(timeouts: Timeouts, tls: ClientConfig, proxy: Option<Proxy>) -> HttpClient {
    let settings = Settings { to: None, tls, proxy, connect: timeouts.connect, idle: 2 };
    with(settings, timeouts)
}

fn with(settings: Settings, timeouts: Timeouts) -> HttpClient {
    HttpClient { settings: Ok(settings), client: Mutex::default(), oldest: OLDEST, timeouts, max_response: LIMIT }
}

fn request(url: &str) -> Request {
    let mut bearer = HeaderValue::from_static("Bearer hunter2");
    bearer.set_sensitive(true);
    Request {
        method: Method::POST,
        url: url.parse().unwrap(),
        log_url: url.to_owned(),
        headers: vec![(AUTHORIZATION, bearer)],
        body: Some(Zeroizing::new(b"{\"a\":1}".to_vec())),
    }
}

/// Serves every connection with `behave`; returns the address as `HOST:PORT`.
async fn serve<F: Future<Output = ()> + Send + 'static>(behave: impl Fn(TcpStream) -> F + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    address
}

/// Reads one request with its body of seven bytes; nothing where the connection ends first.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"{\"a\":1}") {
        text.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(text).ok()
}

/// Answers one request with `answer`; `hang` keeps the connection open then.
async fn answering(answer: Vec<u8>, hang: bool) -> String {
    let answer = Arc::new(answer);
    serve(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            if read_request(&mut stream).await.is_some() {
                // The client may well hang up in the middle of it.
                let _ = stream.write_all(&answer).await;
                if hang {
                    let _ = stream.read_u8().await;
                }
            }
        }
    })
    .await
}

fn told(sent: &Exchange) -> (&'static str, FailureCode) {
    match sent {
        Exchange::Answered(response) => panic!("answered: {response:?}"),
        Exchange::NotSent(failure) => ("not sent", failure.code),
        Exchange::Unknown(failure) => ("unclear", failure.code),
    }
}

fn answered(sent: Exchange) -> Response {
    match sent {
        Exchange::Answered(response) => response,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_complete_answer_comes_back_whole() {
    let address = serve(|mut stream| async move {
        let Some(request) = read_request(&mut stream).await else { return };
        let echo = request.to_ascii_lowercase();
        let answer = format!("HTTP/1.1 201 Created\r\nX-Test: a\r\nContent-Length: {}\r\n\r\n{echo}", echo.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let response = answered(send(&format!("http://{address}/tokens?a=b")).await);
    assert_eq!(response.status, 201);
    assert_eq!(response.headers["x-test"], "a");
    let echo = String::from_utf8(response.body.to_vec()).unwrap();
    assert!(echo.starts_with("post /tokens?a=b http/1.1\r\n"), "{echo}");
    assert!(echo.contains(&format!("user-agent: {USER_AGENT}\r\n")), "{echo}");
    assert!(echo.contains("authorization: bearer hunter2\r\n"), "{echo}");
    assert!(echo.ends_with("\r\n\r\n{\"a\":1}"), "{echo}");
}

#[tokio::test]
async fn what_cannot_have_arrived_is_told_from_what_can() {
    use FailureCode::{Connect, Reset, TooLarge};
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}").into_bytes();
    let large = |rest: &str| [head(rest), vec![b'x'; 100_000_000]].concat();
    for (sentence, address, expected) in [
        ("nobody listens", free_address().await, ("not sent", Connect)),
        ("closed at once", serve(|stream| async move { drop(stream) }).await, ("unclear", Reset)),
        ("closed instead of an answer", answering(Vec::new(), false).await, ("unclear", Reset)),
        ("not HTTP", answering(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), true).await, ("unclear", Reset)),
        ("half a head", answering(head("Content-Le"), false).await, ("unclear", Reset)),
        ("half a body", answering(head("Content-Length: 10\r\n\r\nhalf"), false).await, ("unclear", Reset)),
        (
            "half of the chunks",
            answering(head("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), false).await,
            ("unclear", Reset),
        ),
        (
            "announced too large",
            answering(large("Content-Length: 100000000\r\n\r\n"), true).await,
            ("unclear", TooLarge),
        ),
        ("too large without a word", answering(large("\r\n"), true).await, ("unclear", TooLarge)),
        (
            "small until it is unpacked",
            answering([head("Content-Encoding: gzip\r\n\r\n"), gzip_bomb(1_000_000)].concat(), true).await,
            ("unclear", TooLarge),
        ),
        (
            "damaged compression",
            answering(head("Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk"), true).await,
            ("unclear", Reset),
        ),
    ] {
        let sent = send(&format!("http://{address}/?key=hunter2")).await;
        assert_eq!(told(&sent), expected, "{sentence}");
        assert!(!format!("{sent:?}").contains("hunter2"), "{sentence}: {sent:?}");
    }
}

#[tokio::test]
async fn each_phase_has_its_own_time() {
    let silent = || serve(|mut stream| async move { drop(stream.read_to_end(&mut Vec::new()).await) });
    let half = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec(), true).await;
    for (sentence, url, timeouts, expected) in [
        (
            "no TLS handshake",
            format!("https://{}", silent().await),
            Timeouts { connect: SHORT, ..PATIENT },
            ("not sent", FailureCode::Connect),
        ),
        (
            "no head",
            format!("http://{}", silent().await),
            Timeouts { connect: SHORT, headers: SHORT, ..PATIENT },
            ("unclear", FailureCode::Timeout),
        ),
        (
            "no end of the body",
            format!("http://{half}"),
            Timeouts { body: SHORT, ..PATIENT },
            ("unclear", FailureCode::Timeout),
        ),
    ] {
        let sent = send_within(&url, timeouts, None).await;
        assert_eq!(told(&sent), expected, "{sentence}: {sent:?}");
    }
}

/// The address of a listener whose queue is full: nobody gets a connection. The listener and what fills its queue.
async fn full() -> (String, Vec<TcpStream>, TcpListener) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        queue.push(stream);
    }
    (address.to_string(), queue, listener)
}

#[tokio::test]
async fn a_time_that_runs_out_is_told_by_its_phase() {
    let silent = || serve(|mut stream| async move { drop(stream.read_to_end(&mut Vec::new()).await) });
    let (full, _queue, _listener) = full().await;
    let short = Timeouts { connect: SHORT, headers: SHORT, ..PATIENT };
    for (sentence, url, words) in [
        ("TCP", format!("http://{full}"), format!("{full}: no TCP connection within 500ms")),
        ("TCP, of https", format!("https://{full}"), format!("{full}: no TCP connection within 500ms")),
        ("TLS", format!("https://{}", silent().await), "no TLS handshake ended within 500ms".to_owned()),
        ("the answer", format!("http://{}", silent().await), "did not begin to answer within 500ms".to_owned()),
    ] {
        let client = through(short, progress::observed(trust::nobody()), None);
        let sent = client.send(request(&url), Dress::default()).await;
        assert!(format!("{sent:?}").contains(&words), "{sentence}: {sent:?}");
    }
    // A proxy that does not connect is blamed; behind one that does, the server.
    let server = silent().await.rsplit_once(':').unwrap().1.parse().unwrap();
    for (sentence, proxy, words) in [
        ("the proxy is silent", silent().await, "no connection through http://"),
        ("the server is", tunnel(server, None, "").await, "no TLS handshake ended within 500ms"),
    ] {
        let variables = |name: &str| (name == "HTTPS_PROXY").then(|| format!("http://{proxy}"));
        let proxy = Proxy::choose(&ProxyPolicy::Environment, &"https://api.test".parse().unwrap(), variables).unwrap();
        let client = through(short, progress::observed(trust::nobody()), proxy);
        let sent = client.send(request("https://api.test/"), Dress::default()).await;
        assert!(format!("{sent:?}").contains(words), "{sentence}: {sent:?}");
    }
}

#[tokio::test]
async fn an_answer_of_just_the_allowed_size_is_taken_and_unpacked_where_needed() {
    let full = [format!("HTTP/1.1 200 OK\r\nContent-Length: {LIMIT}\r\n\r\n").into_bytes(), vec![b'x'; LIMIT]].concat();
    let address = answering(full, true).await;
    assert_eq!(answered(send(&format!("http://{address}")).await).body.len(), LIMIT);

    // A stored block with "hello" between a gzip header and the CRC and length of it.
    let mut gzip = GZIP_HEADER.to_vec();
    gzip.extend([0x01, 5, 0, 0xfa, 0xff]);
    gzip.extend(b"hello\x86\xa6\x10\x36\x05\0\0\0");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", gzip.len());
    let address = answering([head.into_bytes(), gzip].concat(), true).await;
    assert_eq!(**answered(send(&format!("http://{address}")).await).body, *b"hello");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nobody_follows_it() {
    let visits = Arc::new(AtomicUsize::new(0));
    let elsewhere = serve({
        let visits = Arc::clone(&visits);
        move |_| {
            visits.fetch_add(1, Ordering::SeqCst);
            async {}
        }
    })
    .await;
    let answer = format!("HTTP/1.1 307 Moved\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let address = answering(answer.into_bytes(), true).await;
    assert_eq!(answered(send(&format!("http://{address}")).await).status, 307);
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_request_on_a_connection_that_breaks_is_never_sent_twice() {
    let requests = Arc::new(AtomicUsize::new(0));
    let address = serve({
        let requests = Arc::clone(&requests);
        move |mut stream| {
            let requests = Arc::clone(&requests);
            async move {
                while read_request(&mut stream).await.is_some() {
                    if requests.fetch_add(1, Ordering::SeqCst) == 1 {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            }
        }
    })
    .await;
    let url = format!("http://{address}");
    let client = http_client(PATIENT, None);
    answered(client.send(request(&url), Dress::default()).await);
    assert_eq!(told(&client.send(request(&url), Dress::default()).await), ("unclear", FailureCode::Reset));
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    answered(client.send(request(&url), Dress::default()).await);
}

#[tokio::test]
async fn tls_is_believed_with_the_right_root_only() {
    let directory = tempfile::tempdir().unwrap();
    let (right, server) = authority(directory.path(), "right.pem");
    let (wrong, _) = authority(directory.path(), "wrong.pem");
    let port = serve_tls(server);
    let talks_plain = serve(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example.com ESMTP ready\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;

    let url = format!("https://localhost:{port}");
    assert_eq!(answered(send_within(&url, PATIENT, Some(&right)).await).status, 204);
    for (sentence, ca_file, url, code) in [
        ("another authority", &wrong, url.clone(), FailureCode::UnknownIssuer),
        ("another name", &right, format!("https://127.0.0.1:{port}"), FailureCode::CertificateName),
        ("no TLS at all", &right, format!("https://{talks_plain}"), FailureCode::NotTls),
    ] {
        let sent = send_within(&url, PATIENT, Some(ca_file)).await;
        assert_eq!(told(&sent), ("not sent", code), "{sentence}: {sent:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_by_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let (_, unknown) = authority(directory.path(), "unknown.pem");
    let (expired_root, expired) = authority_with(directory.path(), "expired.pem", 2020..2021, false);
    let (early_root, early) = authority_with(directory.path(), "early.pem", 2079..2080, false);
    let (demanding_root, demanding) = authority_with(directory.path(), "demanding.pem", 2020..2080, true);
    let other_root = &expired_root;
    let trusting = |root: &Path| TlsPolicy { ca_file: Some(root.to_owned()), ..TlsPolicy::default() };
    let demanding = serve_tls(demanding);
    for (sentence, port, policy, code, told_as) in [
        (
            "an authority of somebody",
            serve_tls(unknown),
            trusting(other_root),
            FailureCode::UnknownIssuer,
            "authority of unknown.pem",
        ),
        (
            "too late",
            serve_tls(expired),
            trusting(&expired_root),
            FailureCode::CertificateExpired,
            "ended at 2021-01-01",
        ),
        (
            "too early",
            serve_tls(early),
            trusting(&early_root),
            FailureCode::CertificateExpired,
            "valid from 2079-01-01",
        ),
        (
            "a client certificate",
            demanding,
            trusting(&demanding_root),
            FailureCode::ClientCertificate,
            "CertificateRequired",
        ),
    ] {
        let url = format!("https://localhost:{port}");
        let sent = with_tls(PATIENT, &policy).send(request(&url), Dress::default()).await;
        assert_eq!(told(&sent), ("not sent", code), "{sentence}: {sent:?}");
        assert!(format!("{sent:?}").contains(told_as), "{sentence}: {sent:?}");
    }
    let client = ClientCertificate { certificate: file("client.pem"), key: file("client.key") };
    let policy = TlsPolicy { client: Some(client), ..trusting(&demanding_root) };
    let url = format!("https://localhost:{demanding}");
    let sent = with_tls(PATIENT, &policy).send(request(&url), Dress::default()).await;
    assert_eq!(answered(sent).status, 204, "with the client certificate");
}

/// A proxy that wants this `Proxy-Authorization`, where there is one, and connects everybody to `target`.
async fn tunnel(target: u16, wanted: Option<&'static str>, refusal: &'static str) -> String {
    serve(move |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let known = wanted.is_none_or(|wanted| head.contains(wanted));
        if !known || !refusal.is_empty() {
            let status = if known { refusal } else { "407 Proxy Authentication Required" };
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await;
        let mut server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
    })
    .await
}

#[tokio::test]
async fn a_proxy_is_blamed_for_what_the_proxy_does() {
    let directory = tempfile::tempdir().unwrap();
    let (root, server) = authority(directory.path(), "right.pem");
    let (_, interceptor) = authority(directory.path(), "interceptor.pem");
    let (server, interceptor) = (serve_tls(server), serve_tls(interceptor));
    let url = format!("https://localhost:{server}");
    let tls = TrustRoots::read(&TlsPolicy { ca_file: Some(root), ..TlsPolicy::default() }).unwrap().config();
    // dXNlcjpzZXNhbWU= is user:sesame.
    let password = Some("dXNlcjpzZXNhbWU=");
    for (sentence, proxy, failure) in [
        ("it connects", tunnel(server, None, "").await, None),
        ("it knows the password", format!("user:sesame@{}", tunnel(server, password, "").await), None),
        ("it is down", free_address().await, Some((FailureCode::Proxy, "cannot be reached"))),
        ("it wants a password", tunnel(server, password, "").await, Some((FailureCode::Proxy, "asks for a password"))),
        (
            "it wants another password",
            format!("user:wrong@{}", tunnel(server, password, "").await),
            Some((FailureCode::Proxy, "does not accept the user name and password")),
        ),
        (
            "it forbids the host",
            tunnel(server, None, "403 Forbidden").await,
            Some((FailureCode::Proxy, "does not connect to")),
        ),
        (
            "it reaches nobody",
            tunnel(server, None, "502 Bad Gateway").await,
            Some((FailureCode::Proxy, "does not connect to")),
        ),
        (
            "it intercepts",
            tunnel(interceptor, None, "").await,
            Some((FailureCode::UnknownIssuer, "authority of interceptor.pem")),
        ),
    ] {
        let variables = |name: &str| (name == "HTTPS_PROXY").then(|| format!("http://{proxy}"));
        let proxy = Proxy::choose(&ProxyPolicy::Environment, &"https://api.test".parse().unwrap(), variables);
        let client = through(PATIENT, tls.clone(), proxy.unwrap());
        let sent = client.send(request(&url), Dress::default()).await;
        assert!(!format!("{sent:?}").contains("sesame"), "{sentence}: {sent:?}");
        match failure {
            None => assert_eq!(answered(sent).status, 204, "{sentence}"),
            Some((code, words)) => {
                assert_eq!(told(&sent), ("not sent", code), "{sentence}: {sent:?}");
                assert!(format!("{sent:?}").contains(words), "{sentence}: {sent:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_told_as_such() {
    // No name server is asked for a label of more than 63 letters.
    let sent = send(&format!("http://{}.test/", "a".repeat(70))).await;
    assert_eq!(told(&sent), ("not sent", FailureCode::Resolve), "{sent:?}");
}

#[tokio::test]
async fn what_the_inventory_adds_goes_with_every_request() {
    let address = serve(|mut stream| async move {
        let Some(request) = read_request(&mut stream).await else { return };
        let found = request.to_ascii_lowercase().contains("cf-access-client-secret: sesame\r\n");
        let status = if found { "204 No Content" } else { "403 Forbidden" };
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
    })
    .await;
    let url = format!("http://{address}");
    let client = http_client(PATIENT, None);
    let header = ("cf-access-client-secret".parse().unwrap(), HeaderValue::from_static("sesame"));
    let dressed = Dress { headers: vec![header], proxy: None };
    assert_eq!(answered(client.send(request(&url), dressed).await).status, 204);
    assert_eq!(answered(client.send(request(&url), Dress::default()).await).status, 403);
}

#[tokio::test]
async fn names_of_localhost_lead_to_this_machine_without_a_name_server() {
    let address = answering(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), false).await;
    let port = address.rsplit_once(':').unwrap().1;
    for name in ["localhost", "no-such-name-anywhere.localhost"] {
        assert_eq!(answered(send(&format!("http://{name}:{port}/")).await).status, 204, "{name}");
    }
}

#[test]
fn loopback_is_told_by_name() {
    for (url, loopback) in [
        ("http://127.0.0.1:80", true),
        ("http://127.9.9.9", true),
        ("http://[::1]/", true),
        ("http://LOCALHOST/", true),
        ("http://a.localhost/", true),
        ("http://localhost.example.com/", false),
        ("http://10.0.0.1/", false),
        ("http://notlocalhost/", false),
    ] {
        assert_eq!(is_loopback(&url.parse().unwrap()), loopback, "{url}");
    }
}

#[test]
fn a_buffer_that_grows_keeps_its_content() {
    let mut body = Zeroizing::new(Vec::new());
    let mut expected = Vec::new();
    for n in 0..200_u8 {
        let chunk = vec![n; usize::from(n)];
        append(&mut body, &chunk);
        expected.extend(chunk);
    }
    assert_eq!(*body, expected);
}

async fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Gzip of about `size` zeros: one literal, then matches of 258 bytes at distance one, in fixed Huffman codes.
fn gzip_bomb(size: usize) -> Vec<u8> {
    let mut bits = vec![true, true, false];
    let mut push = |code: u8, length: u32| bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    push(0b0011_0000, 8);
    for _ in 0..size / 258 {
        push(0b1100_0101, 8);
        push(0, 5);
    }
    push(0, 7);
    let pack = |byte: &[bool]| byte.iter().rev().fold(0, |packed, bit| packed << 1 | u8::from(*bit));
    GZIP_HEADER.into_iter().chain(bits.chunks(8).map(pack)).collect()
}

/// A CA in a file of `directory`, and a server's settings with a certificate of it for `localhost`.
fn authority(directory: &Path, name: &str) -> (std::path::PathBuf, Arc<rustls::ServerConfig>) {
    authority_with(directory, name, 2020..2080, false)
}

/// The same, with a certificate for these years; `demands`: clients have to prove themselves by the same CA, and
/// `client.pem` and `client.key` are there for them.
fn authority_with(
    directory: &Path,
    name: &str,
    years: std::ops::Range<i32>,
    demands: bool,
) -> (std::path::PathBuf, Arc<rustls::ServerConfig>) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, format!("authority of {name}"));
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let root = parameters.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, key);
    let signed = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        leaf.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        (leaf.signed_by(&key, &issuer).unwrap(), key)
    };
    let (leaf, leaf_key) = signed("localhost");
    let path = directory.join(name);
    std::fs::write(&path, root.pem()).unwrap();
    let algorithms = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&algorithms));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if demands {
        let (client, client_key) = signed("client");
        std::fs::write(directory.join("client.pem"), client.pem()).unwrap();
        std::fs::write(directory.join("client.key"), client_key.serialize_pem()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), algorithms);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let config =
        builder.with_single_cert(vec![leaf.der().clone()], leaf_key.serialize_der().try_into().unwrap()).unwrap();
    (path, Arc::new(config))
}

/// Answers 204 to every request over TLS; returns the port.
fn serve_tls(config: Arc<rustls::ServerConfig>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, config) = (stream.unwrap(), Arc::clone(&config));
            std::thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream);
                let mut text = Vec::new();
                let mut chunk = [0; 1024];
                while !text.ends_with(b"{\"a\":1}") {
                    match stream.read(&mut chunk) {
                        Ok(count) if count > 0 => text.extend_from_slice(&chunk[..count]),
                        Ok(_) => return,
                        // What was sent, an alert mostly, is lost where a connection is closed with something unread.
                        Err(_) => return drop(stream.sock.read_to_end(&mut Vec::new())),
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                let _ = stream.flush();
            });
        }
    });
    port
}

#[tokio::test]
async fn connections_go_where_they_are_told_to_and_the_name_stays() {
    let echo = |mut stream: TcpStream| async move {
        let Some(request) = read_request(&mut stream).await else { return };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{request}", request.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let address: SocketAddr = serve(echo).await.parse().unwrap();
    let (ip, port) = (address.ip().to_string(), Some(address.port()));
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("service.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = Vec::new();
            while !text.ends_with(b"{\"a\":1}") {
                text.push(stream.read_u8().await.unwrap());
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            stream.write_all(&[head.as_bytes(), &text].concat()).await.unwrap();
        }
    });
    for (sentence, url, to) in [
        ("an address", "http://awx.example.com/x", ConnectTo::Host { host: ip, port }),
        ("a name of this machine", "http://awx.example.com/x", ConnectTo::Host { host: "x.localhost".into(), port }),
        ("a socket", "http://awx.example.com/x", ConnectTo::Socket(socket)),
    ] {
        let settings = Settings { to: Some(to), tls: trust::nobody(), proxy: None, connect: LONG, idle: 2 };
        let client = with(settings, PATIENT);
        let response = answered(client.send(request(url), Dress::default()).await);
        let echo = String::from_utf8(response.body.to_vec()).unwrap().to_ascii_lowercase();
        assert!(echo.contains("host: awx.example.com\r\n"), "{sentence}: {echo}");
    }
}

#[tokio::test]
async fn a_busy_connection_does_not_live_for_ever() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = serve(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let url = format!("http://{address}/");
    for (sentence, oldest, expected) in [("a young one is kept", OLDEST, 1), ("an old one is not", Duration::ZERO, 3)] {
        let before = connections.load(Ordering::SeqCst);
        let client = HttpClient { oldest, ..http_client(PATIENT, None) };
        for _ in 0..3 {
            answered(client.send(request(&url), Dress::default()).await);
        }
        assert_eq!(connections.load(Ordering::SeqCst) - before, expected, "{sentence}");
    }
}

/// A server whose authority is below a root that is in a file of `directory`; `whole`: it sends the certificate between.
fn below(directory: &Path, whole: bool) -> (std::path::PathBuf, Arc<rustls::ServerConfig>) {
    let authority = |name: &str| {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (parameters, rcgen::KeyPair::generate().unwrap())
    };
    let (root_parameters, root_key) = authority("the root");
    let (middle_parameters, middle_key) = authority("the authority between");
    let root = root_parameters.self_signed(&root_key).unwrap();
    let above = rcgen::Issuer::new(root_parameters, root_key);
    let middle = middle_parameters.signed_by(&middle_key, &above).unwrap();
    let issuer = rcgen::Issuer::new(middle_parameters, middle_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let path = directory.join("root.pem");
    std::fs::write(&path, root.pem()).unwrap();
    let mut chain = vec![leaf.der().clone()];
    chain.extend(whole.then(|| middle.der().clone()));
    let config = versions(rustls::ALL_VERSIONS)
        .with_no_client_auth()
        .with_single_cert(chain, key.serialize_der().try_into().unwrap());
    (path, Arc::new(config.unwrap()))
}

fn versions(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier> {
    let algorithms = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(algorithms).with_protocol_versions(versions).unwrap()
}

#[tokio::test]
async fn a_server_that_leaves_out_the_certificate_between_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    for (whole, expected) in [(true, None), (false, Some("the authority between"))] {
        let (root, config) = below(directory.path(), whole);
        let sent = send_within(&format!("https://localhost:{}", serve_tls(config)), PATIENT, Some(&root)).await;
        match expected {
            None => assert_eq!(answered(sent).status, 204),
            Some(issuer) => {
                assert_eq!(told(&sent), ("not sent", FailureCode::UnknownIssuer));
                assert!(format!("{sent:?}").contains(issuer), "{sent:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_least_version_of_tls_and_servers_of_http_2_alone_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let (root, new) = authority(directory.path(), "new.pem");
    let settings = |config: &rustls::ServerConfig, old: bool| {
        let mut config = config.clone();
        if old {
            let resolver = Arc::clone(&config.cert_resolver);
            config = versions(&[&rustls::version::TLS12]).with_no_client_auth().with_cert_resolver(resolver);
        }
        config
    };
    let only_old = serve_tls(Arc::new(settings(&new, true)));
    let mut two = settings(&new, false);
    two.alpn_protocols = vec![b"h2".to_vec()];
    let only_two = serve_tls(Arc::new(two));
    let trusting = TlsPolicy { ca_file: Some(root), ..TlsPolicy::default() };
    let strict = TlsPolicy { only_1_3: true, ..trusting.clone() };
    for (sentence, port, policy, expected) in [
        ("TLS 1.2 is enough", only_old, &trusting, None),
        ("TLS 1.3 is wanted", only_old, &strict, Some("no version or cipher")),
        ("HTTP/2 alone", only_two, &trusting, Some("HTTP/2 only")),
    ] {
        let url = format!("https://localhost:{port}");
        let sent = with_tls(PATIENT, policy).send(request(&url), Dress::default()).await;
        match expected {
            None => assert_eq!(answered(sent).status, 204, "{sentence}"),
            Some(text) => {
                assert_eq!(told(&sent).0, "not sent", "{sentence}: {sent:?}");
                assert!(format!("{sent:?}").contains(text), "{sentence}: {sent:?}");
            }
        }
    }
}
