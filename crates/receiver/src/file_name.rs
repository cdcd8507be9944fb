//! Turns names that came over the network into names that are safe on any file system.

/// Longest part of the given name that is kept, in bytes: with id and extension it stays below the 255
/// that file systems allow.
const NAME_BYTES_MAX: usize = 120;
const ID_BYTES_MAX: usize = 64;
const EXTENSION_BYTES_MAX: usize = 8;

/// The file name for an asset: `name-id.extension`, or `id.extension` without a name.
///
/// Letters and digits of any script, `-`, `_`, `.` and single spaces stay; all else, path separators and
/// control characters first, becomes `_`. The result is never empty, never begins with a dot or a dash
/// (which tools read as hidden or as an option), and is never a name that Windows reserves.
pub fn safe_file_name(name: Option<&str>, id: &str, extension: &str) -> String {
    let id = match clean(id, ID_BYTES_MAX) {
        id if id.is_empty() => "asset".to_owned(),
        id => id,
    };
    let stem = match name.map(|name| clean(name, NAME_BYTES_MAX)) {
        Some(name) if !name.is_empty() => format!("{name}-{id}"),
        _ => id,
    };
    let stem = if is_reserved(&stem) { format!("{stem}_") } else { stem };
    let extension: String =
        extension.chars().filter(char::is_ascii_alphanumeric).take(EXTENSION_BYTES_MAX).collect();
    if extension.is_empty() { stem } else { format!("{stem}.{}", extension.to_ascii_lowercase()) }
}

fn clean(text: &str, bytes_max: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(bytes_max));
    for character in text.trim().chars() {
        let kept = match character {
            '-' | '_' | '.' => character,
            _ if character.is_alphanumeric() => character,
            ' ' if !cleaned.ends_with(' ') => character,
            ' ' => continue,
            _ => '_',
        };
        if cleaned.len() + kept.len_utf8() > bytes_max {
            break;
        }
        cleaned.push(kept);
    }
    cleaned.trim_start_matches(['.', '-', ' ']).trim_end_matches(['.', ' ']).to_owned()
}

/// Device names of Windows, which also hold with anything after a dot.
fn is_reserved(stem: &str) -> bool {
    let base = stem.split('.').next().unwrap_or(stem).trim_end().to_ascii_uppercase();
    let numbered = |device: &str| {
        base.strip_prefix(device)
            .is_some_and(|rest| rest.chars().count() == 1 && rest.chars().all(char::is_numeric))
    };
    matches!(base.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_kept_where_they_are_harmless() {
        let check = |name, expected| assert_eq!(safe_file_name(name, "a1b2", "mp4"), expected);
        check(None, "a1b2.mp4");
        check(Some("  Lot 12  (Bid)  "), "Lot 12 _Bid_-a1b2.mp4");
        check(Some("Führung_2.1"), "Führung_2.1-a1b2.mp4");
        check(Some("../../etc/passwd"), "_.._etc_passwd-a1b2.mp4");
        check(Some("-rf"), "rf-a1b2.mp4");
        check(Some("a\0b\nc\\d:e"), "a_b_c_d_e-a1b2.mp4");
        check(Some("..."), "a1b2.mp4");
    }

    #[test]
    fn ids_and_extensions_are_not_trusted_either() {
        assert_eq!(safe_file_name(None, "../x", "../MP4"), "_x.mp4");
        assert_eq!(safe_file_name(None, "", ""), "asset");
        assert_eq!(safe_file_name(None, "nul", "mp4"), "nul_.mp4");
        assert_eq!(safe_file_name(None, "COM1.x", "mp4"), "COM1.x_.mp4");
    }

    proptest! {
        #[test]
        fn every_name_is_one_harmless_path_segment(
            name in proptest::option::of("\\PC{0,300}|[./\\\\ :\\x00-\\x20-]{0,20}"),
            id in "\\PC{0,200}",
            extension in "\\PC{0,20}",
        ) {
            let safe = safe_file_name(name.as_deref(), &id, &extension);
            prop_assert!(!safe.is_empty() && safe.len() <= 255);
            prop_assert!(!safe.starts_with(['.', '-', ' ']) && !safe.ends_with(['.', ' ']));
            prop_assert!(!safe.contains(['/', '\\', ':', '\0']) && !safe.chars().any(char::is_control));
            prop_assert_eq!(std::path::Path::new(&safe).components().count(), 1);
        }
    }
}
