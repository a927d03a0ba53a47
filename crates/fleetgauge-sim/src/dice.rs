//! Chance, by seed: the only place where the simulation draws.
//!
//! The algorithm is named and fixed (PCG XSL 128/64, MCG), so that a seed means the same fleet after an
//! upgrade; `SmallRng` and its like promise no such thing.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

/// A stream of draws that depends on its seed alone.
#[derive(Debug)]
pub(crate) struct Dice(Pcg64Mcg);

// === impl Dice ===

impl Dice {
    /// The stream that belongs to `seed` and `name`; other names give unrelated streams.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: tiny, and the same on every machine.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut dice = Self(Pcg64Mcg::new((u128::from(seed) << 64) | u128::from(hash)));
        // Seeds that differ in few bits draw alike at first.
        for _ in 0..8 {
            dice.0.next_u64();
        }
        dice
    }

    /// Evenly from 0 (included) to 1 (excluded).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly from `0..n`; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// True with `probability`.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// The wait for the next event of a Poisson process. *Unit*: that of `1 / rate`.
    pub(crate) fn exponential(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).ln() / rate
    }

    /// Lognormal around `median`; `sigma` is the standard deviation of the logarithm.
    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        // Box and Muller, of whose two normals one is thrown away: draws are not what costs here.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        median * (sigma * normal).exp()
    }

    /// `length` letters of the alphabet of Kubernetes' generated names, which spells no words.
    ///
    /// Source: `k8s.io/apimachinery/pkg/util/rand`.
    pub(crate) fn suffix(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length)
            .map(|_| char::from(ALPHABET[self.below(ALPHABET.len())]))
            .collect()
    }

    /// The hash of a pod template as the names of ReplicaSets bear it: 32 bits in decimal, and each digit
    /// replaced by one of ten characters that spell no words.
    ///
    /// Source: `ComputeHash` in `pkg/controller/controller_utils.go` of Kubernetes.
    pub(crate) fn template_hash(&mut self) -> String {
        const DIGITS: &[u8; 10] = b"456789bcdf";
        let hash = (self.unit() * 4_294_967_296.0) as u32;
        let digits = hash.to_string().into_bytes();
        digits
            .into_iter()
            .map(|digit| char::from(DIGITS[usize::from(digit - b'0')]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_name_give_one_stream() {
        let draw = |seed, name| Dice::new(seed, name).suffix(10);
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(0, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn means_are_those_of_the_distributions() {
        let mut dice = Dice::new(7, "means");
        let n = 200_000;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || dice.unit()) - 0.5).abs() < 0.01);
        assert!((mean(&mut || dice.exponential(4.0)) - 0.25).abs() < 0.01);
        // The mean of a lognormal is median * exp(sigma^2 / 2).
        let expected = 100.0 * (0.5_f64 * 0.5 / 2.0).exp();
        assert!((mean(&mut || dice.lognormal(100.0, 0.5)) / expected - 1.0).abs() < 0.02);
        assert_eq!(dice.below(0), 0);
    }
}
