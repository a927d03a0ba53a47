//! Builder methods that set one field and do nothing else: a line each, not five.

/// Methods of an `impl` that set a field and hand the value on: documentation, name, argument, and what is set to what.
///
/// ```
/// #[derive(Default)]
/// struct Config {
///     every: Option<std::time::Duration>,
/// }
///
/// impl Config {
///     fleetgauge_core::setters! {
///         /// Sets how often.
///         with_every(every: std::time::Duration) => every = Some(every);
///     }
/// }
/// assert!(Config::default().with_every(std::time::Duration::from_secs(1)).every.is_some());
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($($(#[$attribute:meta])* $name:ident($argument:ident: $type:ty) => $($field:ident).+ = $value:expr;)+) => {
        $(
            $(#[$attribute])*
            #[must_use]
            pub fn $name(mut self, $argument: $type) -> Self {
                self.$($field).+ = $value;
                self
            }
        )+
    };
}
