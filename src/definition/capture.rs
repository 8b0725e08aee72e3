//! Reads what a definition says about answers: predicates, and the places of captured values.

use reqwest::header::HeaderName;

use super::binding::{Binder, Stage, read_tree};
use crate::document::{Found, Located, Reader};
use crate::outcome::FailureCode;
use crate::provider::Operation;
use crate::provider::model::{
    Captures, Exception, ExpirySource, Moment, Never, Piece, Place, Predicate, Source, Test, Tree,
};
use crate::provider::time::Format;

/// The failures that `otherwise` and `as` may name in definitions of stores. The last four are theirs alone.
pub(crate) const STORE_CODES: &[(&str, FailureCode)] = &[
    ("unauthorized", FailureCode::Unauthorized),
    ("locked", FailureCode::AccountLocked),
    ("forbidden", FailureCode::Forbidden),
    ("not-found", FailureCode::NotFound),
    ("no-room", FailureCode::NoRoom),
    ("rejected", FailureCode::Rejected),
    ("rate-limited", FailureCode::RateLimited),
    ("server-error", FailureCode::ServerError),
    ("not-understood", FailureCode::NotUnderstood),
    ("wrong-place", FailureCode::StoreWrongPlace),
    ("soft-deleted", FailureCode::StoreSoftDeleted),
    ("pending", FailureCode::StorePending),
    ("refused", FailureCode::StoreRefused),
];

/// The same in definitions of providers.
pub(crate) const CODES: &[(&str, FailureCode)] = STORE_CODES.split_at(STORE_CODES.len() - 4).0;

type MakeTest = fn(Tree) -> Test;
type MakeSource = fn() -> ExpirySource;

/// One predicate, with what it means when it does not hold.
pub(super) fn read_predicate(
    table: Reader<'_>,
    binder: &Binder<'_>,
    stage: Stage,
    otherwise: FailureCode,
) -> Option<Predicate> {
    let at = read_pointer(&table, "at");
    let or_absent = table.bool("or-absent").is_some_and(|flag| flag.value);
    let otherwise = table.choice("otherwise", binder.codes).map_or(otherwise, |code| code.value);
    let mut tests: Vec<Option<Test>> = Vec::new();
    let comparisons: [(&'static str, MakeTest); 5] = [
        ("equals", Test::Equals),
        ("not-equals", Test::NotEquals),
        ("one-of", Test::OneOf),
        ("prefix", Test::Prefix),
        ("contains", Test::Contains),
    ];
    for (key, make) in comparisons {
        tests.extend(table.take(key).map(|found| read_tree(&table, found, binder, stage).map(make)));
    }
    for (key, yes, no) in [("present", Test::Present, Test::Absent), ("empty", Test::Empty, Test::NonEmpty)] {
        tests.extend(table.bool(key).map(|flag| Some(if flag.value { yes } else { no })));
    }
    let count = tests.len();
    let test = tests.pop().flatten();
    if count != 1 {
        let message = format!(
            "{} needs one of `equals`, `not-equals`, `one-of`, `prefix`, `contains`, `present`, `empty`",
            table.what()
        );
        table.report().error(table.spot(), message);
    }
    table.finish();
    Some(Predicate { at: at?, test: test?, or_absent, otherwise })
}

pub(super) fn read_predicates(
    table: &Reader<'_>,
    key: &'static str,
    binder: &Binder<'_>,
    stage: Stage,
    otherwise: FailureCode,
) -> Vec<Predicate> {
    let items = table.tables(key, format_args!("an item of `{key}`"));
    items.into_iter().filter_map(|item| read_predicate(item, binder, stage, otherwise)).collect()
}

/// Failures that mean something else than their status says.
pub(super) fn read_classify(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Vec<Exception> {
    let mut classify = Vec::new();
    for reader in table.tables("classify", "an item of `classify`") {
        reader.required("as");
        let code = reader.choice("as", binder.codes).map(|code| code.value);
        let status = reader.integer("status").and_then(|status| u16::try_from(status.value).ok());
        let has_predicate = reader.has("at");
        let predicate = if has_predicate {
            read_predicate(reader, binder, stage, FailureCode::Rejected)
        } else {
            if status.is_none() {
                reader.report().error(reader.spot(), "an item of `classify` needs `status` or `at`");
            }
            reader.finish();
            None
        };
        if let Some(code) = code.filter(|_| has_predicate == predicate.is_some()) {
            classify.push(Exception { status, predicate, code });
        }
    }
    classify
}

/// Takes `key` as a JSON pointer (RFC 6901): empty, or with a slash before each step.
pub(super) fn read_pointer(table: &Reader<'_>, key: &'static str) -> Option<String> {
    table.required(key);
    table.parsed(key, check_pointer).map(|pointer| pointer.value)
}

pub(super) fn check_pointer(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("a JSON pointer begins with a slash: did you mean \"/{}\"?", text.replace('.', "/")))
    }
}

/// What is taken out of the answer to `operation`, or out of an item of its list.
pub(super) fn read_captures(table: Reader<'_>, operation: Operation) -> Captures {
    let mut captures = Captures::default();
    if matches!(operation, Operation::Mint | Operation::Renew) {
        captures.secret = table.take("secret").and_then(|found| read_secret(&table, found, operation));
        captures.parts = read_places(&table, "parts");
        captures.refresh_expires = table.take("refresh-expires").and_then(|found| read_moment(&table, found));
        captures.renewable_until = table.take("renewable-until").and_then(|found| read_moment(&table, found));
    }
    if matches!(operation, Operation::Mint | Operation::List) {
        captures.created = table.take("created").and_then(|found| read_moment(&table, found));
    }
    if operation == Operation::List {
        captures.name = read_place(&table, "name");
        captures.last_used = table.take("last-used").and_then(|found| read_moment(&table, found));
    }
    if operation != Operation::Verify {
        captures.facts = read_places(&table, "facts");
    }
    captures.id = read_place(&table, "id");
    captures.expires = match table.take("expires") {
        None => Vec::new(),
        Some(found) if found.value().as_array().is_some() => {
            found.items().filter_map(|found| read_expiry(&table, found)).collect()
        }
        Some(found) => read_expiry(&table, found).into_iter().collect(),
    };
    table.finish();
    captures
}

fn read_expiry(table: &Reader<'_>, found: Found<'_>) -> Option<ExpirySource> {
    let reader = Reader::from_value(table.report(), found, "`expires`")?;
    if !reader.has("from") {
        return read_moment(table, found).map(ExpirySource::Answer);
    }
    let words: [(&str, MakeSource); 4] = [
        ("want", || ExpirySource::Asked),
        ("jwt", || ExpirySource::Jwt),
        ("list", || ExpirySource::List),
        ("none", || ExpirySource::Never),
    ];
    let source = reader.choice("from", &words).map(|make| (make.value)());
    reader.finish();
    source
}

pub(super) fn read_moment(table: &Reader<'_>, found: Found<'_>) -> Option<Moment> {
    let reader = Reader::from_value(table.report(), found, "a moment")?;
    let place = place_of(&reader);
    let format = reader.choice("format", Format::WORDS);
    reader.required("format");
    let values = |key| reader.array(key).unwrap_or_default().iter().map(Found::to_json).collect::<Vec<_>>();
    let never = values("never").into_iter().map(|value| match value.as_str() {
        Some("null") => Never::Null,
        Some("absent") => Never::Absent,
        Some("year 9999") => Never::Year9999,
        _ => Never::Value(value),
    });
    let never = never.collect();
    let unset = values("unset");
    reader.finish();
    Some(Moment { place: place?, format: format?.value, never, unset })
}

pub(super) fn read_places(table: &Reader<'_>, key: &'static str) -> Vec<(String, Place)> {
    let Some(named) = table.table(key, format!("`{key}`")) else { return Vec::new() };
    let read = |(name, found): (Located<&str>, Found<'_>)| {
        place_from(&named, name.value, found).map(|place| (name.value.to_owned(), place))
    };
    named.entries().filter_map(read).collect()
}

/// Where the secret of a new token is: in the answer, or in the request, where the caller chose it.
fn read_secret(table: &Reader<'_>, found: Found<'_>, operation: Operation) -> Option<Place> {
    let chosen = found.value().as_table().is_some_and(|table| table.contains_key("from"));
    if !chosen || operation != Operation::Mint {
        return place_from(table, "secret", found);
    }
    let reader = Reader::from_value(table.report(), found, "`secret`")?;
    let chosen = reader.choice("from", &[("want", ())]);
    reader.finish();
    chosen.map(|_| Place { source: Source::Chosen, optional: false, base64: false })
}

fn read_place(table: &Reader<'_>, key: &'static str) -> Option<Place> {
    table.take(key).and_then(|found| place_from(table, key, found))
}

/// A place is a JSON pointer, or a table that says more.
pub(super) fn place_from(table: &Reader<'_>, key: &str, found: Found<'_>) -> Option<Place> {
    let Some(text) = found.value().as_str() else {
        let reader = Reader::from_value(table.report(), found, format!("`{key}`"))?;
        let place = place_of(&reader);
        reader.finish();
        return place;
    };
    match check_pointer(text) {
        Ok(pointer) => Some(Place { source: Source::Body(pointer), optional: false, base64: false }),
        Err(error) => {
            table.report().error(found.spot(), error);
            None
        }
    }
}

pub(super) fn place_of(reader: &Reader<'_>) -> Option<Place> {
    let optional = reader.bool("optional").is_some_and(|flag| flag.value);
    let base64 = reader.choice("decode", &[("base64", true)]).is_some();
    let header = reader.parsed("header", str::parse::<HeaderName>);
    let joined = reader.array("join").map(|pieces| {
        let pieces = pieces.into_iter().map(|piece| match piece.value().as_str() {
            Some(text) => Some(Piece::Text(text.to_owned())),
            None => place_from(reader, "join", piece).map(Piece::Place),
        });
        pieces.collect::<Option<Vec<_>>>()
    });
    let source = match (header, joined) {
        (Some(header), None) => Source::Header(header.value),
        (None, Some(pieces)) => Source::Joined(pieces?),
        // It was no list, which is told.
        (None, None) if reader.has("join") => return None,
        (None, None) => Source::Body(read_pointer(reader, "at")?),
        (Some(_), Some(_)) => {
            reader
                .report()
                .error(reader.spot(), format!("{} has more than one of `at`, `header`, `join`", reader.what()));
            return None;
        }
    };
    Some(Place { source, optional, base64 })
}
