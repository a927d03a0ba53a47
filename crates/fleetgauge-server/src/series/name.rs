//! The names of the series of readings.

/// The number of a reading.
pub const READING: &str = "fleetgauge_reading";
/// How old the number is. *Unit*: seconds.
pub const READING_AGE: &str = "fleetgauge_reading_age_seconds";
/// Whether the number is held.
pub const READING_HELD: &str = "fleetgauge_reading_held";
/// That there is no number, and why.
pub const READING_WITHHELD: &str = "fleetgauge_reading_withheld";
