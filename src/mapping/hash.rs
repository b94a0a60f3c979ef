//! The hash behind order keys and loop marks.
//!
//! It must stay the same in every process, on every machine and in every release: replicas and restarts agree on
//! it. It is no protection against people who look for collisions.

/// FNV-1a over the bytes, its bits mixed at the end so that a remainder by a small number spreads evenly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) const NEW: Self = Self(0xcbf2_9ce4_8422_2325);

    /// The hash so far, continued over more bytes.
    #[must_use]
    pub(crate) fn over(self, bytes: impl AsRef<[u8]>) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(bytes.as_ref().iter().fold(self.0, step))
    }

    /// The finished hash.
    pub(crate) fn finish(self) -> u64 {
        let mut hash = self.0;
        for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
            hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
        }
        hash ^ (hash >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(Hash::NEW.over("").finish(), 0xefd0_1f60_ba99_2926);
        assert_eq!(Hash::NEW.over("plant/a").finish(), Hash::NEW.over("plant/").over("a").finish());
    }

    #[test]
    fn similar_keys_spread_over_few_queues() {
        for queues in [3, 4, 8] {
            let mut counts = vec![0_u32; queues];
            for machine in 0..1_000 {
                let hash = Hash::NEW.over(format!("plant/a/m{machine}/up")).finish();
                counts[usize::try_from(hash % queues as u64).unwrap()] += 1;
            }
            let even = 1_000 / u32::try_from(queues).unwrap();
            assert!(counts.iter().all(|count| count.abs_diff(even) < even / 4), "{counts:?}");
        }
    }
}
