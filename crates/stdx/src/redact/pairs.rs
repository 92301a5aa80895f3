//! Sets of pairs of bytes: what tells from two letters that nothing begins here.

/// A set of pairs, one bit each.
#[derive(Clone)]
pub(super) struct Pairs([u64; 1024]);

// === impl Pairs ===

impl Pairs {
    pub(super) const fn new() -> Self {
        Self([0; 1024])
    }

    pub(super) const fn add(&mut self, first: u8, second: u8) {
        let pair = (first as usize) << 8 | second as usize;
        self.0[pair / 64] |= 1 << (pair % 64);
    }

    /// Adds every pair that begins so.
    pub(super) const fn add_all(&mut self, first: u8) {
        let mut word = 0;
        while word < 4 {
            self.0[first as usize * 4 + word] = u64::MAX;
            word += 1;
        }
    }

    #[inline]
    pub(super) const fn has(&self, first: u8, second: u8) -> bool {
        let pair = (first as usize) << 8 | second as usize;
        self.0[pair / 64] & (1 << (pair % 64)) != 0
    }
}
