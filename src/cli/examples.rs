//! What stands below the help of each command: examples that work as they are, and what its exit status means.

pub(super) const INIT: &str = "\
Examples:
  patrold init awx                       asks for address, user name and password
  patrold init awx --url https://awx.example.com --username svc-ci --credential-file pass.txt
  pass show gps/admin | patrold init pointone --credential-file -

Exit status: 0 the inventory is there, 1 the provider does not accept the credential, 2 something is missing or exists.";

pub(super) const ADD: &str = "\
Examples:
  patrold add ci-runner                                its secret goes into ci-runner.token
  patrold add ci-runner --env ci.env:AWX_TOKEN --restart ci-runner.service
  patrold add ci-runner --file /run/ci/token --param scope=read --rotate-every 7d";

pub(super) const RUN: &str = "\
Examples:
  patrold run                                      with the inventory that is found
  patrold --config dev.toml run -v                 in a terminal
  patrold --config dev.toml run --once             what is due now, from a timer

Exit status with --once: 0 what was due is done, 3 some of it, 1 nothing.";

pub(super) const EXEC: &str = "\
Examples:
  patrold exec --token ci-runner=AWX_TOKEN -- ci-runner serve
  patrold exec --file /run/secrets/token=API_TOKEN -- app
  patrold exec --watch /etc/app/token --on-change signal:HUP -- app

Exit status: that of the program, or 128 and the number of the signal that ended it; 75 a value changed (--on-change exit),
126 it cannot be started, 127 there is none, 1 a value is missing.";

pub(super) const RELOAD: &str = "\
Examples:
  patrold reload
  patrold reload --json | jq -r '.changes[]'

Exit status: 0 it is in effect, 2 it is invalid, 1 no daemon runs.";

pub(super) const CHECK: &str = "\
Examples:
  patrold check                          the configured inventory
  patrold check new.toml                 another one, before it is put in place
  patrold check inventories/             every *.toml in a directory, each an inventory of its own
  patrold check --online                 and are credentials accepted, can stores be written?
  patrold check --json | jq '.errors'    for programs

Exit status: 2 an inventory is invalid; 1 it is valid, and an account or a store does not work.";

pub(super) const PLAN: &str = "\
Examples:
  patrold plan                  every token, the next one first
  patrold plan --until 7d       what begins within a week
  patrold plan gps-ingest       one token
  patrold plan --until 90d --svg plan.svg    a picture of every coming rotation
  patrold plan --json | jq -r '.tokens[] | select(.overridden) | .token'";

pub(super) const STATUS: &str = "\
Examples:
  patrold status                one line for each token
  patrold status gps-ingest     everything about one token
  patrold status --ready        for the health check of a container
  patrold status --watch        again each second
  patrold status --json | jq -r '.tokens[] | select(.condition != \"fine\") | .name'";

pub(super) const EXPLAIN: &str = "\
Examples:
  patrold explain gps-ingest
  patrold explain gps-ingest --json | jq -r '.rules[] | select(.decides) | .rule'";

pub(super) const HISTORY: &str = "\
Examples:
  patrold history gps-ingest             every record of one token
  patrold history gps-ingest --last 20   the latest ones
  patrold history --verify               whether all records are what was written

Exit status of --verify: 0 they are, 1 the first that is not is named.";

pub(super) const AGENT: &str = "\
Examples:
  patrold agent                              with /etc/patrold/agent.toml
  patrold agent --check                      is the file fine?
  patrold fleet host-key web-1 > host.key    on a replica: the key that the agent of web-1 needs

Exit status: 0 it was stopped, 1 another agent of this host lives or it cannot run, 2 its file is invalid.";

pub(super) const FLEET: &str = "\
Examples:
  patrold fleet init               once, on any host
  patrold fleet import             instead, where a daemon was alone until now
  patrold fleet leave              back to a daemon that is alone, while every replica is stopped
  patrold fleet status             who lives, and who owns how much
  patrold fleet drain web-2        before its host is shut down
  patrold fleet drain web-2 --undo
  patrold fleet host-key web-9     the key for the agent of a host of consumers
  patrold fleet host-key web-9 --label role=web
  patrold fleet rekey              seal everything with `next-seal-key`, while the fleet runs
  patrold fleet rekey --finish     can the old key go?
  patrold fleet forget web-9       do not wait for it until its agent is back

Exit status of status: 0 every account has an owner, 3 some have none.";

pub(super) const SCHEMA: &str = "\
Examples:
  patrold schema > patrold.schema.json             with \"#:schema ./patrold.schema.json\" as first line of an inventory
  patrold schema provider > provider.schema.json   likewise for a definition of your own";

pub(super) const COMPLETIONS: &str = "\
Examples:
  patrold completions bash > /usr/share/bash-completion/completions/patrold
  patrold completions zsh > /usr/share/zsh/site-functions/_patrold
  patrold completions fish > ~/.config/fish/completions/patrold.fish";

pub(super) const SYSTEMD: &str = "\
Examples:
  patrold systemd           what is missing
  patrold systemd --write   put it in place, as root
  patrold --config /etc/patrold/team.toml systemd   for patrold@team.service

Exit status: 0 shown or written, 1 it cannot be written, 2 the inventory is invalid.";

pub(super) const MAN: &str = "\
Examples:
  patrold man | man -l -                             read it
  patrold man inventory | man -l -               patrold.toml(5)
  patrold man --directory /usr/local/share/man   all pages, in man1, man5 and man8";

pub(super) const NOTIFY: &str = "\
Examples:
  patrold notify list           every channel, and how it fares
  patrold notify test oncall    does a message arrive?

Exit status of test: 0 the channel took the message, 1 it did not.";

pub(super) const ROTATE: &str = "\
Examples:
  patrold rotate gps-ingest gps-admin
  patrold rotate --account gps --timeout 10m
  patrold rotate --all --json
  patrold rotate --dry-run --account gps       what would happen
  patrold rotate --now gps-ingest              within the grace of the last rotation, too
  patrold rotate --no-wait --account gps       from a script that looks at `patrold status` later
  patrold rotate --compromised --account gps   its secrets have leaked

Exit status: 0 all were rotated, 3 some, 1 none. With --compromised, 3 also where an old one may still be valid.";

pub(super) const CANCEL: &str = "\
Examples:
  patrold cancel gps-ingest

Exit status: 0 it is withdrawn, 1 there was none or it has begun.";

pub(super) const RETIRE: &str = "\
Examples:
  patrold retire ci-runner                       shows what happens, and asks
  patrold retire ci-runner --dry-run             shows what would happen
  patrold retire ci-runner --revoke              after its grace, once it is not used any more
  patrold retire ci-runner --revoke --after 7d   not before a week has passed
  patrold retire ci-runner --revoke --now        at once, whoever uses it
  patrold cancel ci-runner                       it is still needed: it stays alive

Exit status: 0 it is revoked, or will be; 1 it is not, or nothing was changed; 3 its revocation is under way, or the
provider has no way to revoke it.";

pub(super) const ROLLBACK: &str = "\
Examples:
  patrold rollback gps-ingest

Exit status: 0 it is current again, 1 it is not.";

pub(super) const AUDIT: &str = "\
Examples:
  patrold audit --account gps
  patrold audit --reap                   shows the orphans, and asks before it revokes them
  patrold audit --unmanaged --write tokens.d/found.toml   entries for tokens that nobody manages
  patrold audit --json | jq '.accounts[].findings[] | select(.\"never-expires\")'

Exit status: 0 all accounts were listed, 3 some, or an orphan is left after --reap, 1 none.";

pub(super) const ADOPT: &str = "\
Examples:
  pass show gps/admin | patrold adopt gps-admin
  patrold adopt ci-runner --file /root/token --id 4711 --expires 2027-01-01T00:00:00Z

Exit status: 0 it is current, 1 it is not, and what was there stays.";
