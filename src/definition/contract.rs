//! `[contract]`: the vendor's own description of the API that a definition is held against.

use super::call::operations_of;
use crate::document::Reader;
use crate::provider::Contract;

/// Reads `[contract]`.
pub(super) fn read_contract(table: Reader<'_>) -> Option<Contract> {
    let source = table.required_string("source").map(|text| text.value);
    let version = table.required_string("version").map(|text| text.value);
    let without = operations_of(&table, "without");
    table.finish();
    Some(Contract { source: source?, version: version?, without })
}
