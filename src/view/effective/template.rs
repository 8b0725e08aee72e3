//! The tables of templates, whose values are stores of tokens.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::token::{existing, on_drift};
use super::value::{path, quoted};
use super::{Keys, Section};
use crate::inventory::origin::{Origins, Part};
use crate::inventory::{Inventory, Member, StoreKind, StorePolicy};

/// One for each template.
pub(super) fn templates(inventory: &Inventory, origins: &Origins) -> Vec<Section> {
    let stores = inventory.tokens.values().flat_map(|token| &token.stores);
    let titled = stores.filter_map(|store| Some((store.template()?.title.as_str(), store)));
    let section = |(title, store): (&str, &StorePolicy)| {
        let (StoreKind::File(file), Some(slot)) = (&store.kind, store.template()) else {
            return None;
        };
        let member = |it: &Member| (it.name.clone(), json!({ "token": it.token, "part": it.part }));
        let from: Map<_, _> = slot.members.iter().map(member).collect();
        let mut keys = Keys::new(origins, Part::Template, title);
        keys.plain("path", path(&file.path));
        keys.plain("mode", file.mode.map(|mode| json!(format!("{mode:04o}"))));
        keys.plain("owner", file.owner.map(|owner| json!(owner.to_string())));
        keys.plain("group", file.group.map(|group| json!(group.to_string())));
        keys.plain("from", Value::Object(from));
        keys.plain("text", json!(slot.template.to_string()));
        keys.plain("existing", json!(existing(store)));
        keys.plain("on-drift", json!(on_drift(store)));
        Some(keys.section(format!("template.{}", quoted(title))))
    };
    titled.collect::<BTreeMap<_, _>>().into_iter().filter_map(section).collect()
}
