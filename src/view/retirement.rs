//! What became of a token that an operator retired, in one sentence.

use crate::clock::Time;
use crate::report::retirement::{RetireAnswer, RetireOutcome};
use crate::text::words;

/// The answer in words.
pub fn sentence(answer: &RetireAnswer, now: Time) -> String {
    let detail = if answer.detail.is_empty() { String::new() } else { format!(": {}", answer.detail) };
    match answer.outcome {
        RetireOutcome::Revoked => "revoked at the provider".to_owned(),
        RetireOutcome::Planned => {
            let at = answer.at.map(|at| format!(" {} ({})", words::relative(at, now), words::moment(at)));
            let until = "; until then its entry back in the inventory, or `patrold cancel`, keeps it alive";
            format!("it is revoked{}{until}{detail}", at.unwrap_or_default())
        }
        RetireOutcome::Waiting => format!("its revocation is under way{detail}"),
        RetireOutcome::LeftToExpire => {
            format!("the provider has no way to revoke it: it lives until it expires, or you end it there{detail}")
        }
        RetireOutcome::Kept => "it stays alive at the provider, and nobody renews it".to_owned(),
        RetireOutcome::Nothing => "nothing of it is alive".to_owned(),
        RetireOutcome::Failed => format!("it is not revoked yet, and is tried again{detail}"),
        RetireOutcome::Refused => format!("refused{detail}"),
    }
}
