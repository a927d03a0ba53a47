use super::*;
use crate::transform::{TransformStep, VariantFold};

fn up() -> QueryTemplate {
    QueryTemplate::promql("up", r#"up{namespace="{{.namespace}}"}"#).params(["namespace"])
}

#[test]
fn a_duplicate_is_refused_and_the_first_stays() {
    let queries = QueryList::new();
    queries.must_register(up().description("first"));
    let error = queries.register(up().description("second")).unwrap_err();
    assert_eq!(error.to_string(), "query up is registered already");
    assert_eq!(queries.get("up").unwrap().template().description, "first");
}

#[test]
fn invalid_registrations_say_what_is_wrong() {
    let check = |template: QueryTemplate, expected: &str| {
        let queries = QueryList::new();
        let error = queries.register(template).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(queries.is_empty());
    };
    check(QueryTemplate::promql("a b", "up"), "\"a b\" is no query name");
    check(
        up().params(["namespace"]),
        "parameter \"namespace\" is declared twice",
    );
    check(up().ttl(Duration::ZERO), "ttl must be more than zero");
    check(up().timeout(Duration::ZERO), "timeout must be more than zero");
}

#[test]
fn unknown_queries_suggest_a_similar_one() {
    let queries = QueryList::new();
    queries.must_register(QueryTemplate::promql("queue_length", "up"));
    let error = |name: &str| queries.render(name, &Params::new()).unwrap_err().to_string();
    assert_eq!(
        error("queue_lenght"),
        "query \"queue_lenght\" is not registered; did you mean \"queue_length\"?"
    );
    assert_eq!(error("zzz"), "query \"zzz\" is not registered");
}

#[test]
fn threads_that_race_to_register_leave_one_winner_a_name() {
    let queries = QueryList::new();
    let won = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for i in 0..125 {
                    let registered = queries.register(QueryTemplate::promql(format!("q{i}"), "up"));
                    won.fetch_add(registered.is_ok().into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((won.into_inner(), queries.len()), (125, 125));
}

#[test]
fn a_whole_set_takes_the_place_of_another_or_leaves_it() {
    let queries = QueryList::new();
    for (name, text) in [("kept", "up"), ("other", "up"), ("gone", "up")] {
        queries.must_register(QueryTemplate::promql(name, text));
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    queries.on_replaced({
        let told = Arc::clone(&told);
        move |gone| {
            let gone = gone
                .iter()
                .map(|query| (query.name().to_string(), query.is_replaced()));
            told.lock().unwrap().extend(gone);
        }
    });
    let before: Vec<_> = queries.all();
    let set = [("other", "sum(up)"), ("kept", "up"), ("new", "up")];
    let set = set.map(|(name, text)| QueryTemplate::promql(name, text));
    let broken = set.clone().into_iter().chain([QueryTemplate::promql("x", "{{")]);
    assert!(queries.replace_all(broken).is_err());
    let twice = set.clone().into_iter().chain([QueryTemplate::promql("new", "x")]);
    let error = queries.replace_all(twice).unwrap_err().to_string();
    assert_eq!(error, "query new is registered already");
    assert_eq!(queries.list(), ["gone", "kept", "other"]);

    let names = |names: &[&str]| {
        names
            .iter()
            .map(|n| n.parse().unwrap())
            .collect::<Vec<QueryName>>()
    };
    let expected = QueryChanges {
        added: names(&["new"]),
        replaced: names(&["other"]),
        removed: names(&["gone"]),
    };
    assert_eq!(queries.replace_all(set.clone()).unwrap(), expected);
    assert_eq!(queries.list(), ["kept", "new", "other"]);
    let replaced: Vec<_> = before.iter().map(RegisteredQuery::is_replaced).collect();
    assert_eq!(replaced, [true, false, true], "gone, kept, other");
    assert_eq!(queries.get("kept").unwrap().id(), before[1].id());
    assert_ne!(queries.get("other").unwrap().id(), before[2].id());
    assert_eq!(
        *told.lock().unwrap(),
        [("other".to_owned(), true), ("gone".to_owned(), true)]
    );
    assert_eq!(queries.replace_all(set).unwrap(), QueryChanges::default());
    assert!(queries.remove("new") && !queries.remove("new"));
}

#[test]
fn a_query_is_replaced_with_those_that_its_answers_depend_on() {
    let queries = QueryList::new();
    let set = |weights: &str| {
        let mut mean = QueryTemplate::promql("mean", "up");
        mean.transform = vec![TransformStep::ByVariant(VariantFold::WeightedBy(
            "weights".into(),
        ))];
        let mut told = QueryTemplate::promql("told", "up");
        told.expected = Some("mean".parse().unwrap());
        let weights = QueryTemplate::promql("weights", weights);
        [mean, told, weights, QueryTemplate::promql("other", "up")]
    };
    queries.replace_all(set("up")).unwrap();
    let before = queries.all();
    let changes = queries.replace_all(set("sum(up)")).unwrap();
    let replaced: Vec<_> = changes.replaced.iter().map(QueryName::as_str).collect();
    assert_eq!(replaced, ["weights", "mean", "told"]);
    let replaced: Vec<_> = before.iter().map(RegisteredQuery::is_replaced).collect();
    assert_eq!(replaced, [true, false, true, true], "mean, other, told, weights");
    assert!(queries.all().iter().all(|query| !query.is_replaced()));
    assert_eq!(queries.get("mean").unwrap().template(), before[0].template());
    let changes = queries.replace_all(set("sum(up)")).unwrap();
    assert_eq!(changes, QueryChanges::default());
}

#[test]
fn a_source_refuses_what_it_cannot_answer_and_adds_what_answers_depend_on() {
    let queries = QueryList::new();
    queries.set_check(|query| match query.template().template.as_str() {
        "down" => Err("there is no down".into()),
        "up" => Ok(vec![ParamSpec::required("zone", crate::params::ParamKind::Text)]),
        _ => Ok(Vec::new()),
    });
    let error = queries.register(QueryTemplate::promql("a", "down")).unwrap_err();
    assert_eq!(error.to_string(), "query a: there is no down");
    for register in [QueryList::register, |list: &QueryList, template| {
        list.replace(template)
            .map(|changed| assert!(!changed, "an equal template"))
    }] {
        register(&queries, QueryTemplate::promql("b", "up")).unwrap();
    }
    assert_eq!(queries.get("b").unwrap().params()[0].name(), "zone");
    assert!(queries.render("b", &Params::new()).is_err());
    assert!(queries.replace_all([QueryTemplate::promql("c", "down")]).is_err());
    assert_eq!(queries.list(), ["b"]);
}

#[test]
#[should_panic(expected = "query up is registered already")]
fn must_register_panics_on_what_register_refuses() {
    let queries = QueryList::new();
    queries.must_register(up());
    queries.must_register(up());
}
