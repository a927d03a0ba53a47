use super::*;

#[test]
fn what_re2_reads_is_said_in_the_words_of_the_crate() {
    let check = |pattern: &str, expected: &str| {
        assert_eq!(rewrite(pattern).as_deref(), Ok(expected), "{pattern}");
        assert!(super::check(pattern).is_ok(), "{pattern}");
    };
    for same in r"
        a|b a| () vllm-.* (?:a|b)+? (?i)llama-[0-9a-f]{8,} (?i-s:x) (?P<n>a) [^\]a-z] [[:alpha:]_]
        [[:^alpha:]] a{2,3} (a{10}){100} ^a$ ^* 日本 a]b} \A\z
    "
    .split_whitespace()
    .chain([""])
    {
        check(same, same.replace('_', r"\_").as_str());
    }
    check("[-a]", r"[\-a]");
    check("[a-]", r"[a\-]");
    check("[]a]", r"[\]a]");
    check("[^]a]", r"[^\]a]");
    check("[a&&b]", r"[a\&\&b]");
    check("[a[b]", r"[a\[b]");
    check("[[:alpha]", r"[\[\:alpha]");
    check("[+--]", r"[\+-\-]");
    check("[a-b-c]", r"[a-b\-c]");
    check(r"[\d-z]", r"[[0-9]\-z]");
    check(r"\d\W\s", r"[0-9][^0-9A-Za-z_][\t\n\f\r ]");
    check(r"\b\B", r"(?-u:\b)(?-u:\B)");
    check(
        r"\pL\p{Lu}\P{Greek}\p{^Han}",
        r"[\p{L}][\p{Lu}][^\p{Greek}][^\p{Han}]",
    );
    check(r"\pC", r"[\p{Cc}\p{Cf}\p{Co}]");
    check(r"\x41\x{1F600}\101\0", "A😀A\0");
    check(r"\Qa.b\E.\Qc", r"a\.b.c");
    check(r"\Qa\E*", "a*");
    check(r"\<\_\-\ ", r"<\_\- ");
    check("(?<n>a)", "(?P<n>a)");
    check("(?)(?:a)(?i-i)(?ii:b)", "(?:)(?:a)(?-i)(?i:b)");
    // A `{` that begins no repetition.
    check("{", r"\{");
    check("a{b", r"a\{b");
    check("x{,3}", r"x\{,3}");
    check("{,3}{2}", r"\{,3}{2}");
    check("a{", r"a\{");
    check("a{3", r"a\{3");
    check("a{01}", r"a\{01}");
    check("a{1,2,3}", r"a\{1,2,3}");
    check("a{}", r"a\{}");
    check("{*", r"\{*");
}

#[test]
fn what_re2_refuses_is_refused_with_a_reason() {
    let patterns = r"
        ( ) a)(b )( (? (?i (?:a (?P (?P< (?P<>a) (?P<n>a)(?P<n>b) (?P=n) [ [] [a a\ [\ *a a** a{2}*
        a|* (*) (?i)* a{2}{3} {3} a{1001} a{1,1001} a{99999999999} a{3,2} (a{100}){100} (?R)a (?-)
        (?i-) (?=a) (?!a) (?<=a) \h \Z \E \C \1 \8 \u{61} \p{Foo} \p{lu} \p{L \p \x \x4 \x4é \x{}
        \x{41 \x{110000} [z-a] [a-\d] [\b] [\Q] [[:foo:]] [[:alpha:] \é
    ";
    for pattern in patterns.split_whitespace().chain(["(?x) a"]) {
        let error = check(pattern).expect_err(pattern);
        assert!(!error.to_string().is_empty(), "{pattern}");
        assert_eq!(rewrite(pattern), Err(error), "{pattern}");
    }
}

#[test]
fn it_is_told_what_fits_an_empty_text() {
    let check = |pattern: &str, expected: bool| {
        assert_eq!(
            super::check(pattern).map(|checked| checked.fits_empty),
            Ok(expected),
            "{pattern}"
        );
    };
    for pattern in [
        "", "a*", "a?", "a{0,3}", "a|", "|a", "(a|b*)", "(a*b*)+", "^$", r"\A\z\B", "(a*)+?", "(?i)",
        "a|(b|c?)",
    ] {
        check(pattern, true);
    }
    for pattern in [
        "a", "a+", "a|b", "a*b", "(a|b*)c", "()a", "[a]", r"\d", r"\Qa*\E", r"\b", "a{1,}", "(a|)(b)", "{",
    ] {
        check(pattern, false);
    }
}

#[test]
fn the_cost_grows_with_the_length() {
    for part in [
        "[[:",
        "[[:alpha:]]",
        "{",
        "{1",
        "{1,",
        r"\Q",
        "(?",
        r"\p{",
        r"\x{",
        "(?P<",
        "[",
    ] {
        // With a cost of its square this would take minutes.
        let _ = check(&part.repeat(300_000));
    }
}

/// What is read as a whole is not left in the middle of something, and the other way round.
#[test]
fn the_text_and_the_expression_agree_on_what_is_finished() {
    for pattern in [
        "a",
        "(?i)",
        "[a]",
        "[]a]",
        r"\x41",
        r"\pL",
        r"\p{Lu}",
        "[[:alpha:]]",
        r"[\]]",
        "(?P<n>b)",
    ] {
        let finished = |text: &str| {
            let mut state = RegexText::default();
            text.chars().for_each(|c| state.read(c));
            state.unfinished().is_none()
        };
        assert!(check(pattern).is_ok() && finished(pattern), "{pattern}");
        for (end, _) in pattern
            .char_indices()
            .filter(|(end, _)| !finished(&pattern[..*end]))
        {
            assert!(check(&pattern[..end]).is_err(), "{}", &pattern[..end]);
        }
    }
}
