//! Files with secrets of several tokens: each value is a store of its token.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::inventory::spec::{FormatSpec, FromSpec, TemplateSpec, TokenSpec};
use crate::inventory::{AccountPolicy, FilePolicy, Format, Member, StoreKind, StorePolicy, TemplateSlot, defaults};
use crate::names::{StoreKey, TokenName};
use crate::secret::TOKEN_PART;

use super::super::claims::{Writer, normalised, target};
use super::{FileSpec, Located, Stores};

/// A store that a template gives to a token, and the part of its secret that is written, where that is said.
type Given = (StorePolicy, Option<Located<String>>);

/// The stores that templates give to each token.
#[derive(Default)]
pub(in super::super) struct ByToken(BTreeMap<TokenName, Vec<Given>>);

impl ByToken {
    /// Whether a template has a value of the token.
    pub(in super::super) fn have(&self, token: &TokenName) -> bool {
        self.0.contains_key(token)
    }
}

impl Stores<'_> {
    /// The values of all templates, with their files claimed. `known`: the tokens that there are.
    pub(in super::super) fn templates(&mut self, specs: &[TemplateSpec], known: &HashMap<&str, &TokenSpec>) -> ByToken {
        let mut stores = ByToken::default();
        let mut titles: HashMap<&str, &TemplateSpec> = HashMap::new();
        for spec in specs {
            let what = format!("template \"{}\"", spec.name.value);
            if let Some(first) = titles.insert(&spec.name.value, spec) {
                self.context.twice(spec.name.spot, &what, first.name.spot);
                continue;
            }
            if self.context.fleet.is_some() {
                let message =
                    format!("{what} is in the inventory of a fleet, where another replica may own one of its tokens");
                let help = "let each token write its own value: a store of kind json, yaml, toml, ini, netrc or env-file \
                            leaves what others have in the file as it is";
                self.context.report.error_with_help(spec.name.spot, message, help);
                continue;
            }
            self.template(spec, known, &what, &mut stores);
        }
        stores
    }

    fn template(&mut self, spec: &TemplateSpec, known: &HashMap<&str, &TokenSpec>, what: &str, stores: &mut ByToken) {
        let report = self.context.report;
        let mut strange = false;
        let mut used = HashSet::new();
        for from in &spec.from {
            if !known.contains_key(from.token.value.as_str()) {
                let message = format!("{what} names an unknown token \"{}\"", from.token.value);
                let help = self.context.hint(&from.token.value, known.keys().copied());
                report.error_with_help(from.token.spot, message, help);
                strange = true;
            }
            let part = from.part.as_ref().map_or(TOKEN_PART, |part| part.value.as_str());
            if !used.insert((from.token.value.as_str(), part)) {
                let message = format!("{what} has two names for one secret of token \"{}\"", from.token.value);
                report.error_with_help(from.name.spot, message, "one name may stand at several places of the text");
                strange = true;
            }
        }
        let Some(file) = self.file_of(spec, what).filter(|_| !strange) else { return };
        let member = |from: &FromSpec| {
            let text = format!("template:{}#{}", file.path.display(), from.name.value);
            let key: StoreKey = self.key(&text, from.name.spot, what)?;
            let part = from.part.as_ref().map_or(TOKEN_PART, |part| &part.value).to_owned();
            let token = from.token.value.parse().ok()?;
            Some(Member { name: from.name.value.clone(), token, part, key })
        };
        let Some(members) = spec.from.iter().map(member).collect::<Option<Arc<[_]>>>() else { return };
        let template = Arc::new(spec.template.clone());
        for (member, from) in members.iter().zip(&spec.from) {
            let slot = TemplateSlot {
                title: spec.name.value.clone(),
                template: Arc::clone(&template),
                name: member.name.clone(),
                members: Arc::clone(&members),
            };
            let format = Format::Template(Arc::new(slot));
            let policy = StorePolicy {
                key: member.key.clone(),
                part: member.part.clone(),
                existing: spec.existing.unwrap_or(defaults::EXISTING),
                on_drift: spec.on_drift.unwrap_or(defaults::ON_DRIFT),
                on_leave: defaults::ON_LEAVE,
                kind: StoreKind::File(FilePolicy { format, ..file.clone() }),
            };
            stores.0.entry(member.token.clone()).or_default().push((policy, from.part.clone()));
        }
    }

    /// The file, claimed.
    fn file_of(&mut self, spec: &TemplateSpec, what: &str) -> Option<FilePolicy> {
        let plain = FileSpec {
            path: spec.path.clone(),
            mode: spec.mode.clone(),
            owner: spec.owner.clone(),
            group: spec.group.clone(),
            format: FormatSpec::Whole { newline: None },
        };
        let file = self.attributes(&plain, true, what)?;
        let path = normalised(&file.path);
        let writer = Writer { what: what.to_owned(), spot: spec.path.spot };
        if self.is_definition(&path) {
            let message = format!("{what} would overwrite {}, a provider definition", path.display());
            self.context.report.error_with_help(writer.spot, message, "choose a path outside of `providers`");
            return None;
        }
        let target = target(&path).parse();
        let target =
            target.map_err(|error| self.context.report.error(writer.spot, format!("`path` of {what}: {error}")));
        self.claims.claim(path.display(), target.ok()?, writer)?;
        Some(FilePolicy { path, ..file })
    }

    /// The stores that templates give to a token.
    pub(in super::super) fn of_templates(
        &self,
        templates: &ByToken,
        token: &TokenName,
        account: &AccountPolicy,
        what: &str,
    ) -> Vec<StorePolicy> {
        let Some(stores) = templates.0.get(token) else { return Vec::new() };
        let parts = account.provider.secret_parts();
        let told = |(policy, part): &Given| {
            self.part(part.as_ref(), Some(&parts), what);
            policy.clone()
        };
        stores.iter().map(told).collect()
    }
}
