use super::*;

#[test]
fn a_query_has_so_many_different_regular_expressions() {
    let query = |count: usize, twice: bool| {
        let regexes: Vec<_> = (0..count).map(|i| format!("a=~\"{i}\"")).collect();
        let selector = format!("{{{}}}", regexes.join(","));
        if twice {
            format!("{selector} + {selector}")
        } else {
            selector
        }
    };
    assert!(Expression::parse(&query(MAX_REGEXES, true)).is_ok());
    let error = Expression::parse(&query(MAX_REGEXES + 1, false)).expect_err("too many");
    assert!(error.message().contains("more than 100 different"), "{error}");
    assert!(error.is_own_refusal(), "{error}");
}

#[test]
fn what_is_too_large_when_compiled_is_refused_with_its_place() {
    let error = Expression::parse("up{a=\"b\",c=~\"(\\\\pL{100}){10}\"}").expect_err("too large");
    assert_eq!(error.column(), 13, "{error}");
    assert!(error.message().contains("unusable regular expression"), "{error}");
    assert!(error.message().contains("size limit"), "{error}");
}

/// The grammar knows without compiling which matchers fit series that lack the label.
#[test]
fn the_grammar_and_the_matchers_agree_on_what_fits_nothing() {
    let patterns = [
        "",
        "a",
        "a*",
        "a|",
        "(a|b*)",
        "(a|b)+",
        "(a*)+",
        "^$",
        "$^",
        r"\\b",
        r"\\B",
        "a{0}",
        "a{0,2}b",
        "[^a]",
        r"\\Q\\E",
        "()",
        "(?i)",
        "a?b?",
        "a?|bc",
        ".*",
        ".+",
        "(?:x*|y)z*",
        "(?m)^",
        r"\\z",
        "{",
        "x{,2}",
    ];
    for pattern in patterns {
        for op in ["=~", "!~"] {
            let parsed = Expression::parse(&format!("{{a{op}\"{pattern}\"}}"));
            let fits_empty = parsed.is_err_and(|error| error.message().contains("non-empty matcher"));
            let both = Expression::parse(&format!("up{{a{op}\"{pattern}\"}}")).expect(pattern);
            let Expr::Selector(selector) = both.root() else {
                panic!("{pattern}")
            };
            assert_eq!(
                selector.matchers[1].matches_value(""),
                fits_empty,
                "{op} {pattern}"
            );
        }
    }
}

#[test]
fn a_selector_stands_alone() {
    let check = |text: &str, expected: Option<&str>| {
        let matchers = metric_selector(text).ok().map(|matchers| {
            let texts: Vec<_> = matchers.iter().map(ToString::to_string).collect();
            texts.join(",")
        });
        assert_eq!(matchers.as_deref(), expected, "{text}");
    };
    check("up", Some("__name__=\"up\""));
    check(" {a=~\"b|c\",d!=\"\"} ", Some("a=~\"b|c\",d!=\"\""));
    for text in [
        "",
        "{}",
        "{a=\"\"}",
        "(up)",
        "-up",
        "up + up",
        "up[5m]",
        "up offset 1m",
        "up @ 5",
        "sum(up)",
        "1",
        "up{a=~\"(\"}",
    ] {
        check(text, None);
    }
}

#[test]
fn a_query_is_printed_on_one_line() {
    let printed = format("sum by(a)(\n  (x{b='c'})\n)").expect("a query");
    assert_eq!(printed, "sum by (a) (x{b=\"c\"})");
    assert!(format("sum((").is_err());
    // Of such a duration the tree has the result alone, or none.
    for query in [
        "x[step()]",
        "rate(x[1m * 2] offset -(1h / 2))",
        "x[5m:min_of(step(), 1m)]",
    ] {
        assert_eq!(format(&format!(" {query}\n")).as_deref(), Ok(query));
    }
    assert_eq!(format("x[ 60s ]").as_deref(), Ok("x[1m]"));
}
