use super::*;

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_left_alone_until_it_answers() {
    let key: StoreKey = "file:/hangs".parse().unwrap();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let hangs = tokio::spawn(bounded(key.clone(), move || gate.recv().is_ok()));
    tokio::task::yield_now().await;
    tokio::time::advance(PATIENCE * 2).await;
    let failure = hangs.await.unwrap().unwrap_err();
    assert!(failure.detail.contains("has not answered"), "{failure}");
    assert!(bounded(key.clone(), || ()).await.is_err(), "nothing is begun beside it");
    assert!(bounded("file:/other".parse().unwrap(), || ()).await.is_ok());
    go.send(()).unwrap();
    while bounded(key.clone(), || ()).await.is_err() {
        tokio::task::yield_now().await;
    }
}
