//! Files that a template makes of secrets of several tokens.
//!
//! A value of the template is a slot. The file is read back by the template: what others have in it stays as it is, so that
//! no delivery brings back what another one has replaced, and the secret of each token is looked at before its old one is
//! revoked. Only where the file is no text of the template are the values of others written anew.
//!
//! Everything here blocks.

use crate::inventory::{FilePolicy, Format, Member, TemplateSlot};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::{Secret, SecretParts};

use super::disk;
use super::filling::{Values, read, render};
use super::judge::Judge;
use super::receipt::Known;

/// What a write brings to one slot.
#[derive(Debug)]
pub struct Part {
    slot: disk::Slot,
    name: String,
    secret: Secret,
    judge: Option<Judge>,
}

/// What the parts of a secret bring to each slot that its token has. `judge`: not over everything. Fails where the secret
/// lacks a part, or the template cannot hold it.
pub fn parts(
    slot: &disk::Slot,
    of: &TemplateSlot,
    parts: &SecretParts,
    known: &Known,
    judge: impl Fn(&Secret, &Known) -> Option<Judge>,
) -> Result<Vec<Part>, Failure> {
    let part = |member: &Member| {
        let secret = parts.part(&member.part).cloned().ok_or_else(|| {
            Failure::new(FailureCode::StoreRefused, format!("the secret has no part `{}`", member.part))
        })?;
        let file = FilePolicy { format: Format::Template(of.at(&member.name).into()), ..slot.file.clone() };
        let here = disk::Slot { key: member.key.clone(), file };
        here.check_value(&secret)?;
        let beside = || known.beside.iter().find(|(key, _)| *key == member.key).map(|(_, known)| known);
        let known = if member.key == slot.key { Some(known) } else { beside() };
        let judge = known.and_then(|known| judge(&secret, known));
        Ok(Part { slot: here, name: member.name.clone(), secret, judge })
    };
    of.together().map(part).collect()
}

/// Writes the parts and reads them back. `others`: the values of other tokens, for a file that is no text of the template.
pub fn write(slot: &disk::Slot, of: &TemplateSlot, parts: &[Part], others: &Values) -> Outcome<()> {
    let judged = parts.iter().any(|part| part.judge.is_some());
    let edited = slot.edit(
        judged,
        |existing| parts.iter().try_for_each(|part| part.slot.permitted(existing, part.judge.as_ref())),
        |document| {
            let there = read(document, &of.template).unwrap_or_default();
            let own = |name: &str| parts.iter().find(|part| part.name == name).map(|part| &part.secret);
            let value = |name: &str| own(name).or_else(|| there.get(name)).or_else(|| others.get(name));
            let lacking = |member: &&Member| value(&member.name).is_none();
            if let Some(member) = of.members.iter().find(lacking) {
                return Err(format!("waits for token `{}`, which has no secret yet", member.token).into());
            }
            let text = render(&of.template, value).map_err(disk::Why::from)?;
            // What cannot be read back could not be looked at before a revocation.
            let back = read(&text, &of.template);
            let same =
                |(name, secret): (&String, &Secret)| value(name).is_some_and(|it| it.expose() == secret.expose());
            match back {
                Some(back) if back.iter().all(same) => Ok(text),
                _ => Err("it could not be read back: a value holds the text that follows it".into()),
            }
        },
        || {
            for part in parts {
                match part.slot.confirm(&part.secret) {
                    Outcome::Done(()) => {}
                    other => return other,
                }
            }
            Outcome::Done(())
        },
    );
    edited.unwrap_or_else(Outcome::later)
}

#[cfg(test)]
mod tests;
