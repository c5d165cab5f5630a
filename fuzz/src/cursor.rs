//! Cursors. An input is a list's name, a position in it in JSON, another name, and what else might be taken for a cursor.

use std::sync::LazyLock;

use posts_api::http::cursor::CursorKeys;
use posts_api::http::problem::Code;
use serde_json::Value;

use super::{assert_is_refusal, has_fraction, lines};

/// Keys while they are exchanged, the old one alone, and a stranger's.
static KEYS: LazyLock<[CursorKeys; 3]> = LazyLock::new(|| {
    let keys = |secrets: &[u8]| CursorKeys::new(secrets.iter().map(|&byte| [byte; 32])).unwrap();
    [keys(&[1, 2]), keys(&[2]), keys(&[3])]
});

/// A cursor is for its list and its keys alone, and what else opens none of ours made.
pub fn holds(data: &[u8]) {
    let Some([list, position, other_list, other]) = lines(data) else { return };
    let [keys, old, strangers] = &*KEYS;
    let open = |keys: &CursorKeys, list: &str, cursor: &str| keys.open::<Value>(list, cursor);
    let assert_refused = |keys: &CursorKeys, list: &str, cursor: &str| {
        let problem = open(keys, list, cursor).expect_err(cursor);
        assert_eq!(problem.code(), Code::InvalidCursor);
        assert_eq!(problem.faults().len(), 1);
        assert_is_refusal(&problem);
    };

    // The same place is always the same cursor: what opens is what is sealed for what it says, to the last bit.
    match open(keys, list, other) {
        Ok(position) => {
            let sealed = [keys, old].map(|keys| keys.seal(list, &position).unwrap());
            assert!(sealed.iter().any(|sealed| sealed == other), "{position} opened, and was never sealed");
        }
        Err(_) => assert_refused(keys, list, other),
    }
    assert_refused(strangers, list, other);

    let Ok(position) = serde_json::from_str::<Value>(position) else { return };
    let cursor = keys.seal(list, &position).unwrap();
    let sent = serde_json::to_vec(&position).unwrap();
    let opened = open(keys, list, &cursor).unwrap();
    if !has_fraction(&position) {
        assert_eq!(opened, serde_json::from_slice::<Value>(&sent).unwrap());
        assert_eq!(keys.seal(list, &opened).unwrap(), cursor);
    }
    assert_eq!(open(keys, list, &old.seal(list, &position).unwrap()).unwrap(), opened);
    assert_refused(old, list, &cursor);
    assert_refused(strangers, list, &cursor);
    if other_list != list {
        assert_refused(keys, other_list, &cursor);
    }
    for forged in changed(&cursor, other) {
        assert_refused(keys, list, &forged);
    }
}

/// Cursors that differ from this one: a character changed, at places that the input chooses; cut; and with more at its end.
fn changed(cursor: &str, choice: &str) -> Vec<String> {
    let mut changed = vec![format!("{cursor}A"), cursor[..cursor.len() - 1].to_owned(), format!("{cursor}=")];
    for pair in choice.as_bytes().chunks_exact(2).take(8) {
        let place = usize::from(pair[0]) * cursor.len() / 256;
        let mut bytes = cursor.as_bytes().to_vec();
        bytes[place] = if pair[1].is_ascii() && pair[1] != bytes[place] { pair[1] } else { bytes[place] ^ 1 };
        changed.push(String::from_utf8(bytes).unwrap());
    }
    changed
}
