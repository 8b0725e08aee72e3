//! People are told, through a receiver on loopback, a program in place of sendmail, and a program of their own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use patrold::clock::Span;
use patrold::daemon::notifier;
use patrold::demo::Service;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::world::{Daemon, PATIENCE, World, now, sit_out, token};

/// One request that a receiver got.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// A service on loopback that keeps what it is told.
pub struct Receiver {
    pub address: SocketAddr,
    got: watch::Receiver<Vec<Got>>,
    answers: watch::Sender<StatusCode>,
}

type Shared = Arc<(watch::Sender<Vec<Got>>, watch::Receiver<StatusCode>)>;

async fn take(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let status = *shared.1.borrow();
    if status.is_success() {
        let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let got = Got { path: uri.path().to_owned(), authorization, body: serde_json::from_slice(&body).unwrap() };
        shared.0.send_modify(|all| all.push(got));
    }
    (status, String::from_utf8_lossy(&body).into_owned())
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ((sender, got), (answers, answer)) = (watch::channel(Vec::new()), watch::channel(StatusCode::ACCEPTED));
        let router = Router::new().fallback(take).with_state(Arc::new((sender, answer)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, got, answers }
    }

    pub fn all(&self) -> Vec<Got> {
        self.got.borrow().clone()
    }

    pub async fn until(&self, what: &str, is: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let mut got = self.got.clone();
        let ended = tokio::time::timeout(PATIENCE, got.wait_for(|all| is(all))).await.map(|all| all.unwrap().clone());
        ended.unwrap_or_else(|_| panic!("it never came to this: {what}; it got {:#?}", self.all()))
    }

    /// Whether it takes nothing.
    pub fn refuse(&self, refuse: bool) {
        let answer = if refuse { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::ACCEPTED };
        self.answers.send_replace(answer);
    }

    /// What it was told, in the generic form: `opened hook-owed`.
    pub fn turns(&self) -> Vec<String> {
        turns(&self.all())
    }
}

fn turns(got: &[Got]) -> Vec<String> {
    let conditions = got.iter().flat_map(|got| got.body["conditions"].as_array().cloned().unwrap_or_default());
    conditions.map(|it| format!("{} {}", it["turn"].as_str().unwrap(), it["kind"].as_str().unwrap())).collect()
}

/// A token whose hook fails while the file `broken` exists, and then quotes what the store holds.
pub fn hooked(world: &World) -> Vec<String> {
    let hook = "rotate-every = \"30d\"\nhooks = [{ run = [\"sh\", \"-c\", \
                \"test -e $DIR/broken || exit 0; cat $DIR/stores/ci >&2; exit 1\"] }]";
    vec![world.account(Service::Awx, ""), token("ci", Service::Awx, hook)]
}

pub fn channel(name: &str, via: &str) -> String {
    format!(
        "[[notify]]\nname = \"{name}\"\nwhen = {{ severity = \"warning\", for = \"0s\" }}\ngather = \"50ms\"\nvia = {via}\n"
    )
}

async fn breaks(world: &World, daemon: &Daemon) {
    fs::write(world.path("broken"), "").unwrap();
    daemon.request("ci").await;
}

#[tokio::test]
async fn what_is_the_matter_is_told_once_and_its_end_too_also_across_a_restart() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    fs::write(world.path("ops"), "ops-password").unwrap();
    let via = format!(
        "{{ definition = \"json\", url = \"http://{}\", credential = {{ file = \"$DIR/ops\" }} }}",
        receiver.address
    );
    let mut parts = hooked(&world);
    parts.push(channel("ops", &via));
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    breaks(&world, &daemon).await;
    let got =
        receiver.until("the failing hook is told", |got| turns(got).contains(&"opened hook-owed".to_owned())).await;
    let first = &got[0];
    assert_eq!(first.authorization.as_deref(), Some("Bearer ops-password"));
    assert_eq!(first.body["turn"], "opened");
    assert!(first.body["conditions"][0]["subject"].as_str().unwrap().contains("token ci"), "{first:#?}");
    assert!(first.body["conditions"][0]["why"].as_str().unwrap().contains("***"), "what the hook said: {first:#?}");
    daemon.stop().await;

    let daemon = world.resume().await;
    sit_out(now() + Span::seconds(2)).await;
    assert_eq!(receiver.turns(), ["opened hook-owed"], "nothing is told twice");
    daemon.stop().await;

    // It mends while nobody looks.
    fs::remove_file(world.path("broken")).unwrap();
    let daemon = world.resume().await;
    daemon.steady("ci", 2).await;
    receiver.until("its end is told", |got| turns(got).contains(&"closed hook-owed".to_owned())).await;
    assert_eq!(receiver.turns(), ["opened hook-owed", "closed hook-owed"]);
    let told = format!("{:?}", receiver.all().iter().map(|got| &got.body).collect::<Vec<_>>());
    for secret in [old, world.stored("ci"), "ops-password".to_owned()] {
        assert!(!told.contains(&secret), "a secret was told");
    }
}

#[tokio::test]
async fn a_channel_that_fails_is_told_by_the_others_and_tells_how_things_are_later() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.answers.send_replace(StatusCode::SERVICE_UNAVAILABLE);
    let sendmail = world.path("sendmail");
    fs::write(
        &sendmail,
        "#!/bin/sh\ncd \"$(dirname \"$0\")\" && cat > mail.new && mv mail.new mail.$(ls mail.* 2>/dev/null | wc -l)\n",
    )
    .unwrap();
    fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755)).unwrap();
    let web = format!("{{ definition = \"json\", url = \"http://{}\" }}", receiver.address);
    let mut parts = hooked(&world);
    parts.push(channel("web", &web));
    parts.push(channel("post", "{ mail = [\"ops@example.com\"], sendmail = [\"$DIR/sendmail\"] }"));
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    breaks(&world, &daemon).await;
    let mails = || {
        let names = fs::read_dir(world.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("mail.") && name != "mail.new");
        names.iter().map(|name| world.read(name)).collect::<String>()
    };
    let deadline = now() + Span::from_std(PATIENCE).unwrap();
    while !(mails().contains("channel web does not take messages") && mails().contains("has not succeeded")) {
        assert!(now() < deadline, "mail never told both: {}", mails());
        sit_out(now() + Span::milliseconds(50)).await;
    }
    let mail = mails();
    assert!(mail.contains("To: ops@example.com\nSubject: patrold on "), "{mail}");
    assert!(!mail.contains(&world.stored("ci")), "a secret was told");
    let status = daemon.running.status();
    let web = status.channels.iter().find(|channel| channel.name.as_str() == "web").unwrap();
    assert!(web.failing.as_ref().unwrap().message.contains("HTTP 503"), "{web:?}");

    receiver.answers.send_replace(StatusCode::OK);
    daemon.running.notifier.retry();
    receiver.until("it tells what it could not", |got| turns(got).contains(&"opened hook-owed".to_owned())).await;
    assert!(!receiver.turns().iter().any(|turn| turn.ends_with("channel-failing")), "it does not tell of itself");
}

#[tokio::test]
async fn each_service_gets_the_form_that_it_takes() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let url = format!("http://{}", receiver.address);
    fs::write(world.path("key"), "routing-key").unwrap();
    fs::write(world.path("hook"), format!("{url}/services/T0/secret-path")).unwrap();
    let key = "credential = { file = \"$DIR/key\" }";
    let via = |rest: &str| format!("{{ {rest} }}");
    let channels = [
        ("alertmanager", via(&format!("definition = \"alertmanager\", url = \"{url}/prefix\""))),
        ("json", via(&format!("definition = \"json\", url = \"{url}/ops\""))),
        ("ntfy", via(&format!("definition = \"ntfy\", url = \"{url}\", params = {{ topic = \"t\" }}, {key}"))),
        ("pagerduty", via(&format!("definition = \"pagerduty\", url = \"{url}\", {key}"))),
        ("slack", via("definition = \"slack\", credential = { file = \"$DIR/hook\" }")),
        ("teams", via("definition = \"teams\", credential = { file = \"$DIR/hook\" }")),
        (
            "own",
            via(&format!(
                "url = \"{url}/own\", form = {{ each = \"condition\", json = {{ t = \"{{{{ condition.turn }}}}\" }} }}"
            )),
        ),
        ("program", via("command = [\"sh\", \"-c\", \"cat > $DIR/told; env > $DIR/env\"]")),
    ];
    let mut parts = vec![world.account(Service::Awx, "")];
    parts.extend(channels.iter().map(|(name, via)| channel(name, via)));
    let daemon = world.start(&parts).await;
    let inventory = daemon.running.core.inventory();
    let test = async |name: &str| {
        let before = receiver.all().len();
        let channel = &inventory.channels[&name.parse().unwrap()];
        let sent = notifier::test(&daemon.running.notifier.sender, channel).await;
        assert_eq!(sent.failure, None, "{name}");
        receiver.all().split_off(before)
    };
    let title = "this is a test of channel";
    let body = |got: &Got, pointer: &str| got.body.pointer(pointer).cloned().unwrap_or_default();

    let got = test("json").await;
    assert_eq!((got[0].path.as_str(), &body(&got[0], "/conditions/0/kind")), ("/ops", &json!("test")));
    let got = test("slack").await;
    assert_eq!(got[0].path, "/services/T0/secret-path");
    assert!(body(&got[0], "/text").as_str().unwrap().contains(title));
    let got = test("teams").await;
    assert_eq!(body(&got[0], "/attachments/0/content/body/1/wrap"), json!(true));
    assert_eq!(body(&got[0], "/attachments/0/contentType"), json!("application/vnd.microsoft.card.adaptive"));
    let got = test("ntfy").await;
    assert_eq!((body(&got[0], "/topic"), body(&got[0], "/priority")), (json!("t"), json!(4)));
    assert_eq!(got[0].authorization.as_deref(), Some("Bearer routing-key"));

    let got = test("pagerduty").await;
    let [trigger, resolve] = got.as_slice() else { panic!("{got:#?}") };
    assert_eq!(trigger.path, "/v2/enqueue");
    assert_eq!(
        (body(trigger, "/event_action"), body(trigger, "/routing_key")),
        (json!("trigger"), json!("routing-key"))
    );
    assert_eq!(body(resolve, "/event_action"), json!("resolve"));
    assert_eq!(body(trigger, "/dedup_key"), body(resolve, "/dedup_key"));
    assert_eq!(body(trigger, "/payload/severity"), json!("warning"));

    let got = test("alertmanager").await;
    let [open, over] = got.as_slice() else { panic!("{got:#?}") };
    assert_eq!(open.path, "/prefix/api/v2/alerts");
    assert_eq!(body(open, "/0/labels"), body(over, "/0/labels"));
    let ends = |got| body(got, "/0/endsAt").as_str().unwrap().to_owned();
    assert!(ends(open) > ends(over), "{} {}", ends(open), ends(over));

    let got = test("own").await;
    assert_eq!(got.iter().map(|got| body(got, "/t")).collect::<Vec<_>>(), [json!("opened"), json!("closed")]);
    assert!(test("program").await.is_empty());
    let told: Value = serde_json::from_str(&world.read("told")).unwrap();
    assert!(told["title"].as_str().unwrap().contains(title));
    assert!(world.read("env").contains("PATROLD_CHANNEL=program\n"));

    // What it answers is told without the secret that it quotes.
    receiver.answers.send_replace(StatusCode::BAD_REQUEST);
    let channel = &inventory.channels[&"pagerduty".parse().unwrap()];
    let sent = notifier::test(&daemon.running.notifier.sender, channel).await;
    let why = sent.failure.unwrap().0.detail;
    assert!(why.starts_with("it answers HTTP 400: ") && !why.contains("routing-key"), "{why}");
    let channel = &inventory.channels[&"slack".parse().unwrap()];
    let why = notifier::test(&daemon.running.notifier.sender, channel).await.failure.unwrap().0.detail;
    assert!(!why.contains("secret-path"), "{why}");
}
