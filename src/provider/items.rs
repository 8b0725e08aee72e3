//! The items of a page of a listing, one by one, out of the bytes that arrived.
//!
//! Law: a page costs at most four times its size in memory, whatever its objects look like. It is never held as one tree:
//! a tree of small objects takes a hundred times the room of its text. Each item is a tree for as long as it is looked at,
//! and of everything beside the items no more than [`MOST_BESIDE`] is kept.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Of what stands beside the items, in bytes: where the listing goes on, and what a definition expects.
const MOST_BESIDE: usize = 256 * 1024;

/// The largest item, in bytes.
const LARGEST_ITEM: usize = 256 * 1024;

/// Where the items of a page are.
#[derive(Clone, Copy)]
pub(super) struct Items<'a> {
    /// JSON pointer to the list.
    pub(super) at: &'a str,
    /// The list is a table: the name under which an item gets its key.
    pub(super) keyed: Option<&'a str>,
}

/// `body` as a tree in which the list has its first item only.
pub(super) fn outline(body: &[u8], items: Items<'_>) -> serde_json::Result<Value> {
    walk(body, items, Some(MOST_BESIDE), &mut |_, _| Ok(()))
}

/// Hands each item of the list to `take`, until that fails.
pub(super) fn each(
    body: &[u8],
    items: Items<'_>,
    mut take: impl FnMut(&Value) -> Result<(), String>,
) -> Result<(), String> {
    let mut failed = None;
    let walked = walk(body, items, None, &mut |key, raw| {
        let result = item(raw).and_then(|item| named(item, items.keyed.zip(key))).and_then(|item| take(&item));
        result.map_err(|error| {
            failed = Some(error);
        })
    });
    match (failed, walked) {
        (Some(error), _) => Err(error),
        (None, Err(_)) => Err("it is no JSON".to_owned()),
        (None, Ok(_)) => Ok(()),
    }
}

fn item(raw: &RawValue) -> Result<super::extract::Wiped, String> {
    if raw.get().len() > LARGEST_ITEM {
        return Err(format!("an entry has more than {LARGEST_ITEM} bytes"));
    }
    serde_json::from_str(raw.get()).map(super::extract::Wiped).map_err(|_| "an entry is no JSON".to_owned())
}

/// An item with its key under the name that it gets.
fn named(mut item: super::extract::Wiped, key: Option<(&str, &str)>) -> Result<super::extract::Wiped, String> {
    if let Some((name, key)) = key {
        let table = item.0.as_object_mut().ok_or("an entry is no table")?;
        table.insert(name.to_owned(), Value::from(key));
    }
    Ok(item)
}

/// The key of an item, where it has one, and its text.
type Take<'t> = dyn FnMut(Option<&str>, &RawValue) -> Result<(), ()> + 't;

fn walk(body: &[u8], items: Items<'_>, room: Option<usize>, take: &mut Take<'_>) -> serde_json::Result<Value> {
    let path: Vec<_> = items.at.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let mut room = room;
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = Walk { path: &path, keyed: items.keyed.is_some(), room: &mut room, take }.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// A place on the way to the items.
struct Walk<'w, 't> {
    path: &'w [String],
    /// The list is a table.
    keyed: bool,
    /// Bytes that may still be kept; `None`: nothing is.
    room: &'w mut Option<usize>,
    take: &'w mut Take<'t>,
}

impl Walk<'_, '_> {
    /// What stands beside the way.
    fn keep<E: serde::de::Error>(&mut self, raw: &RawValue) -> Result<Value, E> {
        let Some(room) = self.room.as_mut() else { return Ok(Value::Null) };
        *room = room.checked_sub(raw.get().len()).ok_or_else(|| E::custom("too much beside the items"))?;
        serde_json::from_str(raw.get()).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let mut table = serde_json::Map::new();
        if self.keyed && self.path.is_empty() {
            while let Some(key) = map.next_key::<String>()? {
                let raw = map.next_value::<&RawValue>()?;
                (self.take)(Some(&key), raw).map_err(|()| A::Error::custom("an item is not as expected"))?;
                if table.is_empty() && self.room.is_some() {
                    let first = self.keep(raw)?;
                    table.insert(key, first);
                }
            }
            return Ok(Value::Object(table));
        }
        while let Some(key) = map.next_key::<String>()? {
            let value = match self.path.split_first() {
                Some((step, path)) if *step == key => {
                    let (keyed, room, take) = (self.keyed, &mut *self.room, &mut *self.take);
                    map.next_value_seed(Walk { path, keyed, room, take })?
                }
                _ if self.room.is_none() => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => self.keep(map.next_value::<&RawValue>()?)?,
            };
            table.insert(key, value);
        }
        Ok(Value::Object(table))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        let Some((step, path)) = self.path.split_first() else {
            while let Some(raw) = list.next_element::<&RawValue>()? {
                if values.is_empty() && self.room.is_some() {
                    values.push(self.keep(raw)?);
                }
                (self.take)(None, raw).map_err(|()| A::Error::custom("an item is not as expected"))?;
            }
            return Ok(Value::Array(values));
        };
        let place: Option<usize> = step.parse().ok();
        for at in 0.. {
            let value = if Some(at) == place {
                let (keyed, room, take) = (self.keyed, &mut *self.room, &mut *self.take);
                list.next_element_seed(Walk { path, keyed, room, take })?
            } else {
                list.next_element::<&RawValue>()?.map(|raw| self.keep(raw)).transpose()?
            };
            let Some(value) = value else { break };
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_found_where_the_pointer_leads_and_the_rest_is_an_outline() {
        for (sentence, body, pointer, outline, items) in [
            ("in a table", r#"{"n":2,"items":[{"a":1},{"a":2}]}"#, "/items", r#"{"n":2,"items":[{"a":1}]}"#, 2),
            ("the whole", "[1,2,3]", "", "[1]", 3),
            ("deeper", r#"{"a":{"b~":[[],[7,8]]},"c":null}"#, "/a/b~0/1", r#"{"a":{"b~":[[],[7]]},"c":null}"#, 2),
            ("nothing there", r#"{"a":1.5}"#, "/items", r#"{"a":1.5}"#, 0),
            ("no list", r#"{"items":{"x":true}}"#, "/items", r#"{"items":{"x":true}}"#, 0),
            ("null", r#"{"items":null}"#, "/items", r#"{"items":null}"#, 0),
            ("empty", r#"{"items":[]}"#, "/items", r#"{"items":[]}"#, 0),
        ] {
            let expected: Value = serde_json::from_str(outline).unwrap();
            let items_at = Items { at: pointer, keyed: None };
            assert_eq!(super::outline(body.as_bytes(), items_at).unwrap(), expected, "{sentence}");
            let mut count = 0;
            each(body.as_bytes(), items_at, |_| {
                count += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(count, items, "{sentence}");
        }
    }

    #[test]
    fn items_of_a_table_get_their_keys() {
        let items = Items { at: "/tokens", keyed: Some("id") };
        for (sentence, body, outline, wanted) in [
            (
                "two",
                r#"{"n":2,"tokens":{"a":{"x":1},"b":{}}}"#,
                r#"{"n":2,"tokens":{"a":{"x":1}}}"#,
                r#"[{"x":1,"id":"a"},{"id":"b"}]"#,
            ),
            ("none", r#"{"tokens":{}}"#, r#"{"tokens":{}}"#, "[]"),
            ("nothing there", r#"{"n":2}"#, r#"{"n":2}"#, "[]"),
        ] {
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(super::outline(body.as_bytes(), items).unwrap(), parse(outline), "{sentence}");
            let mut found = Vec::new();
            each(body.as_bytes(), items, |item| {
                found.push(item.clone());
                Ok(())
            })
            .unwrap();
            assert_eq!(Value::from(found), parse(wanted), "{sentence}");
        }
        let told = each(br#"{"tokens":{"a":7}}"#, items, |_| Ok(()));
        assert_eq!(told.unwrap_err(), "an entry is no table");
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let at = |at| Items { at, keyed: None };
        let junk = json!({ "items": [], "junk": vec![json!({}); MOST_BESIDE] }).to_string();
        let large = json!({ "items": ["x".repeat(LARGEST_ITEM)] }).to_string();
        for (sentence, body) in
            [("no JSON", "{\"items\":[1,"), ("two values", "[] []"), ("too much beside the items", junk.as_str())]
        {
            assert!(outline(body.as_bytes(), at("/items")).is_err(), "{sentence}");
        }
        assert!(each(large.as_bytes(), at("/items"), |_| Ok(())).unwrap_err().contains("more than"), "a huge item");
        let told = each(b"[1,2]", at(""), |item| Err(format!("not {item}")));
        assert_eq!(told.unwrap_err(), "not 1");
    }
}
