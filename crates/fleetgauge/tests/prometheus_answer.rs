//! Bytes that no server should send are an error, and never a panic.
#![allow(clippy::unwrap_used)]

use crate::support::answer_body as body;

use proptest::prelude::*;

const GOOD: &str = r#"{"status":"success","warnings":["w"],"data":{"resultType":"vector","result":[
    {"metric":{"__name__":"up","pod":"\u0061"},"value":[1.5,"1"]},{"metric":{},"value":[2,"NaN"]},
    {"metric":{"le":"0.1"},"histogram":[2,{"count":"1","sum":"-2","buckets":[[0,"1","+Inf","1"]]}]}]}}"#;

const GOOD_RANGE: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
    {"metric":{"a":"b"},"values":[[1,"1"],[3,"2"]],"histograms":[[2,{"count":"1","sum":"2","buckets":[[3,"0","0","1"]]}]]}]}}"#;

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        body::check(&bytes);
    }

    /// Words of an answer in any order: deeper than any bytes get.
    #[test]
    fn any_words(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "null", "true", "1", "-1e999", "1.5", "\"\"", "\"1\"", "\"NaN\"",
                "\"\\u0000\u{1b}\"", "\"success\"", "\"error\"", "\"vector\"", "\"matrix\"", "\"scalar\"",
                "\"string\"", "\"status\":", "\"data\":", "\"resultType\":", "\"result\":[", "\"metric\":{",
                "\"value\":[", "\"values\":[[", "\"histogram\":[1,{", "\"histograms\":[[1,{", "\"count\":\"1\"",
                "\"sum\":\"1\"", "\"buckets\":[[0,", "\"warnings\":", "\"errorType\":",
            ]),
            0..60,
        ),
        prefix in prop::sample::select(vec!["", "{", r#"{"status":"success","data":{"resultType":"vector","result":["#]),
    ) {
        body::check(format!("{prefix}{}", words.concat()).as_bytes());
    }

    #[test]
    fn damaged_answers(
        good in prop::sample::select(vec![GOOD, GOOD_RANGE]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..6),
    ) {
        let mut bytes = good.as_bytes().to_vec();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        body::check(&bytes);
    }
}

#[test]
fn a_deep_body_does_not_exhaust_the_stack() {
    for word in ["[", r#"{"data":"#, r#"{"x":["#] {
        body::check(word.repeat(200_000).as_bytes());
        body::check(format!(r#"{{"status":"success","x":{}"#, word.repeat(200_000)).as_bytes());
    }
}
