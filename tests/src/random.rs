//! Numbers that a seed leads to.

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and the same everywhere.
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next of all numbers.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    /// A value in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        // 24 bits are what a float's mantissa holds: the conversion is exact.
        (self.number() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
