//! What the process tells of itself, its accounts and its inventory in log lines: the stable name of each line, what it
//! means, and what an operator does about it.
//!
//! A line carries its name in the field `event`. What happens to a token is logged under the name of the journal's event,
//! and described in the table of [`crate::rotation::event`]; the names of everything else are the constants of this
//! module. `docs/events.md` is made from both, and a test holds the code against them in both directions.

/// One kind of line, for the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The stable name.
    pub name: &'static str,
    /// What happened, as a sentence without its end.
    pub meaning: &'static str,
    /// What to do where its line is a warning or an error; empty: it depends on the failure.
    pub remedy: &'static str,
}

/// What a line of another crate carries, which knows nothing of this list.
pub const LIBRARY: &str = "library";

macro_rules! lines {
    ($($constant:ident = $name:literal, $meaning:literal, $remedy:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: &str = $name;)*

        /// What a process tells of itself, its accounts and its inventory, in the order of a life.
        pub const PROCESS: &[EventRow] = &[
            $(EventRow { name: $name, meaning: $meaning, remedy: $remedy },)*
            EventRow {
                name: LIBRARY,
                meaning: "A library that patrold is built on has something to say; `target` names it",
                remedy: "nothing, unless other lines tell of a failure at the same time",
            },
        ];

        /// The names of the constants above, for the test that holds them against the code.
        pub const CONSTANTS: &[(&str, &str)] = &[$((stringify!($constant), $name),)*];
    };
}

lines! {
    STARTED = "started", "The daemon runs", "";
    STOPPING = "stopping", "A signal came; steps under way are brought to their next record", "";
    STOP_FORCED = "stop-forced", "A second signal came; steps under way are given up",
        "nothing: the journal tells the next start what was under way";
    STOPPED = "stopped", "The daemon has ended; `drained` says whether every step under way was brought to its record", "";
    ONCE_DONE = "once-done", "`run --once` has done what was due",
        "look at the lines before it: each failure has its own";
    EXEC_WAITS = "exec-waits", "`patrold exec` waits for values that are not there yet", "";
    EXEC_CHANGED = "exec-changed", "Values of `patrold exec` have changed; its program is restarted, told or stopped", "";
    EXEC_UNREADABLE = "exec-unreadable", "Values of `patrold exec` have changed and cannot be read; its program goes on with those from before",
        "let the user that it runs as read the files that the line names";
    EXEC_CRASHED = "exec-crashed", "The program of `patrold exec` ended right after it got new values; it is started again",
        "find out why it does not work with the new values: its own output tells";
    EXEC_FAILED = "exec-failed", "The program of `patrold exec` cannot be started", "check that the program exists and may be run";
    CORE_DUMP_POSSIBLE = "core-dump-possible", "A crash could write secrets to a core dump",
        "set LimitCORE=0 in the unit, or `ulimit -c 0`";
    JOURNAL_NOTE = "journal-note", "Something about the state directory or its key is not as it should be",
        "do what the line says";
    JOURNAL_RESEALED = "journal-resealed", "The daemon was given a key of its own: the journal is sealed under it, and the made key is removed",
        "nothing; keep the key that the line speaks of";
    JOURNAL_STUCK = "journal-stuck", "The journal cannot be written; nothing is begun until it can",
        "do what the line says: make room on the disk, mend permissions, put the same state directory back; the daemon goes on by itself";
    JOURNAL_OVERTAKEN = "journal-overtaken", "The journal of a token changed without this process; its state is read from the journal again",
        "see that only one patrold uses this state directory, and that nobody edits the journal or restores it under a daemon that runs";
    ACCOUNT_LOST = "account-lost", "Another process has taken over an account, and with it the right to write to the journal; nothing is done with its tokens",
        "see that only one patrold uses this state directory: stop one of the two, and start the other again";
    FLEET_JOINED = "fleet-joined", "This replica lives in its fleet and takes its share of the accounts", "";
    FLEET_AWAY = "fleet-away", "The engine of the fleet does not answer, or refuses this replica; nothing is begun, consumers keep what they have",
        "do what the line says; patrold goes on by itself as soon as the engine answers";
    FLEET_NAME_TAKEN = "fleet-name-taken", "Another replica of the fleet has the same name and lives; this one owns nothing",
        "give each replica its own `host` in [fleet]";
    FLEET_LEASE_LOST = "fleet-lease-lost", "The engine ended the lease of this replica; it takes a new one and its accounts again",
        "nothing, unless it happens often: look for a slow disk or network of the engine, or raise `lease` in [fleet]";
    FLEET_FENCED = "fleet-fenced", "A commit came after another replica had taken the account; nothing of it was written",
        "nothing: this is what the fence is for; often, it means a replica that is paused or cut off";
    FLEET_TAKEN = "fleet-taken", "This replica owns an account from now on", "";
    FLEET_HANDED_OVER = "fleet-handed-over", "This replica gave an account to the one whose it is by now", "";
    FLEET_NOT_TAKEN = "fleet-not-taken", "An account is this replica's and cannot be taken up",
        "do what the line says; it is tried again by itself";
    FLEET_BEHIND = "fleet-behind", "Another replica has a newer inventory; this one takes no account until it has that one, too",
        "roll the inventory out to every replica";
    FLEET_RISK = "fleet-risk", "The engine does not guarantee all that a fleet relies on",
        "do what the line says";
    FLEET_KEY = "fleet-key", "Another key seals the secrets of the fleet; those of accounts that this replica owns are sealed anew", "";
    FLEET_WISH = "fleet-wish", "An operator asked at another replica for something that this one has to do", "";
    HOST_BACK = "host-back", "The agent of a host is back, or has acknowledged late; the tokens that wait for it go on", "";
    HOST_AWAY = "host-away", "The agent of a host is away; its stores are owed, and nothing is revoked that its consumers may use",
        "start `patrold agent` there; for a host that is gone for good, take it out of `hosts`, or `patrold fleet forget` it where labels mean it";
    HOSTS_CHANGED = "hosts-changed", "Hosts that tokens name by labels have come or gone; these tokens are delivered to the hosts that there are now", "";
    AGENT_STARTED = "agent-started", "`patrold agent` runs", "";
    AGENT_NAME_TAKEN = "agent-name-taken", "Another agent of this host lives, or lived until a moment ago; this one waits for the end of its lease, and gives up after that",
        "run one agent on each host, and give each its own `host` in [agent]";
    AGENT_STATE_UNREADABLE = "agent-state-unreadable", "What an agent wrote down of what it has done cannot be read; it is set aside, and begun anew",
        "nothing: what its host is to have is written again";
    AGENT_WROTE = "agent-wrote", "An agent has written a store of its host", "";
    AGENT_ERASED = "agent-erased", "An agent has taken a secret out of a store of its host that left the inventory", "";
    AGENT_RAN = "agent-ran", "An agent has run a hook for its consumers", "";
    AGENT_REFUSED = "agent-refused", "An agent was asked for what its file does not allow, or what it cannot do",
        "add the path to `paths` of [agent], if that is meant; otherwise find out who asks for it";
    AGENT_FAILED = "agent-failed", "An agent could not do what it was asked; the fleet asks again",
        "do what the line says";
    SWEPT = "swept", "Temporary files that a kill left beside a store were removed", "";
    SWEEP_FAILED = "sweep-failed", "Temporary files beside stores could not be looked for",
        "check that the store's directory exists and may be read";
    PROGRAM_ENDED = "program-ended", "A hook or a credential command of a patrold that was killed still ran; it was ended",
        "nothing, unless it happens again: find out why the program hangs";
    EXPOSED = "exposed", "Others may change or read a file that patrold relies on, or its state directory",
        "do what the line says; who may write what decides can do what patrold can";
    INVENTORY_NOTE = "inventory-note", "The inventory is valid, and something in it needs attention",
        "change what the line names, or leave it if it is meant";
    INVENTORY_PROBLEM = "inventory-problem", "One thing that is wrong with the changed inventory, with file, line and column",
        "correct the line; the inventory is read again as soon as it is saved";
    INVENTORY_REFUSED = "inventory-refused", "The changed inventory is invalid; the one before stays in use",
        "correct what `patrold check` reports";
    INVENTORY_CHANGED = "inventory-changed", "A changed inventory is in effect; one line for each change", "";
    INVENTORY_UNCHANGED = "inventory-unchanged", "The inventory was read again and says what it said before", "";
    LOG_LEVEL_UNUSABLE = "log-level-unusable", "The inventory's log level is not used", "correct `log-level` under [daemon]";
    ROOTS_CHANGED = "roots-changed", "A file of trust roots changed; connections from now on are judged by what it holds", "";
    ROOTS_UNUSABLE = "roots-unusable", "Trust roots cannot be used; accounts that need them send nothing",
        "do what the line says; a changed `ca-file` is noticed by itself";
    ROOTS_COMPILED_IN = "roots-compiled-in", "The system has no trust roots; those that are compiled in are used",
        "install ca-certificates, or name a `ca-file` for each account";
    LIMITS_UNREADABLE = "limits-unreadable", "What earlier runs wrote down of rate limits and refused credentials cannot be read; it is set aside",
        "nothing: providers say it again";
    LIMITS_UNSAVED = "limits-unsaved", "Rate limits and refused credentials cannot be written down, and are forgotten at the next start",
        "make room on the disk of the state directory and check its permissions";
    CREDENTIAL_CHANGED = "credential-changed", "A credential or CA file changed; what was refused gets another try", "";
    WATCH_DEGRADED = "watch-degraded", "Changes of some files are noticed by looking now and then only",
        "nothing is lost; where the kernel is out of watches, raise fs.inotify.max_user_watches";
    WATCH_RESTORED = "watch-restored", "Changes of all files are noticed at once again", "";
    LISTING_FAILED = "listing-failed", "An account's tokens cannot be listed; what is known of them stays in use", "";
    LISTING_RESUMED = "listing-resumed", "An account's tokens can be listed again", "";
    ORPHAN_LISTED = "orphan-listed", "A live token with a marker of this installation belongs to no token of the journal",
        "revoke it at the provider by hand; was the state directory replaced by an older copy?";
    NO_ROOM = "no-room", "A token is due, and its provider takes no more live tokens there",
        "revoke one there that is not needed: `patrold audit` lists what is not managed";
    ANSWER_UNREAD = "answer-unread", "The answer to a mint was not understood in part",
        "compare the provider's version with its definition: `patrold provider show NAME --source`";
    MANAGED_SECRET_LACKING = "managed-secret-lacking", "Accounts that authenticate with a managed token have no secret of it", "";
    MANAGED_SECRET_STALE = "managed-secret-stale", "Accounts that authenticate with a managed token keep its old secret", "";
    CONTROL_REFUSED = "control-refused", "A connection to the control socket was refused",
        "find out who connects: `ss -xp` shows them; only the daemon's user and root may";
    CONTROL_DISTURBED = "control-disturbed", "The control socket could not take a connection, and goes on",
        "raise LimitNOFILE= of the unit where the daemon is out of file descriptors";
    HTTP_LISTENS = "http-listens", "The status page, health and metrics are served at the address in the line", "";
    HTTP_DOWN = "http-down", "The HTTP server cannot listen as the inventory says; the daemon goes on without it, or with it as it was",
        "correct what the line names; it is tried again every half minute, and at once when a file changes";
    HTTP_REFUSED = "http-refused", "The HTTP server refused a connection or a request; `code` says why, `peer` whom",
        "find out who asks, where it is not you; every refusal is counted in patrold_http_refused_total";
    HTTP_DISTURBED = "http-disturbed", "The HTTP server could not take a connection or make an answer, and goes on",
        "raise LimitNOFILE= of the unit where the daemon is out of file descriptors";
    CHANNEL_TOLD = "channel-told", "A channel of `[[notify]]` took a message; `conditions` says of how many", "";
    CHANNEL_FAILED = "channel-failed", "A channel of `[[notify]]` did not take a message; it is sent again, and the other channels tell of it",
        "run `patrold notify test NAME`, and check the address, the credential and the program of `via`";
    NOTIFICATIONS_UNREADABLE = "notifications-unreadable", "What earlier runs wrote down of what people were told cannot be read; it is set aside",
        "nothing: what is open is told once more";
    NOTIFICATIONS_UNSAVED = "notifications-unsaved", "What people were told cannot be written down, and is told again after a restart",
        "make room on the disk of the state directory and check its permissions";
    NOTICE_UNSENT = "notice-unsent", "The service manager was not told something",
        "nothing, unless systemd then reports a timeout: check NotifyAccess= of the unit";
    WATCHDOG_SILENT = "watchdog-silent", "The scheduler makes no progress; the watchdog gets no ping",
        "nothing: the service manager restarts the daemon; report it, it is a bug";
    LOG_LINES_DROPPED = "log-lines-dropped", "Log lines were dropped, because standard error did not take them in time; `count` says how many",
        "see that something reads the daemon's standard error; patrold_log_lines_dropped_total counts them";
    PANICKED = "panicked", "The program has a bug; `place` says where. Its own words are not logged: they may quote a secret",
        "report it with the place; nothing is lost, the journal has what was under way";
    STATE_UNREADABLE = "state-unreadable", "The journal's state of a token cannot be read: nothing is done with it, the others run",
        "run the version that wrote it, or restore a backup; `patrold status` lists such tokens";
    STATE_MISFIT = "state-misfit", "A step does not fit what is known of its token; the state is read from the journal again",
        "report it, it is a bug; nothing is lost, the journal has what was under way";
    TASK_DIED = "task-died", "A task ended abnormally; it is tried again in a minute",
        "report it, it is a bug; nothing is lost, the journal has what was under way";
}
