//! Every text is evaluated or refused: none panics, hangs or leaves its bounds.

use fleetgauge_core::params::Params;
use fleetgauge_core::template::Template;
use fleetgauge_syntax::lexer::Lexer;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::promql_body as body;

/// A template without holes is accepted where the query is. Where it is accepted and the query is not, that is for the
/// grammar, which templates leave to the server: they may be for one that knows more. Its pieces are the same.
fn read_alike(text: &str) {
    // Where an action of a template begins, and what is said of other templates.
    if text.contains("{{") || text.contains("<<") {
        return;
    }
    let (template, query) = (Template::compile(text, &[]), fleetgauge_syntax::parse(text));
    match (&template, &query) {
        (Err(error), Ok(_)) => panic!("{text:?} is refused as a template: {error}"),
        (Ok(_), Err(error)) => {
            let (mut lexer, mut rest) = (Lexer::default(), text);
            while let Some((_, len)) = lexer.next(rest).unwrap_or_else(|_| panic!("{text:?}: {error}")) {
                rest = &rest[len..];
            }
            assert!(lexer.finish().is_ok(), "{text:?}: {error}");
        }
        _ => {}
    }
    if let Ok(template) = template {
        assert_eq!(template.render(&Params::new()).as_deref(), Ok(text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn soup_is_evaluated_or_refused(bytes in vec(any::<u8>(), 0..24)) {
        body::check(&body::soup(&bytes));
    }

    #[test]
    fn soup_is_read_alike_as_a_query_and_as_a_template(bytes in vec(any::<u8>(), 0..24)) {
        read_alike(&body::soup(&bytes));
    }

    #[test]
    fn any_text_is_read_alike_as_a_query_and_as_a_template(text in "([ a1:.'\"`#=~!<>{}()\\[\\]\\\\\r\nnx@-]|\\PC){0,30}") {
        read_alike(&text);
    }

    #[test]
    fn any_text_is_evaluated_or_refused(text in "\\PC{0,40}") {
        body::check(&text);
    }

    /// Soup is seldom a query, so here queries are put together out of what fits, and one word is wrong.
    #[test]
    fn queries_with_a_wrong_word_are_evaluated_or_refused(
        parts in vec((0..PARTS.len(), any::<u8>()), 1..6),
        wrong in proptest::option::of((0_usize..30, any::<u8>())),
    ) {
        let mut query = "x".to_owned();
        for (part, pick) in parts {
            query = PARTS[part].replace('#', &query).replace('?', ["x", "y_total", "1", "0.5", "NaN", "vector(2)"][usize::from(pick) % 6]);
        }
        if let Some((place, word)) = wrong {
            let mut words: Vec<_> = query.split(' ').map(str::to_owned).collect();
            let place = place % words.len();
            words[place] = body::soup(&[word]);
            query = words.join(" ");
        }
        body::check(&query);
    }
}

/// `#` is the query so far, `?` something small.
const PARTS: [&str; 24] = [
    "sum by (a) ( # )",
    "topk( 2 , # )",
    "quantile( ? , # )",
    "count_values( \"v\" , # )",
    "limit_ratio( 0.5 , # )",
    "( # ) + ?",
    "? - ( # )",
    "( # ) / on(a) ( # )",
    "( # ) * ignoring(b) group_left() x",
    "( # ) > bool ?",
    "( # ) and ?",
    "( # ) or ( ? )",
    "- ( # )",
    "rate( ( # ) [1m:10s] )",
    "max_over_time( ( # ) [5m:] offset 1m )",
    "quantile_over_time( ? , ( # ) [1m:7s] @ 100 )",
    "predict_linear( ( # ) [2m:20s] , 60 )",
    "absent( # )",
    "scalar( # )",
    "vector( scalar( # ) )",
    "label_replace( # , \"b\" , \"$1\" , \"a\" , \"(.*)\" )",
    "histogram_quantile( 0.5 , # )",
    "clamp( # , ? , 3 )",
    "hour( # )",
];

/// A generator that makes nothing valid would prove nothing.
#[test]
fn queries_put_together_are_evaluated() {
    let evaluated = PARTS
        .iter()
        .filter(|part| body::check(&part.replace('#', "x").replace('?', "1")))
        .count();
    assert!(evaluated * 3 > PARTS.len() * 2, "{evaluated} of {}", PARTS.len());
}

#[test]
fn what_would_be_huge_is_refused_or_bounded() {
    let nested = |open: &str, close: &str, n: usize| format!("{}x{}", open.repeat(n), close.repeat(n));
    let deep = [
        nested("(", ")", 10_000),
        nested("abs(", ")", 10_000),
        nested("-", "", 100_000),
        nested("sum by (a) (", ")", 5_000),
        nested("max_over_time((", ")[1m:1ms])", 60),
        "x + ".repeat(100_000) + "x",
        "x ^ ".repeat(50_000) + "x",
        format!("x{{a=~\"{}\"}}", "(a{1000}){1000}"),
        format!("x{{a=~\"{}\"}}", "(".repeat(100_000)),
        format!("x{{{}}}", "a=\"1\",".repeat(50_000)),
        format!("\"{}\"", "a".repeat(10_000_000)),
        "sum_over_time(x[1000y:1ms])".to_owned(),
        "x offset 1e30".to_owned(),
        "x[1e30]".to_owned(),
        "x @ 1e300 offset 200y".to_owned(),
        // Labels that grow by eight at each turn, to eight million million bytes.
        format!(
            "{}x{}",
            "label_replace(".repeat(14),
            ", \"b\", \"$1$1$1$1$1$1$1$1\", \"b\", \"(.*)\")".repeat(14)
        ),
        format!(
            "{}x{}",
            "label_join(".repeat(40),
            ", \"b\", \"\", \"b\", \"b\", \"b\", \"b\")".repeat(40)
        ),
        "topk(1e9, x)".to_owned(),
        "vector(1e308) * 10 - Inf % 0".to_owned(),
    ];
    for query in &deep {
        body::check(query);
    }
}
