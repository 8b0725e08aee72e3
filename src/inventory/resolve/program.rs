//! Programs that the inventory names.

/// Why no machine can start a program of this name, and the remedy.
pub(super) fn cannot_start(program: &str) -> Option<(&'static str, String)> {
    if program.starts_with('~') {
        return Some(("no shell replaces `~`", "write the absolute path".to_owned()));
    }
    if program.starts_with('/') {
        return None;
    }
    if program.contains(char::is_whitespace) {
        let words: Vec<_> = program.split_whitespace().collect();
        return Some(("it is a whole command line, and no shell takes it apart", format!("write run = {words:?}")));
    }
    let relative = program.contains('/');
    relative.then(|| {
        ("programs run in the directory `/`, where that path leads nowhere", "write the absolute path".to_owned())
    })
}
