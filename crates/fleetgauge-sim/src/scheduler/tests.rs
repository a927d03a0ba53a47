use proptest::prelude::*;

use super::*;
use crate::histogram::Histogram;
use crate::vllm::BOUNDS;

fn request(at_ms: u64, prompt: u32, output: u32) -> Request {
    Request {
        arrived_ns: at_ms * 1_000_000,
        prompt,
        output,
        max_tokens: 512,
        ending: Ending::Stop,
        prefix: None,
        patience_ns: u64::MAX,
        priority: 0,
        handler: 0,
    }
}

fn engine(blocks: u32) -> Engine {
    let limits = Limits {
        num_gpu_blocks: blocks,
        max_num_seqs: 8,
        ..Limits::default()
    };
    Engine::new(limits, 2, &BOUNDS, 0)
}

/// What must hold at any moment.
fn check_laws(engine: &Engine) {
    let tally = &engine.tally;
    let inside = (engine.waiting() + engine.running()) as u64;
    assert_eq!(
        tally.arrived,
        inside + tally.finished() + tally.aborted,
        "requests are conserved"
    );
    let per_request = [
        &tally.request_seconds,
        &tally.request_queue_seconds,
        &tally.request_inference_seconds,
        &tally.request_prefill_seconds,
        &tally.request_decode_seconds,
        &tally.request_token_mean_seconds,
        &tally.request_prompt_tokens,
        &tally.request_output_tokens,
        &tally.request_max_tokens,
        &tally.request_computed_tokens,
        &tally.http_fine_seconds,
    ];
    for histogram in per_request {
        assert_eq!(
            histogram.count(),
            tally.finished(),
            "each finished request is observed once"
        );
    }
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(1.0);
    let sum = |histogram: &Histogram| histogram.sum();
    assert!(near(
        sum(&tally.request_seconds),
        sum(&tally.request_queue_seconds) + sum(&tally.request_inference_seconds)
    ));
    assert!(near(
        sum(&tally.request_inference_seconds),
        sum(&tally.request_prefill_seconds) + sum(&tally.request_decode_seconds)
    ));
    let tokens = tally.first_token_seconds.count() + tally.inter_token_seconds.count();
    assert_eq!(
        tokens, tally.generation_tokens,
        "each token is a first one or follows one"
    );
    assert!(tally.prefix_hits <= tally.prefix_queries);
    assert!(
        tally.step_tokens.sum() >= tally.generation_tokens as f64,
        "a token takes part in a step"
    );

    let own: u32 = engine.running.iter().map(|active| active.blocks).sum();
    assert!(
        engine
            .preempted
            .iter()
            .all(|active| active.blocks == 0 && active.shared_blocks == 0)
    );
    assert!(engine.kv.used() >= own && engine.kv.used() <= engine.kv.total());
    for active in &engine.running {
        let tokens = u64::from(active.computed) + u64::from(active.taken);
        let block_size = u64::from(engine.limits.block_size);
        let held = u64::from(active.blocks + active.shared_blocks) * block_size;
        assert!(held >= tokens, "every computed token has its place");
        assert!(held < tokens + block_size, "and none is spare");
    }
    if engine.running.iter().all(|active| active.shared_blocks == 0) {
        assert_eq!(engine.kv.used(), own, "blocks in use are those of the batch");
    }
}

#[test]
fn one_request_takes_its_steps() {
    let mut engine = engine(100);
    engine.push(request(5, 100, 3));
    engine.advance(1_000_000_000);
    check_laws(&engine);
    // Prefill: 10 ms + 0.2 ms + 100 * 0.05 ms; decode: 10.2 ms a token.
    let tally = &engine.tally;
    assert!((tally.first_token_seconds.sum() - 0.0152).abs() < 1e-9);
    assert!((tally.inter_token_seconds.sum() - 0.0204).abs() < 1e-9);
    assert!((tally.request_seconds.sum() - 0.0356).abs() < 1e-9);
    assert_eq!(
        (tally.stopped, tally.prompt_tokens, tally.generation_tokens),
        (1, 100, 3)
    );
    assert_eq!(
        (engine.running(), engine.waiting(), engine.kv().used()),
        (0, 0, 0)
    );
}

#[test]
fn the_batch_is_bounded_and_the_rest_waits() {
    let mut engine = engine(1_000);
    for _ in 0..20 {
        engine.push(request(0, 10, 1_000));
    }
    engine.advance(1_000_000_000);
    check_laws(&engine);
    assert_eq!((engine.running(), engine.waiting()), (8, 12));
}

#[test]
fn the_youngest_is_preempted_when_blocks_run_out() {
    let mut engine = engine(20);
    for _ in 0..2 {
        engine.push(request(0, 150, 100));
    }
    engine.advance(500_000_000);
    check_laws(&engine);
    assert_eq!((engine.running(), engine.waiting()), (1, 1));
    assert!(engine.tally.preemptions >= 1);
    engine.advance(60_000_000_000);
    check_laws(&engine);
    assert_eq!((engine.tally.stopped, engine.tally.generation_tokens), (2, 200));
}

#[test]
fn a_prefix_is_computed_once() {
    let mut engine = engine(1_000);
    for at in [0, 500] {
        engine.push(Request {
            prefix: Some((1, 512)),
            ..request(at, 600, 2)
        });
    }
    engine.advance(400_000_000);
    assert_eq!(engine.tally.prefix_hits, 0);
    engine.advance(2_000_000_000);
    check_laws(&engine);
    assert_eq!(
        (engine.tally.prefix_hits, engine.tally.prefix_queries),
        (512, 1_200)
    );
}

#[test]
fn who_waits_too_long_goes_away() {
    let mut engine = engine(1_000);
    for _ in 0..9 {
        engine.push(Request {
            patience_ns: 1_000_000_000,
            ..request(0, 10, 500)
        });
    }
    engine.advance(3_000_000_000);
    check_laws(&engine);
    assert_eq!(
        (engine.tally.aborted, engine.waiting(), engine.running()),
        (1, 0, 8)
    );
}

#[test]
fn limits_without_sense_do_no_harm() {
    for seconds in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
        for size in [0, u32::MAX] {
            let limits = Limits {
                num_gpu_blocks: size,
                block_size: size,
                max_num_seqs: size,
                max_num_batched_tokens: size,
                step_seconds: seconds,
                step_seconds_per_seq: seconds,
                step_seconds_per_prefill_token: seconds,
            };
            let mut engine = Engine::new(limits, 0, &BOUNDS, 0);
            engine.push(request(1, u32::MAX, 5));
            engine.push(request(2, 7, 5));
            engine.advance(50_000_000);
            check_laws(&engine);
        }
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let ending = prop_oneof![Just(Ending::Stop), Just(Ending::Length), Just(Ending::Abort)];
    let prefix = proptest::option::of(0u16..4);
    // A prefix is of one length, whoever begins with it.
    let prefix = prefix.prop_map(|prefix| prefix.map(|prefix| (prefix, 40 * u32::from(prefix))));
    (0u64..20_000, 0u32..900, 0u32..120, ending, prefix, 0u64..8_000).prop_map(
        |(at, prompt, output, ending, prefix, patience)| Request {
            ending,
            prefix,
            patience_ns: patience * 1_000_000,
            ..request(at, prompt, output)
        },
    )
}

proptest! {
    #[test]
    fn nothing_is_lost_and_the_cut_of_time_makes_no_difference(
        mut requests in proptest::collection::vec(any_request(), 0..120),
        blocks in 1u32..120,
        budget in 1u32..2_000,
        cuts in proptest::collection::vec(1u64..5_000, 1..20),
    ) {
        requests.sort_by_key(|request| request.arrived_ns);
        let limits = Limits {
            num_gpu_blocks: blocks,
            max_num_seqs: 8,
            max_num_batched_tokens: budget,
            ..Limits::default()
        };
        let mut at_once = Engine::new(limits, 3, &BOUNDS, 0);
        let mut in_pieces = Engine::new(limits, 3, &BOUNDS, 0);
        for request in requests {
            at_once.push(request.clone());
            in_pieces.push(request);
        }
        let mut now = 0;
        for cut in cuts {
            now += cut * 1_000_000;
            in_pieces.advance(now);
            check_laws(&in_pieces);
        }
        at_once.advance(now);
        check_laws(&at_once);
        prop_assert_eq!(format!("{:?}", at_once.tally), format!("{:?}", in_pieces.tally));
        // In the end all are served.
        at_once.advance(now + 10_000_000_000_000);
        check_laws(&at_once);
        prop_assert_eq!((at_once.running(), at_once.waiting(), at_once.kv().used()), (0, 0, 0));
    }
}
