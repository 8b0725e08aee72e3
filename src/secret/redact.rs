//! Strikes secrets out of text that is shown.

use super::Secret;

/// Secrets, and how they are struck out of messages.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// Strikes `secret` out from now on; shorter ones than four characters are left, they would hit by chance.
    pub fn add(&mut self, secret: &Secret) {
        let length = secret.expose().len();
        if length >= 4 {
            // Longest first: a secret that begins with another one would otherwise leave its tail.
            let at = self.0.partition_point(|known| known.expose().len() >= length);
            self.0.insert(at, secret.clone());
        }
    }

    /// `text` with every known secret replaced by `***`.
    pub fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), "***"))
    }
}
