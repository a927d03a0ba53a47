//! What must hold for any template and any values: shared by the property tests and the fuzz target.

use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
use fleetgauge_core::template::{MAX_RENDERED_LEN, Template};

/// Compiles and renders; neither may panic, hang, or answer without a reason.
pub(crate) fn check(source: &str, values: [&str; 3]) {
    let specs = [
        ParamSpec::required("x", ParamKind::Text),
        ParamSpec::optional("podFilter", ParamKind::Regex),
        ParamSpec::optional("n", ParamKind::Number),
        ParamSpec::optional("l", ParamKind::Texts),
    ];
    let params = Params::from([("x", values[0]), ("podFilter", values[1]), ("n", values[2])]);
    let params = params.with_list("l", values);
    for compile in [Template::compile, Template::compile_metric_name] {
        match compile(source, &specs) {
            Err(error) => {
                let lines = source.matches('\n').count() + 1;
                assert!(
                    (1..=lines).contains(&error.line()) && error.column() >= 1,
                    "{error}"
                );
                assert!(!error.message().is_empty());
            }
            Ok(template) => {
                for way in template.ways(4).iter() {
                    for example in way.examples() {
                        let lines = source.matches('\n').count() + 1;
                        let (line, column) = example.position(source, example.text().len());
                        assert!((1..=lines).contains(&line) && column >= 1);
                    }
                }
                for params in [&params, &Params::from([("x", values[0])]), &Params::new()] {
                    match template.render(params) {
                        Ok(rendered) => assert!(rendered.len() <= MAX_RENDERED_LEN),
                        Err(error) => assert!(error.to_string().len() < 4096, "{error}"),
                    }
                }
            }
        }
    }
}
