//! The kinds of failure: for each its stable code, its sentence, its remedy, and the runbook that tells more.

use serde::{Deserialize, Deserializer, Serialize};

macro_rules! failure_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $sentence:literal, $remedy:literal;)*) => {
        /// The kinds of failure that a human or a metric sees. Stored state: codes are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum FailureCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl FailureCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it means, as the beginning of a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }

            /// What an operator does about it, as an imperative.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }

            /// Whether it says nothing of the request, but that the provider cannot serve it now: what its next success ends.
            pub fn is_outage(self) -> bool {
                use FailureCode::{CertificateExpired, Proxy, RateLimited, Reset, Resolve, ServerError, Timeout, Tls};
                let passing = matches!(self, Timeout | Reset | RateLimited | ServerError | Tls | CertificateExpired);
                passing || matches!(self, Self::Connect | Resolve | Proxy)
            }

            /// Whether it says that no connection stood, so that nothing was sent: any answer at all takes it away.
            pub fn is_unreachable(self) -> bool {
                matches!(self, Self::Connect | Self::Resolve | Self::Proxy) || self.is_of_tls()
            }

            /// Whether it says that no secure connection stood: the same certificates on both sides meet the same refusal.
            pub fn is_of_tls(self) -> bool {
                use FailureCode::{CaFile, CertificateExpired, CertificateName, ClientCertificate, NotTls, Tls};
                matches!(self, Tls | CaFile | CertificateExpired | CertificateName | ClientCertificate | NotTls)
                    || matches!(self, Self::UnknownIssuer)
            }

            /// The kind of failure with this code.
            pub fn named(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.code() == code)
            }
        }
    };
}

impl<'de> Deserialize<'de> for FailureCode {
    /// A code of a newer version is no reason to read nothing of what it wrote.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Ok(Self::named(&code).unwrap_or(Self::Unknown))
    }
}

failure_codes! {
    /// No connection: nothing was sent.
    Connect = "connect", "cannot connect to the provider",
        "check that the account's url is right and reachable from here; patrold goes on trying";
    /// No address for the name: nothing was sent.
    Resolve = "resolve", "the provider's name cannot be looked up",
        "check the host in `url` of the account, and the name servers of this machine (`getent hosts NAME`); patrold goes on trying";
    /// The proxy, or no way through it: nothing was sent.
    Proxy = "proxy", "there is no way through the proxy",
        "check the proxy's address, user name and password, and whether it permits this host: `proxy` of the account, or HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the service";
    /// The provider's certificate is signed by nobody who is trusted: nothing was sent.
    UnknownIssuer = "unknown-issuer", "the provider's certificate is signed by nobody who is trusted here",
        "name the authority in `ca-file` of the account if it is one of yours; a server that leaves out its intermediate certificates has to send them; a proxy that intercepts TLS signs by its own authority";
    /// The provider's certificate is not valid at this time: nothing was sent.
    CertificateExpired = "certificate-expired", "the provider's certificate is not valid now",
        "have the server's certificate replaced, and check the clock of this machine";
    /// The provider's certificate is for other names: nothing was sent.
    CertificateName = "certificate-name", "the provider's certificate is for another name",
        "write a name of the certificate into `url` of the account";
    /// The provider demands a client certificate, or does not accept ours: nothing was processed.
    ClientCertificate = "client-certificate", "the provider wants another client certificate",
        "give the account a client certificate that the provider accepts: `tls = { client-certificate, client-key }`";
    /// Something else than TLS answers: nothing was sent.
    NotTls = "not-tls", "the server does not speak TLS at this port",
        "check scheme and port in `url` of the account: `https` belongs to another port, or something in between answers in plain text";
    /// TLS failed otherwise: nothing was sent.
    Tls = "tls", "no secure connection to the provider",
        "check the server's certificate, and `tls` of the account: ca-file names certificate authorities of your own, or the server's own certificate";
    /// Trust roots cannot be used: nothing was sent.
    CaFile = "ca-file", "the trust roots cannot be used",
        "correct the file that `ca-file` of the account names, or what SSL_CERT_FILE and SSL_CERT_DIR name; a changed `ca-file` is noticed by itself";
    /// No complete answer in time.
    Timeout = "timeout", "no complete answer in time",
        "nothing, unless it goes on: then look at the provider and the network between; `timeouts` of the account bound the wait";
    /// The connection broke before the answer was complete.
    Reset = "reset", "the connection broke before the answer was complete",
        "nothing, unless it goes on: then look at the provider and what lies between";
    /// A daemon before this one ended in the midst of a request.
    Stopped = "stopped", "patrold was stopped between a request and its answer",
        "nothing: patrold finds out what became of the request; if it goes on, see in the journal of the service why it ends";
    /// HTTP 429, or 503 with Retry-After.
    RateLimited = "rate-limited", "rate limited by the provider",
        "nothing, unless it goes on: then lower `rate-limit` of the account, or raise `poll-every`";
    /// 401, or what the definition says means the same.
    Unauthorized = "unauthorized", "the provider does not accept the credential",
        "check the account's credential; a changed credential file is noticed by itself";
    /// The same of a secret that is not the account's credential: a new one, or one that somebody brought.
    SecretRefused = "secret-refused", "the provider does not accept the new secret",
        "bring a secret of this very account and service, one that is in effect; one that was minted is taken back, and another minted";
    /// What the definition says means it.
    AccountLocked = "account-locked", "the provider has locked the user of the credential",
        "correct the account's credential where it is wrong, and have the user unlocked at the provider or wait for the lock to end";
    /// 403, or what the definition says means the same.
    Forbidden = "forbidden", "the provider does not permit this",
        "read what the provider says: the account's credential lacks a permission, or a limit of the provider is reached; `patrold provider show`, or `patrold store show`, says what a definition needs";
    /// 404 or 410.
    NotFound = "not-found", "the provider does not know it",
        "check `url` of the account and `params` of the token; `patrold provider show` says which versions of the service a definition is for";
    /// What the definition says means it.
    NoRoom = "no-room", "the provider allows no more tokens there",
        "revoke tokens there that are not needed: `patrold audit` lists those that patrold does not manage";
    /// Another 4xx, or a body that says no.
    Rejected = "rejected", "the provider refused",
        "read what the provider says; it is about `params`, `lifetime` or the provider's own limits";
    /// 5xx.
    ServerError = "server-error", "the provider had an error of its own",
        "nothing, unless it goes on: then ask whoever runs the provider";
    /// An answer that does not fit its definition.
    NotUnderstood = "not-understood", "the answer does not fit the provider definition",
        "the provider may be of another version than its definition: compare with `patrold provider show NAME --source`, and supply one of your own";
    /// More bytes than allowed.
    TooLarge = "too-large", "the answer is larger than allowed",
        "check that `url` names the API, or raise `max-response` of the account";
    /// A redirect: never followed with a credential.
    Redirect = "redirect", "the provider answered with a redirect, which is not followed",
        "put the address that the redirect names into `url` of the account, if it is one of the provider's";
    /// The request could not be made from its template.
    Request = "request", "the request cannot be built",
        "check `params` of the token against `patrold provider show`";
    /// The account has no usable credential.
    NoCredential = "no-credential", "the account has no usable credential",
        "supply the credential that the inventory names for the account";
    /// The definition lacks the operation.
    NoOperation = "no-operation", "the provider definition has no such operation",
        "do by hand what the definition cannot, or supply a definition that can";
    /// The journal holds the secret, but the key that seals it is another.
    SecretUnreadable = "secret-unreadable", "the journal's copy of the secret cannot be opened",
        "supply the key that sealed the journal; otherwise the token is rotated once and nothing else is needed";
    /// The journal cannot commit.
    Journal = "journal", "the journal cannot be written",
        "make room on the disk of the state directory and check its permissions; nothing is begun until it can be written";
    /// A store cannot be written.
    StoreUnwritable = "store-unwritable", "the store cannot be written",
        "check that the directory exists and that the daemon may write there; under systemd see ReadWritePaths= in a drop-in";
    /// The store's format cannot hold this value.
    StoreRefused = "store-refused", "the store cannot hold this value",
        "give the token a store of another kind or format";
    /// What was read back is not what was written.
    StoreMismatch = "store-mismatch", "the store does not hold what was written",
        "find out what else writes to that place";
    /// The place is another one than the inventory means.
    StoreWrongPlace = "store-wrong-place", "the store is not where the inventory says",
        "check the keys that name the place in the store (mount, namespace, project, …), and `url` of its account; patrold writes nowhere else";
    /// The name is taken by something that was deleted and can be recovered.
    StoreSoftDeleted = "store-soft-deleted", "the store holds something deleted under that name",
        "recover it or purge it in the store; patrold does neither by itself";
    /// The write waits for somebody's approval.
    StorePending = "store-pending", "the write waits for approval",
        "approve the change in the store, or exempt patrold's identity from the approval";
    /// Somebody else writes to the same place at the same time.
    StoreConflict = "store-conflict", "somebody else wrote to the store at the same time",
        "nothing, unless it goes on: then find out who else writes there";
    /// A value that nobody can have from us is in the way.
    StoreForeign = "store-foreign", "the store holds a value that patrold did not write",
        "find out whose value it is; then remove it from the store, or let patrold replace it: `existing = \"replace\"` and `on-drift = \"repair\"` of the store say so";
    /// A hook ended with a failure.
    HookFailed = "hook-failed", "the hook failed",
        "run the hook's command by hand as the daemon's user and look at what it says";
    /// A hook took too long and was killed.
    HookTimeout = "hook-timeout", "the hook took too long and was killed",
        "find out why the hook hangs, or raise its `timeout`";
    /// A message did not reach whoever takes it.
    ChannelFailed = "channel-failed", "the channel did not take the message",
        "run `patrold notify test NAME`, and check the address, the credential and the program of `via`";
    /// The token is still accepted after it was revoked.
    StillAlive = "still-alive", "the provider still accepts the token after its revocation",
        "if it goes on, revoke the token at the provider by hand";
    /// The new token belongs to somebody else than was meant.
    WrongSubject = "wrong-subject", "the new token is not what was asked for",
        "check `params` of the token and whom the account's credential belongs to";
    /// As its provider tells it: a rotation or renewal that helped nobody.
    NotLengthened = "not-lengthened", "the new secret does not live longer than the one before",
        "compare the provider's clock and the expiry that it tells with the time here: `patrold explain` shows both; patrold goes on with backoff";
    /// A mint gave a token that exists already.
    SameToken = "same-token", "the provider gave a token that exists already instead of a new one",
        "a definition fits that makes a token at each request: this request gets or renews the one that there is";
    /// The journal's secret is dead, and a store holds another one that works.
    StoreNewer = "store-newer", "a store holds another valid secret, and the journal's is not accepted",
        "take it over with `patrold adopt`, or have both replaced with `patrold rotate`; was an older journal restored?";
    /// The agent of a host is away, or does not answer.
    HostSilent = "host-silent", "a host has not acknowledged",
        "see that `patrold agent` runs there (`patrold fleet status` shows the hosts); a host that is gone for good leaves `hosts`, and `patrold fleet forget HOST` ends the wait for one that comes back late";
    /// An operator stopped it, or the inventory changed.
    Withdrawn = "withdrawn", "the rotation was withdrawn",
        "nothing, if that was the intention";
    /// An operator wants the previous token back.
    Recalled = "recalled", "an operator asked for the previous token",
        "find out what was wrong with the new one; the token is rotated again in a day, or when its deadline comes";
    /// What a newer version wrote.
    Unknown = "unknown", "a failure that this version has no code for",
        "read what it says; a newer patrold wrote it";
}

impl FailureCode {
    /// The runbook that goes further than the remedy: the anchor of a heading of `docs/runbooks.md`.
    pub fn runbook(self) -> Option<&'static str> {
        use FailureCode as Code;
        match self {
            Code::Connect
            | Code::Resolve
            | Code::Proxy
            | Code::UnknownIssuer
            | Code::CertificateExpired
            | Code::CertificateName
            | Code::ClientCertificate
            | Code::NotTls
            | Code::Tls
            | Code::CaFile
            | Code::Timeout
            | Code::Reset
            | Code::RateLimited
            | Code::ServerError
            | Code::NotUnderstood
            | Code::TooLarge
            | Code::Redirect => Some("the-provider-is-down"),
            Code::Unauthorized | Code::AccountLocked | Code::Forbidden | Code::NoCredential => {
                Some("an-accounts-credential-is-dead")
            }
            Code::NotFound
            | Code::NoRoom
            | Code::Rejected
            | Code::Request
            | Code::NoOperation
            | Code::WrongSubject
            | Code::NotLengthened
            | Code::SecretRefused
            | Code::SameToken => Some("a-token-is-about-to-expire-and-its-rotation-fails"),
            Code::StoreUnwritable
            | Code::StoreRefused
            | Code::StoreMismatch
            | Code::StoreConflict
            | Code::StoreWrongPlace
            | Code::StoreSoftDeleted
            | Code::StorePending
            | Code::StoreForeign
            | Code::HookFailed
            | Code::HookTimeout => Some("a-store-or-a-hook-fails"),
            Code::HostSilent => Some("a-host-does-not-acknowledge"),
            Code::Journal => Some("the-disk-is-full-or-the-journal-cannot-be-written"),
            Code::SecretUnreadable => Some("the-sealing-key-is-lost"),
            Code::StoreNewer => Some("the-state-directory-is-lost"),
            Code::StillAlive => Some("orphans-were-found"),
            Code::Stopped => Some("the-daemon-does-not-run"),
            Code::ChannelFailed | Code::Withdrawn | Code::Recalled | Code::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runbook_is_a_heading_of_its_page() {
        let page = include_str!("../../docs/runbooks.md");
        let anchor = |heading: &str| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
        };
        let anchors: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        let left = "a-token-is-not-needed-any-more";
        for runbook in FailureCode::ALL.iter().filter_map(|code| code.runbook()).chain([left]) {
            assert!(anchors.iter().any(|anchor| anchor == runbook), "{runbook} is none of {anchors:?}");
        }
    }
}
