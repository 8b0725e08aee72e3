//! Whether two generations are the same token at the provider.

use crate::names::{AccountName, RemoteId};
use crate::secret::TOKEN_PART;

use super::state::{Generation, TokenState};

/// How two generations are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinship {
    /// They are two tokens.
    None,
    /// They have the same secret: whatever ends one of them may end the other.
    Secret,
    /// They have the same id and different secrets: the provider made a new secret for the token that existed.
    Id,
}

impl Generation {
    /// How it is related to `other`.
    ///
    /// Law: a candidate and the current generation are compared, by secret and by id, before either is delivered or
    /// revoked. Some providers answer a mint with the token that exists already, some make a new secret for it, some give
    /// the same secret another id: what is revoked then is what consumers use.
    pub fn kinship(&self, other: &Self) -> Kinship {
        let secret = |it: &Self| it.fingerprints.get(TOKEN_PART).cloned();
        if secret(self).is_some() && secret(self) == secret(other) {
            return Kinship::Secret;
        }
        let same_id = self.remote.id.is_some() && self.remote.id == other.remote.id;
        if same_id && self.account == other.account { Kinship::Id } else { Kinship::None }
    }

    /// Whether it is the token that `account` knows by `id`.
    pub fn is_known_as(&self, account: &AccountName, id: Option<&RemoteId>) -> bool {
        id.is_some() && self.account == *account && self.remote.id.as_ref() == id
    }

    /// Whether it is the same token as `other`.
    pub fn is_kin(&self, other: &Self) -> bool {
        self.kinship(other) != Kinship::None
    }
}

impl TokenState {
    /// Whether one of its generations is the token that `account` knows by `id`.
    pub fn has_id(&self, account: &AccountName, id: Option<&RemoteId>) -> bool {
        self.generations().any(|it| it.is_known_as(account, id))
    }
}
