//! Many events one after another, in a file that may have been broken off anywhere.
//!
//! A file begins with [`HEADER`]. A frame is the length of what follows (four bytes, the lowest
//! first), eight bytes of the SHA-256 over that length and the text, and the event's text. What ends
//! in the middle of a frame was being written when the program or the machine ended: nobody was told
//! that it is kept. What is whole and yet another than was written is damage.
//!
//! *Invariant:* no bytes break the reader, and what it gives was written so.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::{WireError, from_text, to_text};
use crate::Event;

/// How a file begins.
pub const HEADER: &[u8] = b"proxmox-mcp events 1\n";

/// The longest text of an event; what says to be longer is damage.
pub const LONGEST: usize = 16 * 1024 * 1024;

/// Before the text.
const HEAD: usize = 12;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where the texts are, in their order.
    pub texts: Vec<Range<usize>>,
    /// How far it is whole.
    pub whole: usize,
    /// What is behind that.
    pub tail: Tail,
}

/// What is behind the last whole frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    #[default]
    None,
    /// A frame that was never finished.
    Torn,
    /// Something that nobody wrote so.
    Damaged,
}

/// The frame of an event.
pub fn frame(event: &Event) -> Vec<u8> {
    let text = to_text(event);
    let length = u32::try_from(text.len()).expect("an event is cut long before").to_le_bytes();
    let mut frame = Vec::with_capacity(HEAD + text.len());
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&checksum(length, text.as_bytes()));
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Finds the frames of a file.
pub fn find(file: &[u8]) -> Found {
    let Some(mut rest) = file.strip_prefix(HEADER) else {
        let is_begun = HEADER.starts_with(file) || file.iter().all(|byte| *byte == 0);
        let tail = if is_begun { Tail::Torn } else { Tail::Damaged };
        return Found { tail: if file.is_empty() { Tail::None } else { tail }, ..Found::default() };
    };
    let mut found = Found { whole: HEADER.len(), ..Found::default() };
    loop {
        match first(rest) {
            Ok(length) => {
                let text = found.whole + HEAD..found.whole + HEAD + length;
                found.whole = text.end;
                found.texts.push(text);
                rest = &rest[HEAD + length..];
            }
            Err(tail) => {
                found.tail = tail;
                return found;
            }
        }
    }
}

/// Reads the text of a frame.
///
/// # Errors
/// Another version of this program wrote it.
pub fn read(text: &[u8]) -> Result<Event, WireError> {
    // What is not UTF-8 was not written by us, and is no JSON either.
    from_text(&String::from_utf8_lossy(text))
}

/// The length of the first text, if its frame is whole.
fn first(bytes: &[u8]) -> Result<usize, Tail> {
    if bytes.is_empty() {
        return Err(Tail::None);
    }
    // Some file systems make a file longer before what is written is in it.
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(Tail::Torn);
    }
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Tail::Torn)?;
    let size = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if size > LONGEST {
        return Err(Tail::Damaged);
    }
    let (sum, rest) = rest.split_first_chunk::<8>().ok_or(Tail::Torn)?;
    let text = rest.get(..size).ok_or(Tail::Torn)?;
    if checksum(*length, text) == *sum { Ok(size) } else { Err(Tail::Damaged) }
}

fn checksum(length: [u8; 4], text: &[u8]) -> [u8; 8] {
    let sum = Sha256::new().chain_update(length).chain_update(text).finalize();
    *sum.first_chunk().expect("it has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ComponentId, Kind};
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn event(text: &str) -> Event {
        let source: ComponentId = "hooks".parse().unwrap();
        let time = Timestamp::from_second(1_000_000).unwrap();
        let event = Event::builder(&source, "webhook", text, Kind::BackupFailed, time);
        event.title("a backup failed").message(text).raw(text.as_bytes()).build(time)
    }

    fn file(events: &[Event]) -> Vec<u8> {
        events.iter().fold(HEADER.to_vec(), |mut file, event| {
            file.extend(frame(event));
            file
        })
    }

    fn events(file: &[u8], found: &Found) -> Vec<Event> {
        found.texts.iter().map(|text| read(&file[text.clone()]).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_wherever_it_ends_the_rest_is_torn(
            texts in prop::collection::vec(".{0,40}", 0..6), cut in any::<prop::sample::Index>(),
        ) {
            let written: Vec<Event> = texts.iter().map(|text| event(text)).collect();
            let file = file(&written);
            let found = find(&file);
            prop_assert_eq!((&events(&file, &found), found.tail, found.whole), (&written, Tail::None, file.len()));
            let cut = &file[..cut.index(file.len() + 1)];
            let found = find(cut);
            let kept = events(cut, &found);
            prop_assert_eq!(&kept[..], &written[..kept.len()]);
            prop_assert_ne!(found.tail, Tail::Damaged);
            prop_assert_eq!(found.tail == Tail::None, found.whole == cut.len());
            // A disk that was full of nothing where the rest should be.
            let mut holed = cut.to_vec();
            holed.truncate(found.whole);
            holed.resize(found.whole + 100, 0);
            prop_assert_eq!(find(&holed).tail, Tail::Torn);
        }

        #[test]
        fn a_byte_that_is_another_is_seen(
            texts in prop::collection::vec(".{0,40}", 1..5), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let written: Vec<Event> = texts.iter().map(|text| event(text)).collect();
            let mut file = file(&written);
            let at = at.index(file.len());
            file[at] ^= 1_u8 << bit;
            let found = find(&file);
            let kept = events(&file, &found);
            prop_assert!(found.whole <= at, "what is behind it is not taken for whole");
            prop_assert_eq!(&kept[..], &written[..kept.len()]);
            prop_assert_ne!(found.tail, Tail::None);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200), header: bool) {
            let mut file = if header { HEADER.to_vec() } else { Vec::new() };
            file.extend(&bytes);
            let found = find(&file);
            prop_assert!(found.whole <= file.len());
            for text in found.texts {
                let _ = read(&file[text]);
            }
        }
    }

    #[test]
    fn what_is_no_file_of_ours_is_damage() {
        assert_eq!(find(b"{\"v\": 1}\n").tail, Tail::Damaged);
        assert_eq!(find(b"").tail, Tail::None);
        assert_eq!(find(&HEADER[..5]).tail, Tail::Torn);
        let mut long = HEADER.to_vec();
        long.extend([0xff; 20]);
        assert_eq!(find(&long), Found { texts: vec![], whole: HEADER.len(), tail: Tail::Damaged });
    }
}
