//! Lets a workload of Kubernetes start its pods anew, and waits until all of them are.
//!
//! What is set is what `kubectl rollout restart` sets, an annotation of the pod template; what is waited for is what
//! `kubectl rollout status` waits for (kubectl, `pkg/polymorphichelpers/rollout_status.go`). A second annotation names
//! the rotation: an attempt that finds its own waits for the rollout that goes on, and begins no other.

use std::collections::BTreeSet;

use chrono::SecondsFormat;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Request;
use super::command::{Unsuccessful, stopped};
use crate::clock::{Clock as _, SystemClock};
use crate::endpoint::Endpoint;
use crate::endpoint::single::Caller;
use crate::inventory::{RolloutPolicy, Workload};
use crate::outcome::{Failure, FailureCode};
use crate::provider;

/// The annotation of the pod template that names what it was restarted for.
const OURS: &str = "patrold/rotation";

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// Every pod is new, and works.
    Done,
    /// Not yet; why.
    Waiting(String),
    /// It will not come to that.
    Failed(String),
}

/// Restarts the workload, for everybody in the batch, and waits.
pub async fn send(
    policy: &RolloutPolicy,
    caller: &Caller,
    batch: &[Request],
    mut stop: watch::Receiver<bool>,
) -> Result<(), Unsuccessful> {
    let rolled = tokio::select! {
        rolled = roll(policy, caller, batch) => rolled,
        () = stopped(&mut stop) => Err("it was given up because the daemon stops".to_owned()),
    };
    rolled.map_err(|said| Unsuccessful {
        failure: Failure::new(FailureCode::HookFailed, format!("the rollout of {}", policy.workload_name())),
        said,
    })
}

async fn roll(policy: &RolloutPolicy, caller: &Caller, batch: &[Request]) -> Result<(), String> {
    let begun = Instant::now();
    let owner = format!("hook {}", policy.workload_name());
    let endpoint = caller.endpoint(SystemClock, &owner, &policy.site, &policy.url).await?;
    let secret = match &policy.credential {
        Some(source) => Some(caller.read(&owner, source).await.map_err(|failure| failure.detail)?),
        None => None,
    };
    let ask = async |method: Method, body: Option<Value>| {
        let mut headers = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
        if let Some(secret) = &secret {
            let text = Zeroizing::new(format!("Bearer {}", secret.expose()));
            headers.push((AUTHORIZATION, sensitive(&text)?));
        }
        if body.is_some() {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/strategic-merge-patch+json")));
        }
        request(&endpoint, policy, method, headers, body).await
    };
    let mine = occasion(batch);
    let attempt = batch.iter().map(|it| it.occasion.attempt).max().unwrap_or_default();
    let found = ask(Method::GET, None).await?;
    let begun_before = found.pointer("/spec/template/metadata/annotations").and_then(|all| all.get(OURS));
    let going = begun_before.and_then(Value::as_str) == Some(mine.as_str())
        && (attempt > 1 || progress(policy.workload, &found) != Progress::Done);
    if !going {
        let now = SystemClock.now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now, OURS: mine });
        let patch = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
        ask(Method::PATCH, Some(patch)).await?;
    }
    loop {
        match progress(policy.workload, &ask(Method::GET, None).await?) {
            Progress::Done => return Ok(()),
            Progress::Failed(why) => return Err(why),
            Progress::Waiting(why) if begun.elapsed() + policy.every > policy.within => return Err(why),
            Progress::Waiting(_) => tokio::time::sleep(policy.every).await,
        }
    }
}

async fn request(
    endpoint: &Endpoint<SystemClock>,
    policy: &RolloutPolicy,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Value>,
) -> Result<Value, String> {
    let request = provider::Request {
        method,
        url: policy.url.clone(),
        log_url: policy.url.host_str().unwrap_or_default().to_owned(),
        headers,
        body: body.map(|body| Zeroizing::new(body.to_string().into_bytes())),
    };
    let answer = endpoint.obtain(request, "hook", &[], policy.site.timeout).await.map_err(|(why, _)| why)?;
    serde_json::from_slice(&answer.body).map_err(|error| format!("its answer is no JSON: {error}"))
}

fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "its credential does not fit a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// What the workload is restarted for: the same for every attempt.
fn occasion(batch: &[Request]) -> String {
    let rotations: BTreeSet<_> = batch.iter().map(|it| it.occasion.rotation.to_string()).collect();
    let event = batch.first().map_or("", |it| it.occasion.event.as_str());
    let rotations: Vec<_> = rotations.into_iter().collect();
    format!("{event} {}", rotations.join(" "))
}

/// How far the rollout is, by the workload as the API shows it.
fn progress(workload: Workload, object: &Value) -> Progress {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
    let status = |name: &str| number(&format!("/status/{name}")).unwrap_or(0);
    let observed = number("/status/observedGeneration").unwrap_or(0);
    if number("/metadata/generation").is_none_or(|generation| observed < generation) {
        return Progress::Waiting("the controller has not seen the change yet".to_owned());
    }
    let strategy = match workload {
        Workload::Deployment => None,
        Workload::StatefulSet | Workload::DaemonSet => {
            object.pointer("/spec/updateStrategy/type").and_then(Value::as_str).filter(|it| *it != "RollingUpdate")
        }
    };
    if let Some(strategy) = strategy {
        return Progress::Failed(format!("its update strategy is {strategy}: no pod is restarted by itself"));
    }
    let of = |count: u64, all: u64, what: &str| Progress::Waiting(format!("{count} of {all} pods are {what}"));
    match workload {
        Workload::Deployment => {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            let stuck = |it: &&Value| it["type"] == "Progressing" && it["reason"] == "ProgressDeadlineExceeded";
            if conditions.into_iter().flatten().any(|it| stuck(&it)) {
                return Progress::Failed("it exceeded its progress deadline".to_owned());
            }
            // The API fills in 1.
            let wanted = number("/spec/replicas").unwrap_or(1);
            let (all, new, works) = (status("replicas"), status("updatedReplicas"), status("availableReplicas"));
            if new < wanted {
                of(new, wanted, "new")
            } else if all > new {
                Progress::Waiting(format!("{} old pods have not ended", all - new))
            } else if works < new {
                of(works, new, "available")
            } else {
                Progress::Done
            }
        }
        Workload::StatefulSet => {
            let wanted = number("/spec/replicas").unwrap_or(1);
            let (ready, new) = (status("readyReplicas"), status("updatedReplicas"));
            // Below a partition, pods keep what they have.
            let kept = number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0).min(wanted);
            let text = |name: &str| object.pointer(&format!("/status/{name}"));
            if ready < wanted {
                of(ready, wanted, "ready")
            } else if kept > 0 && new < wanted - kept {
                of(new, wanted - kept, "new")
            } else if kept == 0 && text("updateRevision") != text("currentRevision") {
                of(new, wanted, "new")
            } else {
                Progress::Done
            }
        }
        Workload::DaemonSet => {
            let wanted = status("desiredNumberScheduled");
            let (new, works) = (status("updatedNumberScheduled"), status("numberAvailable"));
            if new < wanted {
                of(new, wanted, "new")
            } else if works < wanted {
                of(works, wanted, "available")
            } else {
                Progress::Done
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::tests::{caller, hook, occasion, request};
    use super::super::{Occasion, Request};
    use super::*;
    use crate::inventory::{ProxyPolicy, SitePolicy};
    use crate::trust::TlsPolicy;

    /// An API server with one deployment of two pods, of which one becomes new with each look. Its requests so far.
    async fn cluster() -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut app = json!({
                "metadata": { "generation": 1 },
                "spec": { "replicas": 2, "template": { "metadata": {} } },
                "status": { "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 },
            });
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                let text = loop {
                    stream.read_buf(&mut bytes).await.unwrap();
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    if text.starts_with("GET") && text.ends_with("\r\n\r\n") || text.ends_with("}}}}}") {
                        break text;
                    }
                };
                log.lock().unwrap().push(text.clone());
                if let Some((_, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| !body.is_empty()) {
                    let patch: Value = serde_json::from_str(body).unwrap();
                    app["spec"]["template"]["metadata"] = patch["spec"]["template"]["metadata"].clone();
                    app["metadata"]["generation"] = json!(2);
                    app["status"]["observedGeneration"] = json!(2);
                    app["status"]["updatedReplicas"] = json!(0);
                } else if app["status"]["updatedReplicas"].as_u64() < Some(2) {
                    app["status"]["updatedReplicas"] = json!(app["status"]["updatedReplicas"].as_u64().unwrap() + 1);
                }
                let body = app.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        (url, asked)
    }

    #[tokio::test]
    async fn a_workload_is_restarted_once_for_a_rotation_and_waited_for() {
        let (url, asked) = cluster().await;
        let site = SitePolicy {
            tls: TlsPolicy::default(),
            proxy: ProxyPolicy::Never,
            headers: BTreeMap::new(),
            timeout: Duration::from_secs(30),
        };
        let policy = RolloutPolicy {
            url: format!("{url}/apis/apps/v1/namespaces/apps/deployments/web").parse().unwrap(),
            workload: Workload::Deployment,
            namespace: "apps".to_owned(),
            name: "web".to_owned(),
            credential: None,
            within: Duration::from_secs(30),
            every: Duration::from_millis(1),
            site,
        };
        let (_open, stop) = watch::channel(false);
        let run = async |attempt: u32| {
            let batch: [Request; 1] = [request(hook(Path::new("/"), "true"), Occasion { attempt, ..occasion("a") })];
            send(&policy, &caller(), &batch, stop.clone()).await.unwrap_or_else(|failed| panic!("{failed:?}"));
            let asked = std::mem::take(&mut *asked.lock().unwrap());
            asked.iter().map(|text| text.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(run(1).await, "GET PATCH GET GET", "it is done once both pods are new");
        assert_eq!(run(2).await, "GET GET", "its own restart is found, and none is begun");
        assert_eq!(run(1).await, "GET PATCH GET GET", "somebody asks anew");
    }

    #[test]
    fn a_rollout_is_done_once_every_pod_is_new_and_works() {
        use Workload::{DaemonSet, Deployment, StatefulSet};
        let waiting = |why: &str| Progress::Waiting(why.to_owned());
        let unseen = || waiting("the controller has not seen the change yet");
        let object =
            |spec: Value, status: Value| json!({ "metadata": { "generation": 3 }, "spec": spec, "status": status });
        let deployment = |new: u64, all: u64, works: u64| {
            let status =
                json!({ "observedGeneration": 3, "updatedReplicas": new, "replicas": all, "availableReplicas": works });
            object(json!({ "replicas": 3 }), status)
        };
        let late = json!({ "observedGeneration": 3, "conditions": [{ "type": "Progressing", "reason": "ProgressDeadlineExceeded" }] });
        let rolling = |partition: u64| json!({ "replicas": 3, "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": partition } } });
        let set = |spec: Value, new: u64, ready: u64, current: &str| {
            let status = json!({
                "observedGeneration": 3, "updatedReplicas": new, "readyReplicas": ready,
                "updateRevision": "b", "currentRevision": current,
            });
            object(spec, status)
        };
        let daemon = |new: u64, works: u64| {
            let status = json!({ "observedGeneration": 3, "desiredNumberScheduled": 4, "updatedNumberScheduled": new, "numberAvailable": works });
            object(json!({ "updateStrategy": { "type": "RollingUpdate" } }), status)
        };
        for (sentence, workload, object, expected) in [
            ("nothing is known", Deployment, json!({}), unseen()),
            (
                "the change was not seen",
                Deployment,
                object(json!({ "replicas": 3 }), json!({ "observedGeneration": 2 })),
                unseen(),
            ),
            ("one pod of three is new", Deployment, deployment(1, 4, 3), waiting("1 of 3 pods are new")),
            ("an old one is there still", Deployment, deployment(3, 4, 3), waiting("1 old pods have not ended")),
            ("a new one does not work yet", Deployment, deployment(3, 3, 2), waiting("2 of 3 pods are available")),
            ("all of them are new", Deployment, deployment(3, 3, 3), Progress::Done),
            (
                "it got stuck",
                Deployment,
                object(json!({ "replicas": 3 }), late),
                Progress::Failed("it exceeded its progress deadline".to_owned()),
            ),
            ("a pod of a set is restarting", StatefulSet, set(rolling(0), 2, 2, "a"), waiting("2 of 3 pods are ready")),
            ("its revisions differ", StatefulSet, set(rolling(0), 2, 3, "a"), waiting("2 of 3 pods are new")),
            ("they are the same", StatefulSet, set(rolling(0), 3, 3, "b"), Progress::Done),
            ("a partition keeps two", StatefulSet, set(rolling(2), 1, 3, "a"), Progress::Done),
            (
                "nobody restarts its pods",
                StatefulSet,
                set(json!({ "updateStrategy": { "type": "OnDelete" } }), 0, 3, "a"),
                Progress::Failed("its update strategy is OnDelete: no pod is restarted by itself".to_owned()),
            ),
            ("a node has the old pod", DaemonSet, daemon(3, 4), waiting("3 of 4 pods are new")),
            ("a node's new pod does not work yet", DaemonSet, daemon(4, 3), waiting("3 of 4 pods are available")),
            ("every node has a new one", DaemonSet, daemon(4, 4), Progress::Done),
        ] {
            assert_eq!(progress(workload, &object), expected, "{sentence}");
        }
    }
}
