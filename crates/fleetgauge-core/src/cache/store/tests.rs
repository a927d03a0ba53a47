use super::*;
use crate::backend::FetchError;
use crate::query::QueryTemplate;
use crate::query_list::QueryList;
use crate::result::AnswerBuilder;
use crate::sample::Stamp;
use crate::time::{ManualClock, Timestamp};

const TTL: Duration = Duration::from_secs(30);

struct Fixture {
    cache: Cache,
    hand: ManualClock,
    query: RegisteredQuery,
}

fn fixture(config: CacheConfig) -> Fixture {
    let (clock, hand) = Clock::manual(Timestamp::from_millis(1_000));
    let queries = QueryList::new();
    queries.must_register(QueryTemplate::promql("q", r#"up{a="{{.a}}"}"#).params(["a"]));
    Fixture {
        cache: Cache::new(config, clock),
        hand,
        query: queries.get("q").unwrap(),
    }
}

fn small(max_entries: usize) -> CacheConfig {
    CacheConfig {
        max_entries,
        ..CacheConfig::default()
    }
}

impl Fixture {
    fn store(&self, a: &str, value: f64) {
        self.store_sent(a, value, Instant::now());
    }

    fn store_sent(&self, a: &str, value: f64, sent: Instant) {
        let mut answer = AnswerBuilder::new(Stamp::Evaluated);
        answer.series([], value, Timestamp::default()).unwrap();
        let at = self.cache.0.clock.wall();
        let result = MetricResult::new(self.query.name().clone(), at, answer.build());
        self.cache
            .store_sent(&self.query, &params(a), Shape::Instant, result, sent);
    }

    fn fail(&self, a: &str) {
        self.fail_sent(a, FetchError::Timeout { after: TTL }, Instant::now());
    }

    fn fail_sent(&self, a: &str, error: FetchError, sent: Instant) {
        let error = QueryError::fetch(self.query.name(), error);
        self.cache
            .record_failure_sent(&self.query, &params(a), Shape::Instant, error, sent);
    }

    fn get(&self, a: &str) -> Option<CachedRef> {
        self.cache.get(&self.query, &params(a))
    }

    fn lookup(&self, a: &str) -> Lookup {
        self.cache.lookup(&self.query, &params(a))
    }
}

fn params(a: &str) -> Params {
    [("a", a)].into()
}

fn number(value: &CachedValue) -> f64 {
    value.result().values().next().unwrap().value
}

#[test]
fn decision_5_a_value_holds_for_its_ttl_and_is_then_gone() {
    let f = fixture(CacheConfig::default());
    f.store("x", 7.0);
    let value = f.get("x").unwrap();
    assert_eq!(
        (
            number(&value),
            value.cached_at().as_millis(),
            value.expires_at().as_millis()
        ),
        (7.0, 1_000, 31_000)
    );
    f.hand.advance(TTL - Duration::from_nanos(1));
    assert!(!f.get("x").unwrap().is_expired());
    f.hand.advance(Duration::from_nanos(1));
    assert!(value.is_expired(), "who holds a value sees it expire");
    assert!(f.get("x").is_none());
    assert!(matches!(
        f.lookup("x"),
        Lookup::Expired {
            age: TTL,
            last_error: None
        }
    ));
}

#[test]
fn decision_5_max_stale_returns_expired_values_marked() {
    let f = fixture(CacheConfig {
        max_stale: Duration::from_secs(10),
        ..CacheConfig::default()
    });
    f.store("x", 7.0);
    f.hand.advance(TTL + Duration::from_secs(9));
    assert!(f.get("x").unwrap().is_expired());
    f.hand.advance(Duration::from_secs(1));
    assert!(f.get("x").is_none());
    assert_eq!(f.cache.stats().stale_hits, 1);
}

#[test]
fn a_ttl_without_end_never_expires() {
    let config = CacheConfig {
        default_ttl: Duration::MAX,
        max_stale: Duration::MAX,
        ..CacheConfig::default()
    };
    let f = fixture(config);
    f.store("x", 7.0);
    f.hand.advance(Duration::from_secs(u32::MAX.into()));
    assert_eq!(f.cache.sweep(), 0);
    assert!(!f.get("x").unwrap().is_expired());
    assert_eq!(f.get("x").unwrap().expires_at().as_millis(), i64::MAX);
}

#[test]
fn setting_the_wall_clock_neither_expires_nor_revives() {
    let f = fixture(CacheConfig::default());
    f.store("x", 7.0);
    f.hand.set_wall(Timestamp::from_millis(i64::MAX));
    assert!(!f.get("x").unwrap().is_expired());
    f.hand.advance(TTL);
    f.hand.set_wall(Timestamp::from_millis(0));
    assert!(f.get("x").is_none());
}

/// Whatever fails after it was found that a part is missing, and whichever of them ends first.
#[test]
fn what_was_denied_stays_so_until_there_is_an_answer_to_what_was_sent_later() {
    #[derive(Clone, Copy, Debug)]
    enum End {
        Answer(f64),
        Lacking,
        Timeout,
    }
    let begin = Instant::now();
    let ends = [End::Answer(7.0), End::Lacking, End::Timeout];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let f = fixture(CacheConfig::default());
        let end = |sent: u64, end: End| {
            let sent = begin + Duration::from_millis(sent);
            match end {
                End::Answer(value) => f.store_sent("x", value, sent),
                End::Lacking => {
                    let (detail, is_short) = ("target x".into(), false);
                    f.fail_sent("x", FetchError::Incomplete { detail, is_short }, sent);
                }
                End::Timeout => f.fail_sent("x", FetchError::Timeout { after: TTL }, sent),
            }
        };
        for at in order {
            end(at as u64, ends[at]);
        }
        let value = f.get("x").unwrap();
        assert!(value.is_denied(), "{order:?}");
        assert_eq!(value.last_error().unwrap().error.reason(), "timeout", "{order:?}");
        end(4, End::Timeout);
        assert!(f.get("x").unwrap().is_denied(), "{order:?}");
        end(3, End::Answer(8.0));
        let value = f.get("x").unwrap();
        assert!(!value.is_denied() && value.last_error().is_some(), "{order:?}");
        end(5, End::Answer(9.0));
        assert!(f.get("x").unwrap().last_error().is_none());
    }
}

#[test]
fn decision_6_a_failure_is_recorded_beside_the_last_good_value() {
    let f = fixture(CacheConfig::default());
    f.store("x", 7.0);
    f.hand.advance(Duration::from_secs(5));
    f.fail("x");
    let value = f.get("x").unwrap();
    assert_eq!((number(&value), value.age()), (7.0, Duration::from_secs(5)));
    let failure = value.last_error().unwrap();
    assert_eq!(
        (failure.error.reason(), failure.at.as_millis()),
        ("timeout", 6_000)
    );
    f.store("x", 8.0);
    assert!(f.get("x").unwrap().last_error().is_none(), "success clears it");
}

#[test]
fn absence_says_what_it_is() {
    let f = fixture(CacheConfig::default());
    assert!(matches!(f.lookup("x"), Lookup::NeverRefreshed));
    f.fail("x");
    assert!(f.get("x").is_none());
    assert!(matches!(f.lookup("x"), Lookup::Failed(failure) if failure.error.reason() == "timeout"));
    f.store("x", 1.0);
    f.hand.advance(TTL);
    f.fail("x");
    assert!(matches!(
        f.lookup("x"),
        Lookup::Expired {
            last_error: Some(_),
            ..
        }
    ));
    f.cache.sweep();
    let known = |f: &Fixture| {
        matches!(
            f.lookup("x"),
            Lookup::Expired {
                age: TTL,
                last_error: Some(_)
            }
        )
    };
    assert!(known(&f), "after the sweep");
    f.fail("x");
    assert!(known(&f), "after another failure");
}

#[test]
fn a_sweep_removes_what_nobody_can_read_and_nothing_else() {
    let f = fixture(CacheConfig {
        max_stale: Duration::from_secs(10),
        ..CacheConfig::default()
    });
    f.store("old", 1.0);
    f.hand.advance(Duration::from_secs(35));
    f.store("new", 2.0);
    assert_eq!(f.cache.sweep(), 0, "expired, but still readable");
    f.hand.advance(Duration::from_secs(5));
    assert_eq!(f.cache.sweep(), 1);
    assert_eq!(number(&f.get("new").unwrap()), 2.0);
    let stats = f.cache.stats();
    assert_eq!((stats.entries, stats.oldest), (1, Some(Duration::from_secs(5))));
}

#[test]
fn the_least_recently_read_goes_when_the_cache_is_full() {
    let f = fixture(small(4));
    for (i, a) in ["a", "b", "c", "d"].into_iter().enumerate() {
        f.store(a, i as f64);
        f.hand.advance(Duration::from_secs(1));
    }
    f.get("a").unwrap();
    f.store("e", 4.0);
    assert!(f.get("b").is_none());
    for kept in ["a", "c", "d", "e"] {
        assert!(f.get(kept).is_some(), "{kept}");
    }
    assert_eq!((f.cache.stats().evictions, f.cache.stats().entries), (1, 4));
}

#[test]
fn the_bound_holds_however_many_keys_come() {
    let f = fixture(small(100));
    for i in 0..10_000 {
        f.store(&i.to_string(), 0.0);
        assert!(f.cache.0.slots.len() <= 100);
    }
    assert!(f.get("9999").is_some());
}

#[test]
fn a_prepared_query_sees_every_change_and_is_not_evicted() {
    let f = fixture(small(1));
    let mut prepared = f.cache.prepare(&f.query, &params("x")).unwrap();
    assert!(prepared.get().is_none());
    f.store("x", 1.0);
    assert_eq!(number(prepared.get().unwrap()), 1.0);
    f.store("y", 2.0);
    assert!(f.get("y").is_none(), "there is no room beside what is held");
    assert!(f.cache.prepare(&f.query, &params("y")).is_none());
    f.store("x", 3.0);
    assert_eq!(number(prepared.get().unwrap()), 3.0);
    f.hand.advance(TTL);
    assert!(prepared.get().is_none());
    assert!(matches!(prepared.lookup(), Lookup::Expired { .. }));
    f.cache.sweep();
    f.store("x", 4.0);
    assert_eq!(
        number(prepared.get().unwrap()),
        4.0,
        "a swept slot that is held is still the key's slot"
    );
    drop(prepared);
    f.store("y", 5.0);
    assert_eq!(number(&f.get("y").unwrap()), 5.0);
}

#[test]
fn a_value_that_was_replaced_is_given_back() {
    let f = fixture(CacheConfig::default());
    let mut prepared = f.cache.prepare(&f.query, &params("x")).unwrap();
    f.store("x", 1.0);
    let first = Arc::downgrade(f.get("x").unwrap().result());
    prepared.get();
    f.store("x", 2.0);
    prepared.get();
    assert!(first.upgrade().is_none());
}

/// A value that was stored a moment ago is not the one that has expired.
#[test]
fn a_lookup_beside_a_store_tells_of_one_of_the_two_values() {
    let f = fixture(CacheConfig::default());
    f.store("x", 0.0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                f.hand.advance(TTL);
                f.store("x", 0.0);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            match f.lookup("x") {
                Lookup::Expired { age, .. } => assert!(age >= TTL, "{age:?}"),
                Lookup::Value(_) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn the_background_sweep_ends_with_the_cache() {
    let f = fixture(CacheConfig::default());
    f.cache.sweep_in_background(Duration::from_secs(60));
    f.cache.sweep_in_background(Duration::from_secs(60));
    let sweeper = f.cache.0.sweeper.lock().unwrap().as_ref().unwrap().0.clone();
    f.store("x", 1.0);
    f.hand.advance(TTL);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(
        f.cache.stats().entries,
        1,
        "read a moment ago: kept to tell that it expired"
    );
    f.hand.advance(TTL * 2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(f.cache.stats().entries, 0);
    assert!(!sweeper.is_finished());
    drop(f);
    tokio::task::yield_now().await;
    assert!(sweeper.is_finished());
}

#[test]
fn readers_and_writers_of_few_keys_in_a_small_cache_never_see_another_keys_value() {
    let f = fixture(small(4));
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let f = &f;
            scope.spawn(move || {
                for i in 0..2_000 {
                    let key = (i * 7 + writer) % 8;
                    f.store(&key.to_string(), f64::from(key));
                    if i % 64 == 0 {
                        f.cache.sweep();
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for i in 0..20_000 {
                    let key = i % 8;
                    if let Some(value) = f.get(&key.to_string()) {
                        assert_eq!(number(&value), f64::from(key));
                    }
                }
            });
        }
    });
    assert!(f.cache.stats().entries <= 4);
}
