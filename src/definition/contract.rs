//! What a definition was checked by. `[contract]`: the vendor's own description of the API that it is held against. `[server]`:
//! the server that it was run against.

use super::call::operations_of;
use crate::document::Reader;
use crate::provider::{Contract, Server};

/// Reads `[contract]`.
pub(super) fn read_contract(table: Reader<'_>) -> Option<Contract> {
    let source = table.required_string("source").map(|text| text.value);
    let version = table.required_string("version").map(|text| text.value);
    let without = operations_of(&table, "without");
    table.finish();
    Some(Contract { source: source?, version: version?, without })
}

/// Reads `[server]`.
pub(super) fn read_server(table: Reader<'_>) -> Option<Server> {
    let name = table.required_string("name").map(|text| text.value);
    let version = table.required_string("version").map(|text| text.value);
    table.required("date");
    let date = table.parsed("date", |text| text.parse().map_err(|_| "a date is written as 2030-01-31".to_owned()));
    table.finish();
    Some(Server { name: name?, version: version?, date: date?.value })
}
