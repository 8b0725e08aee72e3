//! The secret that a token begins with.

use super::TokenPolicy;
use crate::outcome::{Failure, FailureCode};
use crate::secret::SecretParts;
use crate::secret::source::read;

/// A secret with all that `initial` names of it.
pub async fn read_initial(token: &TokenPolicy) -> Result<SecretParts, Failure> {
    let named = token.initial.as_ref().and_then(|initial| Some((initial, initial.source.as_ref()?)));
    let Some((initial, source)) = named else {
        return Err(Failure::new(FailureCode::NoCredential, "the inventory names no initial secret"));
    };
    let mut secret = SecretParts::new(read(source).await?);
    for (name, source) in &initial.parts {
        secret = secret.with(name, read(source).await?);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Secret, SecretSource};

    #[tokio::test]
    async fn an_initial_secret_has_all_its_parts() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            SecretSource::File(path)
        };
        let mut token = crate::rotation::tests::policy::token();
        assert!(read_initial(&token).await.unwrap_err().detail.contains("no initial secret"));
        let mut initial = crate::rotation::tests::policy::initial();
        initial.source = Some(put("access", "a-1\n"));
        initial.parts.insert("refresh_token".into(), put("refresh", "r-1\n"));
        token.initial = Some(initial.clone());
        let secret = read_initial(&token).await.unwrap();
        assert_eq!(secret.token().expose(), "a-1");
        assert_eq!(secret.part("refresh_token").map(Secret::expose), Some("r-1"));
        initial.parts.insert("user".into(), SecretSource::File(directory.path().join("missing")));
        token.initial = Some(initial);
        assert!(read_initial(&token).await.unwrap_err().detail.contains("missing"));
    }
}
