//! What a provider can do, as far as decisions depend on it.

use crate::clock::Span;

use super::{Capabilities, OnTimeout, Operation, Provider};

/// What a provider can do, as far as decisions depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Abilities {
    pub can: Capabilities,
    /// A revocation takes the secret of the token that it revokes.
    pub revokes_self: bool,
    /// A revocation takes the id of the token, which the answer to a mint may not have told.
    pub revokes_by_id: bool,
    /// A renewal of unknown outcome may be sent again once the old secret is proven to work still.
    pub renewal_repeats: bool,
    /// How long a mint of unknown outcome may still appear in a listing, and a renewal of unknown outcome take effect.
    pub settle: Span,
    /// The parts of a whole secret.
    pub parts: Vec<String>,
}

impl Abilities {
    /// The abilities of a definition.
    pub fn of(provider: &Provider) -> Self {
        Self {
            can: provider.capabilities(),
            revokes_self: provider.revokes_by_secret(),
            revokes_by_id: provider.revokes_by_id(),
            renewal_repeats: provider.has(Operation::Verify)
                && provider.on_timeout(Operation::Renew) != OnTimeout::NeverRetry,
            settle: provider.mint_settle(),
            parts: provider.secret_parts().into_iter().map(str::to_owned).collect(),
        }
    }
}
