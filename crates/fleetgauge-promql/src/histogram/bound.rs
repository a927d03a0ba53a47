//! Where exponential buckets end.
//!
//! With schema n there are 2ⁿ buckets from one power of two to the next; with schema −n a bucket spans 2ⁿ of them.

use std::sync::LazyLock;

/// The finest resolution.
pub(crate) const MAX_SCHEMA: i8 = 8;
/// The coarsest one.
pub(super) const MIN_SCHEMA: i8 = -4;

/// The first bound above 1 with the schemas 1 to 8, to the last bit as Prometheus has them: not all of them are
/// the number nearest to the root of two, and bounds that differ in one bit are other buckets to a reader.
#[expect(
    clippy::approx_constant,
    reason = "one bit below the root of two, as in Prometheus"
)]
const RATIOS: [f64; MAX_SCHEMA as usize] = [
    1.414213562373095,
    1.189207115002721,
    1.0905077326652577,
    1.0442737824274138,
    1.0218971486541166,
    1.0108892860517005,
    1.0054299011128027,
    1.0027112750502025,
];

/// The bounds from ½ up to 1 with the finest schema. Coarser ones use each second of them, each fourth, …
static FINEST: LazyLock<Vec<f64>> = LazyLock::new(|| {
    RATIOS.iter().fold(vec![0.5], |coarser, ratio| {
        coarser
            .into_iter()
            .flat_map(|bound| [bound, bound * ratio])
            .collect()
    })
});

/// The upper bound of the positive bucket `index`.
pub(super) fn upper(index: i32, schema: i8) -> f64 {
    let index = i64::from(index);
    let (fraction, exponent) = match u32::try_from(schema) {
        Ok(fine) => {
            let within = index & ((1 << fine) - 1);
            let stride = 1 << (MAX_SCHEMA as u32 - fine);
            (FINEST[within as usize * stride], (index >> fine) + 1)
        }
        Err(_) => (0.5, (index << schema.unsigned_abs()) + 1),
    };
    // The bucket of the largest number ends there, not at infinity.
    if fraction == 0.5 && exponent == 1025 {
        return f64::MAX;
    }
    scaled(fraction, exponent)
}

/// The bucket of a coarser schema, `levels` below, in which the bucket `index` lies.
pub(super) fn coarser(index: i32, levels: u32) -> i32 {
    (((i64::from(index) - 1) >> levels) + 1) as i32
}

/// `fraction` times two to the power of `exponent`, rounded once.
fn scaled(fraction: f64, exponent: i64) -> f64 {
    // Beyond, all is infinite or zero. In two steps, as a power of its own may be out of range.
    let exponent = exponent.clamp(-1200, 1200) as i32;
    let half = exponent / 2;
    fraction * 2f64.powi(half) * 2f64.powi(exponent - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_prometheus() {
        let check =
            |index, schema, expected: f64| assert_eq!(upper(index, schema), expected, "{index} of {schema}");
        check(0, 0, 1.0);
        check(1, 0, 2.0);
        check(-1, 0, 0.5);
        check(3, 1, 2.82842712474619);
        check(-1, 2, 0.8408964152537144);
        check(1, -1, 4.0);
        check(2, -4, 4_294_967_296.0);
        // The ends of what a number can be.
        check(1024, 0, f64::MAX);
        check(64, -4, f64::MAX);
        check(1025, 0, f64::INFINITY);
        check(-1074, 0, 5e-324);
        check(-1080, 0, 0.0);
        check(i32::MAX, 8, f64::INFINITY);
        check(i32::MIN, -4, 0.0);
    }

    #[test]
    fn a_coarser_bucket_ends_where_its_last_finer_one_does() {
        for schema in MIN_SCHEMA..MAX_SCHEMA {
            for index in -40..40 {
                let last = (index) * 2;
                assert_eq!(coarser(last, 1), index);
                assert_eq!(coarser(last - 1, 1), index);
                assert_eq!(
                    upper(last, schema + 1),
                    upper(index, schema),
                    "{index} of {schema}"
                );
            }
        }
    }
}
