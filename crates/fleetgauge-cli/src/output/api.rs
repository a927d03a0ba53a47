//! Answers as Prometheus's HTTP API gives them.

use fleetgauge_core::result::Answer;
use fleetgauge_server::door::prometheus::QueryData;

/// `{"resultType": …, "result": …}`, with `warnings` and `infos` where there are any, which Prometheus has beside
/// `data`.
#[derive(serde::Serialize)]
pub(crate) struct Data<'a> {
    #[serde(flatten)]
    data: QueryData<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    infos: Vec<&'a str>,
}

// === impl Data ===

impl<'a> Data<'a> {
    /// Of `answer`, with the warnings of what was evaluated before its own.
    pub(crate) fn new(answer: &'a Answer, warnings: &'a [String]) -> Self {
        let warnings = warnings.iter().map(String::as_str).chain(answer.warnings());
        Self {
            data: QueryData::new(answer),
            warnings: warnings.collect(),
            infos: answer.infos().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::result::AnswerBuilder;
    use fleetgauge_core::sample::Stamp;

    use super::*;

    #[test]
    fn warnings_of_what_was_evaluated_come_before_those_of_the_answer() {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.warning("b");
        answer.info("c");
        let (answer, warnings) = (answer.build(), ["a".to_owned()]);
        let expected = r#"{"resultType":"vector","result":[],"warnings":["a","b"],"infos":["c"]}"#;
        let data = Data::new(&answer, &warnings);
        assert_eq!(serde_json::to_string(&data).unwrap(), expected);
    }
}
