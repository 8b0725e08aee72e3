//! Directories whose files change at once: each file is a store, and a write of one brings up all of them.

use std::sync::Arc;

use crate::inventory::spec::{DirectorySpec, StoreSpec};
use crate::inventory::{AccountPolicy, DirectoryFile, DirectoryPolicy, StoreKind, StorePolicy, defaults};

use super::super::account::absolute;
use super::super::claims::{Writer, normalised, target};
use super::{Stores, format};

impl Stores<'_> {
    /// A store for each file of a directory, claimed.
    pub(super) fn directory(
        &mut self,
        spec: &StoreSpec,
        directory: &DirectorySpec,
        account: Option<&AccountPolicy>,
        what: &str,
    ) -> Vec<StorePolicy> {
        let parts = account.map(|account| account.provider.secret_parts());
        let Some(mut policy) = self.place(directory, what) else { return Vec::new() };
        let mut files = Vec::with_capacity(directory.files.len());
        for file in &directory.files {
            let path = policy.path.join(&file.name.value);
            let writer = Writer { what: what.to_owned(), spot: file.name.spot };
            if self.is_definition(&path) {
                let message = format!("{what} would overwrite {}, a provider definition", path.display());
                self.context.report.error_with_help(writer.spot, message, "choose a path outside of `providers`");
                continue;
            }
            let text = format!("directory:{}#{}", policy.path.display(), file.name.value);
            let Some(key) = self.key(&text, file.name.spot, what) else { continue };
            let Ok(place) = target(&path).parse() else { continue };
            if self.claims.claim(path.display(), place, writer).is_none() {
                continue;
            }
            let part = self.part(Some(&file.part), parts.as_deref(), what);
            files.push(DirectoryFile { key, name: file.name.value.clone(), part, format: format(&file.format) });
        }
        policy.files = files.into();
        let store = |file: &DirectoryFile| {
            let kind = StoreKind::Directory(policy.clone());
            self.policy(spec, file.key.clone(), file.part.clone(), defaults::EXISTING, kind, what)
        };
        policy.files.iter().map(store).collect()
    }

    /// The directory, claimed, without its files.
    fn place(&mut self, spec: &DirectorySpec, what: &str) -> Option<DirectoryPolicy> {
        let path = absolute(&spec.path, format_args!("`path` of a store of {what}"), self.context)?;
        let path = normalised(&path);
        let (owner, group) = self.owners(spec.owner.as_ref(), spec.group.as_ref(), true, what);
        if self.is_alone(&path) {
            let message = format!(
                "{} is a directory of one host, and any replica of the fleet may be the one that writes it for {what}",
                path.display()
            );
            let help = "name it in `shared-paths` of [fleet] if every replica sees the same directory there (NFS, CephFS); \
                        of several hosts, patrold writes files";
            self.context.report.error_with_help(spec.path.spot, message, help);
        }
        let claimed = match target(&path).parse() {
            Ok(target) => {
                let writer = Writer { what: what.to_owned(), spot: spec.path.spot };
                self.claims.claim_directory(&path, target, writer)
            }
            Err(error) => {
                self.context.report.error(spec.path.spot, format!("`path` of a store of {what}: {error}"));
                None
            }
        };
        claimed?;
        let mode = spec.mode.as_ref().map(|mode| mode.value);
        Some(DirectoryPolicy { path, mode, owner, group, files: Arc::default() })
    }
}
