//! Fields that the standard does not have. The generated decoder drops them without a word, so the wire format is walked
//! once more and each is named. Nothing is copied: bytes of weights are stepped over.

use crate::Note;
use prost::encoding::{WireType, decode_key, decode_varint};

/// One message type of `onnx-ml.proto`.
pub(crate) struct Message {
    /// Name without package.
    pub(crate) name: &'static str,
    /// Fields in file order.
    pub(crate) fields: &'static [Field],
}

/// One field of a message type.
pub(crate) struct Field {
    /// Number on the wire.
    pub(crate) number: u32,
    /// Name.
    pub(crate) name: &'static str,
    /// Index in [`MESSAGES`] of the type, where that is a message.
    pub(crate) message: Option<usize>,
    /// Whether it may occur more than once.
    pub(crate) repeated: bool,
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// Notes beyond this many are counted only.
const MOST_NOTES: usize = 64;

/// Names every field of the encoded message `root` that the standard does not have.
pub(crate) fn unknown_fields(root: &str, bytes: &[u8]) -> Vec<Note> {
    let mut found = Found { notes: Vec::new(), more: 0 };
    if let Some(message) = MESSAGES.iter().find(|m| m.name == root) {
        // The decoder has accepted these bytes; where this walk cannot follow it stops, and names what it has seen.
        let _ = walk(message, bytes, &mut root.to_string(), &mut found);
    }
    if found.more > 0 {
        found.notes.push(Note::MoreUnknownFields { count: found.more });
    }
    found.notes
}

struct Found {
    notes: Vec<Note>,
    more: u64,
}

/// `None` where the bytes are no message. Recursion is bounded by the decoder, which accepted the same bytes.
fn walk(message: &Message, mut rest: &[u8], path: &mut String, found: &mut Found) -> Option<()> {
    let mut seen = vec![0usize; message.fields.len()];
    while !rest.is_empty() {
        let (number, wire) = decode_key(&mut rest).ok()?;
        let before = rest.len();
        let payload = skip(wire, number, &mut rest)?;
        let Some(at) = message.fields.iter().position(|f| f.number == number) else {
            if found.notes.len() < MOST_NOTES {
                let bytes = payload.map_or(before - rest.len(), <[u8]>::len) as u64;
                found.notes.push(Note::UnknownField { message: path.clone(), number, bytes });
            } else {
                found.more += 1;
            }
            continue;
        };
        let field = &message.fields[at];
        if let (Some(kind), Some(payload)) = (field.message, payload) {
            let len = path.len();
            path.push('.');
            path.push_str(field.name);
            if field.repeated {
                path.push_str(&format!("[{}]", seen[at]));
            }
            walk(&MESSAGES[kind], payload, path, found)?;
            path.truncate(len);
        }
        seen[at] += 1;
    }
    Some(())
}

/// Steps over one field; its bytes where it is length-delimited.
fn skip<'b>(wire: WireType, number: u32, rest: &mut &'b [u8]) -> Option<Option<&'b [u8]>> {
    let fixed = match wire {
        WireType::Varint => {
            decode_varint(rest).ok()?;
            return Some(None);
        }
        WireType::StartGroup => {
            // Groups nest; only matching ends close them. Depth is bounded by the decoder.
            loop {
                let (inner, wire) = decode_key(rest).ok()?;
                if wire == WireType::EndGroup {
                    return (inner == number).then_some(None);
                }
                skip(wire, inner, rest)?;
            }
        }
        WireType::EndGroup => return None,
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(rest).ok()?).ok()?,
    };
    let (payload, after) = rest.split_at_checked(fixed)?;
    *rest = after;
    Some((wire == WireType::LengthDelimited).then_some(payload))
}
