//! Many tokens that are due at once.

use patrold::clock::Span;
use patrold::demo::{Options, Service};
use patrold::names::Marker;
use patrold::provider::Operation::Mint;

use super::world::{World, token};

#[tokio::test]
async fn after_a_start_those_go_first_whose_consumers_have_the_least_time() {
    // Ends within the hour in which they count.
    let world = World::with(Options { awx_lifetime: Span::minutes(30), ..Options::default() }).await;
    // More than are dealt with at once; in the order of their names, those with most time are the first.
    let (early, late) = ((0..64).map(|it| format!("z{it:02}")), (0..6).map(|it| format!("a{it}")));
    let (early, late): (Vec<_>, Vec<_>) = (early.collect(), late.collect());
    let parts = |names: &[String], scope: &str| {
        let account = world.account(Service::Awx, "max-in-flight = 1\npoll-every = \"1d\"");
        let more = format!("rotate-every = \"29m\"\nparams = {{ scope = \"{scope}\" }}");
        let tokens = names.iter().map(|name| token(name, Service::Awx, &more));
        std::iter::once(account).chain(tokens).collect::<Vec<_>>()
    };
    let daemon = world.start(&parts(&early, "write")).await;
    for name in &early {
        daemon.steady(name, 1).await;
    }
    let all: Vec<_> = early.iter().chain(&late).cloned().collect();
    world.write(&parts(&all, "write"));
    daemon.until_reload("six more", |reload| reload.changes.len() == late.len()).await;
    for name in &late {
        daemon.steady(name, 1).await;
    }
    daemon.stop().await;
    let before = world.count();
    // Other parameters make all of them due.
    let daemon = world.start(&parts(&all, "read")).await;
    for name in &all {
        daemon.steady(name, 2).await;
    }
    let requests = world.loopback.requests().split_off(before);
    let minted = requests.iter().filter(|it| it.operation == Some(Mint));
    let order: Vec<_> = minted.filter_map(|it| Marker::token(Marker::within(it.about.as_deref()?)?)).collect();
    assert_eq!(order.len(), all.len());
    let first: Vec<_> = order.iter().take(30).filter(|name| name.as_str().starts_with('a')).collect();
    assert!(first.is_empty(), "{first:?} had more time than others, and went first: {order:?}");
    daemon.stop().await;
}
