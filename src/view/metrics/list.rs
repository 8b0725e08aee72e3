//! The list of all metrics. `docs/metrics.md` has the same list, and a test compares the two.

use super::text::{Metric, MetricKind};

macro_rules! metrics {
    ($($const:ident = $kind:ident $name:literal [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) static $const: Metric =
            Metric { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help };)*

        /// Every metric, in the order in which they are served.
        pub static METRICS: &[&Metric] = &[$(&$const),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "patrold_build_info" ["version"], "Always 1; the version of the program is in its label";
    START = Gauge "patrold_start_timestamp_seconds" [], "When the process started";
    HEARTBEAT = Gauge "patrold_scheduler_heartbeat_timestamp_seconds" [],
        "When the scheduler last looked for something to do; it is asked for a sign of life at every scrape";
    JOURNAL_WRITABLE = Gauge "patrold_journal_writable" [], "1 while the journal can be written, else 0";
    RELOAD_SUCCESSFUL = Gauge "patrold_inventory_reload_successful" [],
        "1 while the inventory on disk is in effect, 0 while it is invalid and the one before stays";
    RELOAD_TIME = Gauge "patrold_inventory_reload_timestamp_seconds" [],
        "When the inventory was last read, at the start or by a reload";
    RELOAD_SUCCESS_TIME = Gauge "patrold_inventory_reload_success_timestamp_seconds" [],
        "When the inventory in effect was applied";

    TOKENS = Gauge "patrold_tokens" ["state"], "Tokens by state";
    TOKEN_INFO = Gauge "patrold_token_info" ["token", "account", "provider"],
        "Always 1; joins a token with its account and provider";
    TOKEN_STATE = Gauge "patrold_token_state" ["token", "state"],
        "Always 1; the state that the token is in is in its label";
    TOKEN_EXPIRY = Gauge "patrold_token_expiry_timestamp_seconds" ["token"],
        "When the secret that consumers use expires; absent where it never does or its expiry is unknown";
    TOKEN_DUE = Gauge "patrold_token_due_timestamp_seconds" ["token"],
        "When the rule that decides makes the token due; absent where none does";
    TOKEN_NEXT = Gauge "patrold_token_next_attempt_timestamp_seconds" ["token"],
        "When something is done next for the token; absent where nothing is planned";
    TOKEN_SUCCESS = Gauge "patrold_token_last_success_timestamp_seconds" ["token"],
        "When a new secret was last handed over; absent before the first time";
    TOKEN_ATTEMPT = Gauge "patrold_token_last_attempt_timestamp_seconds" ["token"],
        "When a new secret was last handed over or a step last failed since then; absent before the first time";
    TOKEN_FAILURES = Gauge "patrold_token_consecutive_failures" ["token"], "Failures in a row; 0 after a success";
    TOKEN_GENERATIONS = Gauge "patrold_token_live_generations" ["token"],
        "Generations that are or may be alive: current, new, old, and remnants";
    TOKEN_OWED = Gauge "patrold_token_owed" ["token", "kind"],
        "Stores and hooks that were tried in vain and are tried again; absent where there are none";
    TOKEN_HELD_BACK = Gauge "patrold_token_held_back" ["token"],
        "1 while the token is not minted because the journal is new and something of it exists already, else absent";
    STEPS = Counter "patrold_steps_total" ["account", "step", "result"],
        "Steps of rotations, renewals and upkeep since the start, by how they ended";

    ACCOUNT_STATE = Gauge "patrold_account_state" ["account", "state"],
        "1 for the state that the account is in, 0 for the others";
    ACCOUNT_TOKENS = Gauge "patrold_account_tokens" ["account"], "Tokens of the inventory that the account has";
    ACCOUNT_SUCCESS = Gauge "patrold_account_last_success_timestamp_seconds" ["account"],
        "When an operation of the account last succeeded";
    ACCOUNT_LISTING = Gauge "patrold_account_last_listing_timestamp_seconds" ["account"],
        "When the account's tokens were last listed";
    ACCOUNT_BLOCKED = Gauge "patrold_account_blocked_until_timestamp_seconds" ["account"],
        "Until when the provider asked for patience; absent where it did not";
    ACCOUNT_ORPHANS = Gauge "patrold_account_orphans" ["account"],
        "Live tokens at the provider that carry a marker of this installation and belong to no token";
    ACCOUNT_QUOTA = Gauge "patrold_account_quota_remaining" ["account", "source"],
        "Requests that may leave now, by the inventory's rate limit and by what the provider said last";
    ACCOUNT_SKEW = Gauge "patrold_account_clock_skew_seconds" ["account"],
        "The provider's clock minus ours; absent before its first answer";
    REQUESTS = Counter "patrold_provider_requests_total" ["account", "operation", "result"],
        "Requests to the provider since the account was loaded, by how they ended";
    LATENCY = Histogram "patrold_provider_request_duration_seconds" ["account"],
        "How long the provider took to answer, from the request's first byte to the answer's last";

    FLEET_REPLICAS = Gauge "patrold_fleet_replicas" [], "Replicas of the fleet that live; absent where there is no fleet";
    FLEET_OWNED = Gauge "patrold_fleet_accounts_owned" [], "Accounts that this replica owns";
    FLEET_UNOWNED = Gauge "patrold_fleet_accounts_unowned" [], "Accounts of the inventory that no replica owns";
    FLEET_LEASE = Gauge "patrold_fleet_lease_seconds_left" [],
        "How long this replica may still begin something; 0 while it may not";
    FLEET_LEASES_LOST = Counter "patrold_fleet_leases_lost_total" [], "How often the engine ended the lease of this replica";
    FLEET_TAKEN = Counter "patrold_fleet_accounts_taken_total" [], "Accounts that this replica has taken";
    FLEET_BEHIND = Gauge "patrold_fleet_behind" [], "1 while another replica has a newer inventory, else 0";
    ENGINE_SIZE = Gauge "patrold_engine_size_bytes" [], "How large the database of the engine is";
    ENGINE_ALARMS = Gauge "patrold_engine_alarms" [], "Alarms that the engine has raised, such as NOSPACE";
    HOST_UP = Gauge "patrold_host_up" ["host"],
        "1 while the agent of a host of consumers lives, else 0; absent for one that nobody waits for";
    HOST_SEEN = Gauge "patrold_host_last_seen_timestamp_seconds" ["host"],
        "When the agent of a host was last seen, a minute old at most; absent where it never was";
    HOST_OWES = Gauge "patrold_host_owed_tokens" ["host"],
        "Tokens that this replica owns and of which the host has not acknowledged a store or a hook";
    ENGINE_COMMITS = Counter "patrold_engine_commits_total" ["result"],
        "Commits of this replica since its start, by how they ended; absent where there is no fleet";
    ENGINE_COMMIT_TIME = Histogram "patrold_engine_commit_duration_seconds" [],
        "How long it took until the engine had acknowledged a commit";
    ENGINE_LAST_COMMIT = Gauge "patrold_engine_last_commit_timestamp_seconds" [],
        "When this replica last wrote something to the engine; absent before the first time";
    CHANNEL_FAILING = Gauge "patrold_channel_failing" ["channel"],
        "1 while a channel of [[notify]] does not take messages, else 0";
    CHANNEL_TOLD = Gauge "patrold_channel_open_conditions" ["channel"],
        "Conditions that a channel was told of, and that are not told to be over";

    LOG_DROPPED = Counter "patrold_log_lines_dropped_total" [],
        "Log lines that standard error did not take in time";
    REFUSED = Counter "patrold_http_refused_total" ["reason"],
        "Connections and requests that the daemon's own HTTP server refused";
}
