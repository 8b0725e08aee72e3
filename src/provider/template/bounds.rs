//! Limits on expressions, so that none takes all of the stack or the memory.

use super::Name;
use crate::document::nearest;
use crate::provider::filters::FILTERS;

/// The engine walks expressions by recursion, and each filter may double its text: what is longer than anybody needs could
/// take all of the stack or of the memory.
pub(super) fn check_size(source: &str) -> Result<(), String> {
    const LONGEST: usize = 300;
    const FILTERS_AT_MOST: usize = 4;
    if source.len() > LONGEST {
        return Err(format!("the expression has more than {LONGEST} bytes"));
    }
    if without_quoted(source).matches('|').count() > FILTERS_AT_MOST {
        return Err(format!("the expression has more than {FILTERS_AT_MOST} filters"));
    }
    Ok(())
}

/// A product of a text or a list would be a repetition, of any size.
pub(super) fn check_product(source: &str, names: &[(String, Name)]) -> Result<(), String> {
    let is_number = |name: &Name| matches!(name, Name::WantTtl | Name::PageNumber | Name::PageOffset);
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._+-*/%()".contains(c);
    if !without_quoted(source).contains('*')
        || (source.chars().all(plain) && names.iter().all(|(_, name)| is_number(name)))
    {
        return Ok(());
    }
    Err("`*` multiplies numbers only: `want.ttl`, `page.number`, `page.offset` and fixed ones".to_owned())
}

/// The engine learns of unknown filters and tests only while it runs, when a request is due; so they are looked for
/// when the definition is loaded.
pub(super) fn check_words(source: &str) -> Result<(), String> {
    let bare = without_quoted(source);
    for after in bare.split('|').skip(1) {
        let word: String = after.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !FILTERS.contains(&word.as_str()) {
            let help = nearest(&word, FILTERS.iter().copied())
                .map_or_else(|| format!("known: {}", FILTERS.join(", ")), |near| format!("did you mean `{near}`?"));
            return Err(format!("there is no filter `{word}` ({help})"));
        }
    }
    if bare.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).any(|word| word == "is") {
        return Err("`is` has no meaning here; compare with `==`, or use a name by itself as a condition".to_owned());
    }
    Ok(())
}

/// `source` with quoted text blanked out.
fn without_quoted(source: &str) -> String {
    let mut quote = None;
    let mut escaped = false;
    source
        .chars()
        .map(|c| match quote {
            Some(_) if escaped => {
                escaped = false;
                ' '
            }
            Some(_) if c == '\\' => {
                escaped = true;
                ' '
            }
            Some(open) => {
                if c == open {
                    quote = None;
                }
                ' '
            }
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                ' '
            }
            None => c,
        })
        .collect()
}
