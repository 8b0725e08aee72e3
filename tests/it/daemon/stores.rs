//! Stores that cannot be written, that somebody changes, and that come later.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::provider::Operation::{Mint, Revoke, Verify};
use patrold::rotation::Phase;

use super::world::{World, bare, token};

#[tokio::test]
async fn nothing_is_minted_that_could_not_be_delivered() {
    let world = World::new().await;
    // Root may write everywhere, but nobody makes a file below a file.
    fs::write(world.path("blocked"), "").unwrap();
    let stores = "stores = [{ kind = \"file\", path = \"$DIR/blocked/token\" }]\nrotate-every = \"30d\"";
    let daemon = world.start(&[world.account(Service::Awx, ""), bare("ci", Service::Awx, stores)]).await;
    let failure = daemon.failure("ci").await;
    assert!(failure.detail.contains("blocked/token"), "{failure}");
    assert_eq!(world.minted(Service::Awx), 0);
    fs::remove_file(world.path("blocked")).unwrap();
    fs::create_dir(world.path("blocked")).unwrap();
    daemon.steady("ci", 1).await;
    assert!(world.is_live(&world.read("blocked/token")));
}

#[tokio::test]
async fn a_store_that_fails_after_the_mint_gets_the_secret_later_and_no_second_mint_is_made() {
    let world = World::new().await;
    fs::create_dir(world.path("late")).unwrap();
    let stores = "rotate-every = \"30d\"\nstores = [{ kind = \"file\", path = \"$DIR/stores/ci\" }, \
                  { kind = \"file\", path = \"$DIR/late/token\" }]";
    let daemon = world.start(&[world.account(Service::Awx, ""), bare("ci", Service::Awx, stores)]).await;
    daemon.steady("ci", 1).await;
    let (old, from) = (world.stored("ci"), world.count());
    // Between the mint and its proof the directory goes away.
    world.loopback.faults().next(Service::Awx, Verify, patrold::demo::Fault::Slow { by: Span::milliseconds(700) });
    daemon.request("ci").await;
    daemon.until("ci", "it is minted", |view| matches!(view.state.phase, Phase::Minted { .. })).await;
    fs::rename(world.path("late"), world.path("away")).unwrap();
    fs::write(world.path("late"), "in the way").unwrap();
    let view = daemon
        .until("ci", "one store failed", |view| {
            view.state.last_failure.is_some()
                && matches!(view.state.phase, Phase::Verified { .. })
                && view.rest.is_some()
        })
        .await;
    assert!(view.state.last_failure.as_ref().unwrap().failure.detail.contains("late"), "{view:#?}");
    assert_ne!(world.stored("ci"), old, "the other store is not held up");
    assert!(world.is_live(&old), "the old secret stays in use");
    fs::remove_file(world.path("late")).unwrap();
    fs::rename(world.path("away"), world.path("late")).unwrap();
    daemon.steady("ci", 2).await;
    assert_eq!(world.read("late/token"), world.stored("ci"));
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify]);
    assert!(!world.is_live(&old));
}

#[tokio::test]
async fn a_store_that_somebody_changed_is_repaired_and_its_hooks_run_again() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ndrift-every = \"200ms\"\n\
                hooks = [{ run = [\"sh\", \"-c\", \"echo ran >> $DIR/hooks\"] }]";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    let (secret, from) = (world.stored("ci"), world.count());
    let path = world.path("stores/ci");
    let changes: [(&str, &dyn Fn()); 3] = [
        ("edited", &|| fs::write(&path, "something else").unwrap()),
        ("deleted", &|| fs::remove_file(&path).unwrap()),
        // The value is the same: nobody needs to be told.
        ("opened", &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap()),
    ];
    let told = [2, 3, 3];
    for (number, (how, change)) in changes.into_iter().enumerate() {
        let before = daemon.view("ci").state.phase.current().unwrap().delivery.settled;
        change();
        daemon
            .until("ci", &format!("the {how} store is repaired"), |view| {
                let settled = view.state.phase.current().unwrap().delivery.settled;
                view.rest.is_some() && settled.is_some() && settled != before
            })
            .await;
        assert_eq!(world.stored("ci"), secret, "{how}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{how}");
        assert_eq!(world.read("hooks").lines().count(), told[number], "{how}");
    }
    assert!(world.changes(Service::Awx, from).is_empty(), "a repair needs no provider");
}

#[tokio::test]
async fn a_store_that_is_added_gets_the_current_secret_without_a_rotation() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let daemon = world.start(&[account.clone(), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    let stores = "rotate-every = \"30d\"\nstores = [{ kind = \"file\", path = \"$DIR/stores/ci\" }, \
                  { kind = \"env-file\", path = \"$DIR/stores/ci.env\", key = \"CI\" }]";
    let from = world.count();
    world.write(&[account, bare("ci", Service::Awx, stores)]);
    daemon
        .until("ci", "both stores are written", |view| {
            let delivery = &view.state.phase.current().unwrap().delivery;
            delivery.stores.len() == 2 && delivery.settled.is_some()
        })
        .await;
    assert!(world.read("stores/ci.env").contains(&world.stored("ci")));
    assert!(world.changes(Service::Awx, from).is_empty());
}

#[tokio::test]
async fn an_env_file_keeps_every_other_byte() {
    let world = World::new().await;
    let before = "# who reads this\r\nA='1 2'\n\n  B = x\nCI=old # note\nCI_TOKEN=\nlast";
    fs::write(world.path("stores/env"), before).unwrap();
    fs::set_permissions(world.path("stores/env"), fs::Permissions::from_mode(0o640)).unwrap();
    let stores =
        "rotate-every = \"30d\"\nstores = [{ kind = \"env-file\", path = \"$DIR/stores/env\", key = \"CI_TOKEN\" }]";
    let daemon = world.start(&[world.account(Service::Awx, ""), bare("ci", Service::Awx, stores)]).await;
    daemon.steady("ci", 1).await;
    let first = world.read("stores/env");
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    let second = world.read("stores/env");
    for after in [&first, &second] {
        let (head, rest) = after.split_once("CI_TOKEN=").unwrap();
        let (secret, tail) = rest.split_once('\n').unwrap();
        assert_eq!(format!("{head}CI_TOKEN=\n{tail}"), before);
        assert!(world.loopback.ledger().entry_of(secret.trim_matches('"')).is_some(), "{after}");
    }
    assert_ne!(first, second);
    assert_eq!(fs::metadata(world.path("stores/env")).unwrap().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn a_store_that_others_may_read_is_refused_with_the_reason() {
    let world = World::new().await;
    fs::write(world.path("stores/env"), "CI=\n").unwrap();
    fs::set_permissions(world.path("stores/env"), fs::Permissions::from_mode(0o644)).unwrap();
    let stores = "rotate-every = \"30d\"\nstores = [{ kind = \"env-file\", path = \"$DIR/stores/env\", key = \"CI\" }]";
    let daemon = world.start(&[world.account(Service::Awx, ""), bare("ci", Service::Awx, stores)]).await;
    let failure = daemon.failure("ci").await;
    assert!(failure.detail.contains("every user"), "{failure}");
    assert_eq!(world.minted(Service::Awx), 0);
}

#[tokio::test]
async fn files_of_tools_get_each_new_secret_and_keep_everything_else() {
    let world = World::new().await;
    let files = [
        ("netrc", "kind = \"netrc\", machine = \"h\", login = \"ci\"", "# mine\nmachine h login ci password SECRET\n"),
        (
            "docker.json",
            "kind = \"docker-config\", registry = \"r.example.com\", username = \"ci\"",
            "{\n\t\"auths\": {\"r.example.com\": {\"auth\": \"BASIC\"}},\n\t\"x\": 1\n}\n",
        ),
        (
            "npmrc",
            "kind = \"npmrc\", registry = \"https://npm.example.com\"",
            "a=1\n//npm.example.com/:_authToken=SECRET\n",
        ),
        (
            "settings.xml",
            "kind = \"maven-settings\", server = \"ci\"",
            "<settings><!-- mine --><servers><server><id>ci</id><password>SECRET</password></server></servers></settings>\n",
        ),
        (
            "kubeconfig",
            "kind = \"kubeconfig\", user = \"ci\"",
            "users:\n- name: other\n  user: {token: x}\n- name: ci # mine\n  user:\n    token: \"SECRET\"\n",
        ),
    ];
    let with = |text: &str, secret: &str| {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("ci:{secret}"));
        text.replace("SECRET", secret).replace("BASIC", &basic)
    };
    let mut stores = vec!["{ kind = \"file\", path = \"$DIR/stores/ci\" }".to_owned()];
    for (name, keys, text) in files {
        let path = world.path(name);
        fs::write(&path, with(text, "old")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        stores.push(format!("{{ path = \"$DIR/{name}\", existing = \"replace\", {keys} }}"));
    }
    let more = format!("rotate-every = \"30d\"\nstores = [{}]", stores.join(", "));
    let daemon = world.start(&[world.account(Service::Awx, ""), bare("ci", Service::Awx, &more)]).await;
    for number in [1, 2] {
        // The first one is held back without it: the journal is new, and the files hold something.
        daemon.request("ci").await;
        daemon.steady("ci", number).await;
        for (name, _, text) in files {
            assert_eq!(world.read(name), with(text, &world.stored("ci")), "{name}");
        }
    }
}

#[tokio::test]
async fn a_file_with_secrets_of_two_tokens_never_keeps_a_dead_one() {
    let world = World::new().await;
    let template = |text: &str| {
        format!(
            "[template.netrc]\npath = \"$DIR/stores/netrc\"\nfrom = {{ a = \"a\", b = \"b\" }}\ntext = \"\"\"\n{text}\"\"\"\n"
        )
    };
    let own = |name: &str| bare(name, Service::Awx, "rotate-every = \"30d\"");
    let tokens = |text: &str| [world.account(Service::Awx, ""), own("a"), own("b"), template(text)];
    let text = "machine a password {{ a }}\nmachine b password {{ b }}\n";
    let daemon = world.start(&tokens(text)).await;
    let held = |world: &World| {
        let file = world.read("stores/netrc");
        let values: Vec<_> = file.lines().filter_map(|line| Some(line.split_once("password ")?.1.to_owned())).collect();
        assert_eq!(values.len(), 2, "{file}");
        values
    };
    // Each waits for the other, and both come.
    daemon.steady("a", 1).await;
    daemon.steady("b", 1).await;
    let first = held(&world);
    assert!(first.iter().all(|secret| world.is_live(secret)) && first[0] != first[1]);
    // Both at once, again and again.
    for number in 2..6 {
        let (a, b) = tokio::join!(daemon.rotate("a"), daemon.rotate("b"));
        assert_eq!((a, b), (Answer::Rotated(GenerationNo(number)), Answer::Rotated(GenerationNo(number))));
        let now = held(&world);
        assert!(now.iter().all(|secret| world.is_live(secret)), "{number}: a dead secret is in the file");
    }
    assert!(first.iter().all(|secret| !world.is_live(secret)), "the old ones are revoked");
    // Another text is written without a rotation, with the same secrets.
    let (before, from) = (held(&world), world.count());
    world.write(&tokens(&format!("# two\n{text}")));
    daemon.until("a", "the new text is there", |_| world.read("stores/netrc").starts_with("# two\n")).await;
    assert_eq!(held(&world), before);
    assert!(!world.changes(Service::Awx, from).contains(&Mint), "nothing was minted for it");
    daemon.stop().await;
}
