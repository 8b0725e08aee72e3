//! What is told of a task that ended abnormally.
//!
//! Law: the words of a panic reach no log, no error message and no journal. They may quote what the code was about, and no
//! redactor has seen them; a `JoinError` repeats them when it is displayed.

use std::io;

use tokio::task::JoinError;

/// How a task ended that gave no result.
pub fn told(error: &JoinError) -> &'static str {
    if error.is_panic() { "a task panicked: the line `panicked` in the log says where" } else { "a task was cancelled" }
}

/// The same as an error of the work that the task did.
pub fn as_io(error: &JoinError) -> io::Error {
    io::Error::other(told(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_words_of_a_panic_are_not_told() {
        let crashed: Result<(), _> = tokio::spawn(async { panic!("the secret is 4711") }).await;
        let crashed = crashed.unwrap_err();
        assert!(crashed.to_string().contains("4711"), "the runtime repeats them: {crashed}");
        assert!(!told(&crashed).contains("4711") && !as_io(&crashed).to_string().contains("4711"));
        let cancelled = tokio::spawn(std::future::pending::<()>());
        cancelled.abort();
        assert_eq!(told(&cancelled.await.unwrap_err()), "a task was cancelled");
    }
}
