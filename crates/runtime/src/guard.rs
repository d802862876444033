//! Panics of foreign code as values.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `f`; a panic in it becomes its message and place instead of text on standard error.
///
/// `f` must own or rebuild whatever it leaves half-done: callers drop the runtime's objects after a panic.
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // The hook is the process's: it only acts on threads that are inside a guard and passes all else on.
    HOOK.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                return previous(info);
            }
            let text = info.payload_as_str().unwrap_or("no message");
            let place = info.location().map(|l| format!(" ({}:{})", file_name(l.file()), l.line())).unwrap_or_default();
            MESSAGE.with_borrow_mut(|m| *m = format!("{text}{place}"));
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(outer);
    result.map_err(|_| MESSAGE.take())
}

/// The last part of a source path: the rest says where somebody's registry is.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_place() {
        let caught = guarded(|| -> usize { panic!("seven {}", 7) }).unwrap_err();
        assert!(caught.starts_with("seven 7 (guard.rs:"), "{caught}");
        assert_eq!(guarded(|| 3), Ok(3));
    }
}
