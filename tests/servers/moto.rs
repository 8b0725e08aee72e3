//! moto, which speaks for AWS IAM: access keys of a user, who has two and no more. Requests are signed, answers are XML, keys
//! have no names: one whose secret was lost takes a place until somebody ends it whom `audit` told.

use chrono::Utc;
use reqwest::Method;
use ring::{digest, hmac};

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::{Reply, Wire};

struct Moto(Facts);

impl Moto {
    /// The answer to one action, signed by this key.
    async fn ask(&self, wire: &Wire, key: (&str, &str), service: &str, form: &str) -> Reply {
        let host = self.0.url().trim_start_matches("http://");
        let now = Utc::now();
        let (date, day) = (now.format("%Y%m%dT%H%M%SZ").to_string(), now.format("%Y%m%d").to_string());
        let hash = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        let signed = "content-type;host;x-amz-date";
        let kind = "application/x-www-form-urlencoded";
        let canonical =
            format!("POST\n/\n\ncontent-type:{kind}\nhost:{host}\nx-amz-date:{date}\n\n{signed}\n{}", hash(form));
        let scope = format!("{day}/us-east-1/{service}/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&canonical));
        let mut mac = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", key.1).as_bytes());
        for part in scope.split('/') {
            mac = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&mac, part.as_bytes()).as_ref());
        }
        let signature = hex(hmac::sign(&mac, text.as_bytes()).as_ref());
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", key.0);
        let headers =
            [("Content-Type", kind), ("X-Amz-Date", date.as_str()), ("Authorization", authorization.as_str())];
        wire.send_text(Method::POST, &format!("{}/", self.0.url()), &headers, form.to_owned()).await
    }

    async fn as_administrator(&self, wire: &Wire, form: &str) -> String {
        let reply = self.ask(wire, (self.0.get("key-id"), self.credential()), "iam", form).await;
        assert_eq!(reply.status, 200, "{form}: {}", reply.text);
        reply.text
    }

    /// The ids of the user's keys.
    async fn keys(&self, wire: &Wire) -> Vec<String> {
        let list = self.as_administrator(wire, "Action=ListAccessKeys&Version=2010-05-08&UserName=ci").await;
        let ids = list.split("<AccessKeyId>").skip(1).filter_map(|rest| rest.split('<').next());
        ids.map(str::to_owned).collect()
    }
}

impl Service for Moto {
    const NAME: &'static str = "moto";
    const DEFINITION: &'static str = "aws-iam-access-key";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "id", "expiry", "listing", "verify", "overlap", "revoke", "dead"];
    const FINDS_LOST_ONES: bool = false;
    const CROWDED: bool = true;

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        format!(
            "credential = {{ username = \"{}\", password = {{ file = \"DIRECTORY/credential\" }} }}\nparams = {{ user = \"ci\" }}",
            self.0.get("key-id")
        )
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        "rotate-every = \"60d\"".to_owned()
    }

    fn mint(&self) -> String {
        "Action=CreateAccessKey".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        Live::Count(self.keys(wire).await.len())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        // What consumers have of it besides the secret is its id. Whatever it may not do, a key that is known is told so.
        for id in self.keys(wire).await {
            let reply = self.ask(wire, (&id, secret), "iam", "Action=GetUser&Version=2010-05-08").await;
            let refused =
                ["InvalidClientTokenId", "SignatureDoesNotMatch"].iter().any(|word| reply.text.contains(word));
            assert!(refused || reply.status == 200 || reply.text.contains("AccessDenied"), "{reply:?}");
            if !refused {
                return true;
            }
        }
        false
    }

    async fn end(&self, wire: &Wire, id: &str) {
        let form = format!("Action=DeleteAccessKey&Version=2010-05-08&UserName=ci&AccessKeyId={id}");
        self.as_administrator(wire, &form).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_key_at_moto() {
    life::live::<Moto>().await;
}
