//! Accounts that are given up and taken again, and a journal that another process has taken.

use patrold::clock::Span;
use patrold::daemon::rotate::OperatorRequest;
use patrold::demo::{Fault, Service};
use patrold::names::AccountName;
use patrold::provider::Operation::{self, Mint, Revoke, Verify};
use patrold::rotation::reason::Reason;

use super::world::{Daemon, World, name_of, token};

async fn let_go(daemon: &Daemon, name: &str) {
    let is_elsewhere = |rest: patrold::rotation::decide::Rest| rest.reason == Reason::NotOwner;
    daemon.until(name, "it is let go", |view| view.rest.is_some_and(is_elsewhere)).await;
    let token = daemon.running.core.tokens.get(&name_of(name)).unwrap();
    let refused = daemon.running.core.begin(&token, OperatorRequest::Rotate).await.unwrap_err();
    assert!(refused.contains("another process"), "{refused}");
}

#[tokio::test]
async fn an_account_that_is_given_up_in_the_midst_of_a_rotation_loses_nothing() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let (from, account): (_, AccountName) = (world.count(), "awx".parse().unwrap());
    for (number, under_way) in [(2, Mint), (3, Verify), (4, Revoke)] {
        world.loopback.faults().next(Service::Awx, under_way, Fault::Slow { by: Span::milliseconds(300) });
        let begun = world.count();
        daemon.request("ci").await;
        let is_under_way = |operation: Option<Operation>| operation == Some(under_way);
        world.until_requests("it is under way", |all| all[begun..].iter().any(|it| is_under_way(it.operation))).await;
        daemon.running.core.drop_account(&account);
        let_go(&daemon, "ci").await;
        let done = world.count();
        daemon.wake("ci");
        let_go(&daemon, "ci").await;
        assert_eq!(world.count(), done, "{under_way:?}: nothing more is done for it");
        daemon.running.core.adopt_account(&account).await.unwrap();
        daemon.wake("ci");
        daemon.steady("ci", number).await;
        assert!(world.is_live(&world.stored("ci")), "{under_way:?}");
        assert_eq!(world.live(Service::Awx).len(), 1, "{under_way:?}: nothing is left behind");
    }
    let minted = world.changes(Service::Awx, from).into_iter().filter(|it| *it == Mint).count();
    assert_eq!(minted, 3, "one for each rotation");
}

#[tokio::test]
async fn a_daemon_whose_journal_was_taken_over_does_nothing_more() {
    let world = World::new().await;
    let parts = [
        world.account(Service::Awx, ""),
        token("ci", Service::Awx, "rotate-every = \"30d\""),
        token("cd", Service::Awx, "rotate-every = \"30d\""),
    ];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.steady("cd", 1).await;
    let (old, from) = (world.stored("ci"), world.count());
    // What a second daemon does where the file system keeps no locks.
    let other = rusqlite::Connection::open(world.path("state/journal.db")).unwrap();
    assert_eq!(other.execute("UPDATE meta SET value = value + 1 WHERE key = 'epoch'", ()).unwrap(), 1);
    daemon.request("ci").await;
    let_go(&daemon, "ci").await;
    daemon.wake("cd");
    let_go(&daemon, "cd").await;
    assert!(world.changes(Service::Awx, from).is_empty());
    assert!(world.is_live(&old) && world.stored("ci") == old);
    daemon.stop().await;
    // The journal knows nothing of the request.
    let daemon = world.resume().await;
    daemon.steady("ci", 1).await;
    daemon.rotate("ci").await;
    daemon.steady("ci", 2).await;
}
