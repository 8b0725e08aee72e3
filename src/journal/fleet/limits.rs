//! What the owner of an account leaves for the next one: what the provider asked for, and which credential it refused.

use super::FleetJournal;
use super::engine::{EngineError, Step};
use crate::journal::Fence;
use crate::names::AccountName;

impl FleetJournal {
    /// Leaves what the next owner of an account holds to, as long as this claim stands.
    pub async fn leave_limits(&self, fence: &Fence, text: &str) -> Result<(), EngineError> {
        let ours = [self.stands(fence)];
        let key = self.layout.limits(&fence.account);
        let put = Step::Put { key, value: text.as_bytes().to_vec(), lease: 0 };
        self.engine.transact(&ours, &[put], &[]).await.map(drop)
    }

    /// What the last owner of an account has left. `None`: nothing.
    pub async fn limits(&self, account: &AccountName) -> Result<Option<String>, EngineError> {
        let found = self.engine.get(self.layout.limits(account)).await?;
        Ok(found.and_then(|pair| String::from_utf8(pair.value).ok()))
    }
}
