//! `postgres` of `engine` of `[fleet]`: the URL of a database, as libpq writes it.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

use std::net::IpAddr;
use std::path::PathBuf;

use url::form_urlencoded;

use crate::document::Located;
use crate::inventory::values::is_name_of_loopback;
use crate::inventory::{Database, Server, ServerHost};

use super::Context;

/// Where PostgreSQL listens unless it is told otherwise.
const PORT: u16 = 5432;

/// What the database is called unless it is told otherwise.
const DATABASE: &str = "patrold";

const FORM: &str = "write for example \"postgresql://db-1.example.com,db-2.example.com/patrold\", or \
                    \"postgresql:///patrold?host=/run/postgresql\"";

/// Why an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Form,
    Password,
    Host,
    Port,
    Parameter,
}

impl Fault {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Form => ("is no URL of a database", FORM),
            Self::Password => ("holds a password", "leave it out and write a `credential`"),
            Self::Host => ("names no server", FORM),
            Self::Port => ("holds a port that is none", FORM),
            Self::Parameter => (
                "has a parameter that patrold does not read: only `host` and `port` may follow the `?`",
                "connections use TLS unless the server is this machine: write `tls`, or allow-plaintext = true",
            ),
        }
    }
}

/// The database at `url`. Whether connections are encrypted is for the caller to say.
pub(super) fn database(url: &Located<String>, context: &Context<'_>) -> Option<Database> {
    let fault = match parse(&url.value) {
        Ok(database) => return Some(database),
        Err(fault) => fault,
    };
    if fault == Fault::Password {
        context.report.conceal(url.spot);
    }
    let (what, help) = fault.words();
    context.report.error_with_help(url.spot, format!("`postgres` of `engine` of [fleet] {what}"), help);
    None
}

/// Whether the server is this machine.
pub(super) fn is_near(server: &Server) -> bool {
    match &server.host {
        ServerHost::Socket(_) => true,
        ServerHost::Named(host) => {
            is_name_of_loopback(host) || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn parse(text: &str) -> Result<Database, Fault> {
    let rest = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")).ok_or(Fault::Form)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    if user.is_some_and(|user| user.contains(':')) {
        return Err(Fault::Password);
    }
    if rest.contains('#') || name.contains('/') {
        return Err(Fault::Form);
    }
    let (mut named, mut port) = (Vec::new(), PORT);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "host" => named.extend(value.split(',').map(str::to_owned)),
            "port" => port = value.parse().map_err(|_| Fault::Port)?,
            "password" => return Err(Fault::Password),
            _ => return Err(Fault::Parameter),
        }
    }
    let within = hosts.split(',').filter(|host| !host.is_empty()).map(|host| server(host, port));
    let servers = within.chain(named.iter().map(|host| server(host, port))).collect::<Result<Vec<_>, _>>()?;
    if servers.is_empty() {
        return Err(Fault::Host);
    }
    Ok(Database {
        servers,
        name: if name.is_empty() { DATABASE.to_owned() } else { name.to_owned() },
        user: user.filter(|user| !user.is_empty()).map(str::to_owned),
        encrypted: true,
    })
}

/// `host`, `host:port`, `[address]:port` or the directory of a socket.
fn server(text: &str, port: u16) -> Result<Server, Fault> {
    if text.starts_with('/') {
        return Ok(Server { host: ServerHost::Socket(PathBuf::from(text)), port });
    }
    let (host, given) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(Fault::Host)?;
            host.parse::<IpAddr>().map_err(|_| Fault::Host)?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(Fault::Port)?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(Fault::Host);
    }
    let port = given.map_or(Ok(port), |given| given.parse().map_err(|_| Fault::Port))?;
    Ok(Server { host: ServerHost::Named(host.to_owned()), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_libpq_reads_them() {
        for (url, servers, name, user) in [
            ("postgresql://db", "db:5432", "patrold", None),
            ("postgres://db/tokens", "db:5432", "tokens", None),
            ("postgresql://p@db-1,db-2:5433/tokens", "db-1:5432 db-2:5433", "tokens", Some("p")),
            ("postgresql://[::1]:7/a", "::1:7", "a", None),
            ("postgresql:///a?host=/run/postgresql&port=7", "/run/postgresql", "a", None),
            ("postgresql:///?host=%2Frun%2Fpostgresql", "/run/postgresql", "patrold", None),
            ("postgresql:///a?host=db-1,db-2&port=9", "db-1:9 db-2:9", "a", None),
        ] {
            let database = parse(url).unwrap();
            let told: Vec<_> = database.servers.iter().map(ToString::to_string).collect();
            assert_eq!((told.join(" ").as_str(), database.name.as_str()), (servers, name), "{url}");
            assert_eq!(database.user.as_deref(), user, "{url}");
        }
        for (url, fault) in [
            ("db", Fault::Form),
            ("https://db/patrold", Fault::Form),
            ("postgresql://db/a/b", Fault::Form),
            ("postgresql:///patrold", Fault::Host),
            ("postgresql://p:secret@db/a", Fault::Password),
            ("postgresql://db/a?password=secret", Fault::Password),
            ("postgresql://db:x/a", Fault::Port),
            ("postgresql://[::1/a", Fault::Host),
            ("postgresql://db/a?sslmode=disable", Fault::Parameter),
        ] {
            assert_eq!(parse(url), Err(fault), "{url}");
        }
    }

    #[test]
    fn only_this_machine_is_near() {
        for (host, near) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("/run/postgresql", true),
            ("db.example.com", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_near(&server(host, PORT).unwrap()), near, "{host}");
        }
    }
}
