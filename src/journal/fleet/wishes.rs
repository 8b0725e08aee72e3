//! Wishes of operators, and the answers to them, on their way from one replica to another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::engine::{Compare, Done, EngineError, Step};
use super::layout::WishId;
pub use super::sealed::Sealed;
use super::{FleetJournal, failure, json};
use crate::journal::{Fence, SecretSlot};
use crate::names::{AccountName, GenerationNo, ReplicaName, TokenName};
use crate::outcome::Failure;
use crate::secret::SecretParts;

/// What somebody asks the owner of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub account: AccountName,
    /// The claim of the owner who is asked: nobody else does it.
    pub epoch: u64,
    /// The replica at which it was asked.
    pub by: ReplicaName,
    /// What is asked, as replicas understand it.
    pub body: String,
    /// The revision at which it was left. The engine tells it.
    #[serde(skip)]
    pub left: i64,
}

/// No generation has this number: what is sealed for a wish opens nowhere else.
const OF_WISH: GenerationNo = GenerationNo(u32::MAX);

impl FleetJournal {
    /// Leaves a wish, for as long as this replica lives.
    pub async fn wish(&self, id: &WishId, wish: &Wish) -> Result<(), EngineError> {
        self.say(self.layout.wish(id), json(wish)).await
    }

    /// Takes a wish out of the engine, so that nobody else takes it: whoever has it is the only one who may begin it. `fence`:
    /// and only while this claim stands. False: it was taken, or whoever left it is gone, or the claim is another's.
    pub async fn take_wish(&self, id: &WishId, wish: &Wish, fence: Option<&Fence>) -> Result<bool, EngineError> {
        let mut conditions = vec![Compare::Created(self.layout.wish(id), wish.left)];
        conditions.extend(fence.map(|fence| self.stands(fence)));
        let done = self.engine.transact(&conditions, &[Step::Delete(self.layout.wish(id))], &[]).await?;
        Ok(matches!(done, Done::Held(_)))
    }

    /// Answers a wish, for as long as this replica lives.
    pub async fn answer(&self, id: &WishId, text: &str) -> Result<(), EngineError> {
        self.say(self.layout.answer(id), text.as_bytes().to_vec()).await
    }

    /// Removes a wish and its answer.
    pub async fn forget_wish(&self, id: &WishId) -> Result<(), EngineError> {
        let steps = [Step::Delete(self.layout.wish(id)), Step::Delete(self.layout.answer(id))];
        self.engine.transact(&[], &steps, &[]).await.map(drop)
    }

    async fn say(&self, key: String, value: Vec<u8>) -> Result<(), EngineError> {
        let lease = self.lease.id();
        if lease == 0 {
            return Err(EngineError::Refused(failure("this replica takes no part in its fleet now")));
        }
        self.engine.transact(&[], &[Step::Put { key, value, lease }], &[]).await.map(drop)
    }

    /// Seals a secret that goes with a wish.
    pub fn seal_wish(&self, token: &TokenName, secret: &SecretParts) -> Result<Sealed, Failure> {
        let sealed = self.keys.sealer().seal(&slot(token), secret);
        let sealed = sealed.map_err(|error| failure(format!("the secret was not sealed: {error}")))?;
        Ok(Sealed(STANDARD.encode(sealed)))
    }

    /// Opens it.
    pub fn open_wish(&self, token: &TokenName, sealed: &Sealed) -> Result<SecretParts, Failure> {
        let bytes = STANDARD.decode(&sealed.0).map_err(|_| failure("the secret of a wish is damaged"))?;
        self.keys.open(&slot(token), &bytes).map_err(|error| failure(format!("the secret of a wish: {error}")))
    }
}

fn slot(token: &TokenName) -> SecretSlot {
    SecretSlot { token: token.clone(), generation: OF_WISH, revision: 0 }
}
