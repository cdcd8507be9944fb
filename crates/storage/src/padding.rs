//! Free space behind large appends, so that each of them begins on a block of its own.
//!
//! A sync writes whole blocks. Without padding the block that one append ends in is written again by the next one:
//! twice the bytes that the padding takes, on average.

use bytes::Bytes;

/// What file systems write at once, in bytes; all that are common use this.
pub(crate) const BLOCK: u64 = 4096;

/// Appends of at least this many bytes are padded: of shorter ones the padding would take too much of the disk.
const PADDED_FROM: u64 = 32 * BLOCK;

/// Bytes of the head of a box.
const HEAD: u64 = 8;

static BLANK: [u8; (BLOCK + HEAD) as usize] = [0; (BLOCK + HEAD) as usize];

/// The `free` box (ISO/IEC 14496-12, 8.1.2) that follows an append of `len` bytes which ends at `end`; no parts when
/// it needs none.
pub(crate) fn padding(len: u64, end: u64) -> Option<[Bytes; 2]> {
    let missing = end.next_multiple_of(BLOCK) - end;
    let size = match missing {
        0 => return None,
        _ if len < PADDED_FROM => return None,
        1..HEAD => missing + BLOCK,
        _ => missing,
    };
    let mut head = Vec::with_capacity(HEAD as usize);
    head.extend_from_slice(&u32::try_from(size).ok()?.to_be_bytes());
    head.extend_from_slice(b"free");
    let body = BLANK.get(..usize::try_from(size - HEAD).ok()?)?;
    Some([head.into(), Bytes::from_static(body)])
}

/// Whether `behind` bytes at the end of a chunk file may be padding of its last append. A torn append that short is
/// taken for one; nothing reads either.
pub(crate) fn may_be_padding(behind: u64) -> bool {
    behind < BLOCK + HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_appends_end_with_a_block() {
        for end in PADDED_FROM..PADDED_FROM + 2 * BLOCK {
            let parts = padding(PADDED_FROM, end).map(|parts| parts.concat()).unwrap_or_default();
            assert_eq!((end + parts.len() as u64) % BLOCK, 0, "{end}");
            assert!(may_be_padding(parts.len() as u64), "{end}");
            if let Some((size, rest)) = parts.split_first_chunk::<4>() {
                assert_eq!(u32::from_be_bytes(*size) as usize, parts.len());
                assert!(rest.starts_with(b"free"));
            }
        }
    }

    #[test]
    fn short_appends_take_what_they_need() {
        assert_eq!(padding(PADDED_FROM - 1, 3 * PADDED_FROM + 1), None);
    }
}
