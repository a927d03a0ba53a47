//! What the generator picks from. `NEW_…` is beyond what 2.42 and 3 agree on.

pub(crate) const GAUGES: [&str; 6] = ["gauge", "other", "gauge", "sparse", "wild", "requests_total"];
pub(crate) const FINITE: [&str; 4] = ["gauge", "other", "sparse", "requests_total"];
pub(crate) const MATCHERS: [&str; 12] = [
    "job=\"a\"",
    "job!=\"a\"",
    "inst=~\"0|1\"",
    "inst!~\"1\"",
    "job=~\".+\"",
    "zone=\"\"",
    "zone!=\"\"",
    "nosuch=\"\"",
    "inst=\"9\"",
    "inst=\"0\"",
    "inst=~\"[02]\"",
    "job=~\"a.*|x\"",
];
pub(crate) const NUMBERS: [&str; 16] = [
    "0", "1", "2", "3", "10", "0.5", "1.5", "-1", "-2.5", "1e3", "0x1F", ".25", "1e-3", "Inf", "-Inf", "NaN",
];
pub(crate) const RANGES: [&str; 8] = ["20s", "1m", "90s", "2m30s", "5m", "7m", "10m", "1s"];
pub(crate) const STEPS: [&str; 5] = ["15s", "30s", "1m", "", "20s"];
pub(crate) const OFFSETS: [&str; 6] = ["1m", "5m", "17s", "-1m", "-3m", "1h"];
pub(crate) const NEW_GAUGES: [&str; 13] = [
    "gauge",
    "other",
    "sparse",
    "wild",
    "requests_total",
    "near_total",
    "rough",
    "few",
    "words",
    "{\"dot.ted\"}",
    "{\"dot.ted\", job=\"a\"}",
    "{__name__=\"dot.ted\"}",
    "lat_bucket",
];
pub(crate) const NEW_MATCHERS: [&str; 12] = [
    "\"a.b\"=\"x\"",
    "\"a.b\"!=\"\"",
    "'job'='a'",
    "inst=~\"\\\\d\"",
    "inst!~`[^1\\D]`",
    "job=~\"(?i)A|B\"",
    "inst=~\"[[:digit:]]\"",
    "job=~\"\\\\pL\"",
    "job=~\"^a$\"",
    "job=~\"\"",
    "job!~\"\"",
    "job=~\"a|\"",
];
pub(crate) const WORD_MATCHERS: [&str; 48] = [
    "word=~`\\d`",
    "word=~`\\d+`",
    "word!~`\\w+`",
    "word=~`.`",
    "word=~`...`",
    "word=~`x.y`",
    "word=~`(?-s)x.y`",
    "word=~`(?i)k`",
    "word=~`(?i:K)`",
    "word=~`\\pL`",
    "word=~`\\p{Nd}`",
    "word=~`[[:alpha:]]+`",
    "word=~`^ab$`",
    "word=~`\\bab\\b`",
    "word=~`é{1,2}`",
    "word=~`[^a-z]`",
    "word=~`\\x{e9}`",
    "word=~`a{2,1}`",
    "word=~`a**`",
    "word=~`\\Qab\\E`",
    "word=~`(?P<n>a)b`",
    "word=~`x\\s+y`",
    "word=~`(?m)x$\\n^y`",
    "word=~`.*\"\\\\`",
    r#"word=~`\A..\z`"#,
    r#"word=~`\a`"#,
    r#"word=~`\x41|\x{4b}`"#,
    r#"word=~`[\x{e9}\pN]`"#,
    r#"word=~`\P{L}+`"#,
    r#"word=~`[^\pL\d]`"#,
    r#"word=~`\p{^Lu}`"#,
    r#"word=~`\p{Greek1}`"#,
    r#"word=~`[[:word:]]+`"#,
    r#"word=~`[[:^alpha:]]`"#,
    r#"word=~`[\w-]+`"#,
    r#"word=~`[a-]b`"#,
    r#"word=~`[]7]`"#,
    r#"word=~`x{`"#,
    r#"word=~`x{,2}.*`"#,
    r#"word=~`7{1}`"#,
    r#"word=~`a{1001}`"#,
    r#"word=~`(a|(b))+`"#,
    r#"word=~`(?i-s:X.)y`"#,
    r#"word=~`(?U).+?`"#,
    r#"word=~`\_|\-`"#,
    r#"word=~`\C`"#,
    r#"word=~`\123`"#,
    r#"word=~`\0`"#,
];
pub(crate) const NEW_NUMBERS: [&str; 14] = [
    "1m", "1h30m", "5ms", "1_000", "017", "0b11", "0o17", "1e+2", "0x1p4", "08", "1e-9", "1e300", "1e-300",
    "9e15",
];
pub(crate) const NEW_RANGES: [&str; 14] = [
    "15s", "30s", "60", "0x3c", "90.5", "1e2", "1m30s", "60s", "75s", "45s", "1", "2m", "3m", "14999ms",
];
pub(crate) const NEW_STEPS: [&str; 6] = ["15", "30s", "1m", "", "7s", "10"];
pub(crate) const NEW_OFFSETS: [&str; 10] = [
    "15s", "-15s", "60", "-30", "1m30s", "0s", "0", "5m", "1ms", "-1ms",
];
pub(crate) const QUANTILES: [&str; 11] = [
    "0",
    "0.5",
    "0.95",
    "1",
    "-1",
    "2",
    "0.1",
    "NaN",
    "Inf",
    "-Inf",
    "1.0000001",
];
pub(crate) const MATHS: [&str; 20] = [
    "exp", "ln", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "asinh", "acosh", "atanh", "deg", "rad", "sgn",
];
/// Of info series.
pub(crate) const INFO_MATCHERS: [&str; 11] = [
    "version=\"1\"",
    "version=~\".+\"",
    "version=~\".*\"",
    "version!=\"2\"",
    "version=\"\"",
    "zone=~\"z|\"",
    "nosuch=\"\"",
    "host!=\"\"",
    "__name__=\"host_info\"",
    "__name__=~\".+_info\"",
    "__name__=~\"host_.+\"",
];
pub(crate) const OVER_TIME: [&str; 11] = [
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "changes",
    "resets",
    "delta",
    "idelta",
];
/// Metrics that have native histograms, some of them numbers as well.
pub(crate) const NATIVE: [&str; 8] = [
    "sizes", "sizes", "levels", "bounded", "bounded", "strange", "mingled", "doubled",
];
/// At which no bucket ends, so that what is rounded otherwise makes no leap.
pub(crate) const ODD_QUANTILES: [&str; 3] = ["0.3719", "0.0137", "0.98765"];
pub(crate) const OVER_HISTOGRAMS: [&str; 11] = [
    "rate",
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "sum_over_time",
    "avg_over_time",
    "last_over_time",
    "count_over_time",
    "resets",
];
