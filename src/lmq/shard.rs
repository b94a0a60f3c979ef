//! Which queue an ordered message goes to (LMQ-10.2), as the vendor's library and its consumers know it.

/// The number of a key: the queue is this number modulo the topic's queues, sorted by broker and number.
///
/// It is Java's `Math.abs(key.hashCode())`. The one number that stays negative stands for the first queue.
pub fn number(key: &str) -> u32 {
    // Java hashes UTF-16 code units.
    let hash = key.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    if hash == i32::MIN { 0 } else { hash.unsigned_abs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_java() {
        // As Java 17 printed them.
        for (key, expected) in [
            ("", 0),
            ("a", 97),
            ("GID_Test@@@0001", 486_469_170),
            ("hello", 99_162_322),
            ("polygenelubricants", 0),
            ("\u{1f600}", 1_772_899),
            ("plant\u{fc}", 985_762_831),
        ] {
            assert_eq!(number(key), expected, "{key}");
        }
    }
}
