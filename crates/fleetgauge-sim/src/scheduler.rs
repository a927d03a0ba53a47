//! One engine (data-parallel rank): continuous batching over a bounded KV cache, as vLLM V1 schedules.
//!
//! Time goes from step to step. A step takes one token of every running request that decodes and a chunk of
//! those that prefill, within a budget of tokens; it lasts a base, a bit per sequence and a bit per prefilled
//! token. When blocks run out the youngest request is preempted: it loses its blocks and computes everything
//! again, before any newcomer is admitted. Nothing here draws: a request knows its lengths when it arrives,
//! so how the time is cut into `advance` calls makes no difference.
//!
//! Source: `vllm/v1/core/sched/scheduler.py`. Left out: speculative decoding, multi-modal inputs, swapping,
//! cost of attention by context length.

use std::collections::VecDeque;

use crate::kv::KvCache;
use crate::request::{Ending, Request};
use crate::tally::{Bounds, Tally};

/// What one engine (data-parallel rank) can do; written `Limits { max_num_seqs: 8, ..Limits::default() }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Blocks of the KV cache.
    pub num_gpu_blocks: u32,
    /// Tokens per block.
    pub block_size: u32,
    /// Requests in the batch at once.
    pub max_num_seqs: u32,
    /// Tokens computed in one step.
    pub max_num_batched_tokens: u32,
    /// What a step takes at least. *Unit*: seconds.
    pub step_seconds: f64,
    /// What each request in the batch adds to a step. *Unit*: seconds.
    pub step_seconds_per_seq: f64,
    /// What each prefilled token adds to a step. *Unit*: seconds.
    pub step_seconds_per_prefill_token: f64,
}

impl Default for Limits {
    /// An 8B model on one large accelerator: some 15 ms a step, 20,000 prompt tokens a second.
    fn default() -> Self {
        Self {
            num_gpu_blocks: 2_048,
            block_size: 16,
            max_num_seqs: 64,
            max_num_batched_tokens: 2_048,
            step_seconds: 0.010,
            step_seconds_per_seq: 0.000_2,
            step_seconds_per_prefill_token: 0.000_05,
        }
    }
}

/// A request that has been in the batch.
#[derive(Debug)]
struct Active {
    request: Request,
    scheduled_ns: u64,
    first_token_ns: Option<u64>,
    last_token_ns: u64,
    generated: u32,
    /// Tokens whose keys and values are in blocks.
    computed: u32,
    /// Tokens of the step under way.
    taken: u32,
    blocks: u32,
    /// Blocks of the prefix it shares; they aren't in `blocks`.
    shared_blocks: u32,
    /// Prompt tokens that it found cached when first scheduled.
    hit: u32,
}

/// The engine.
#[derive(Debug)]
pub(crate) struct Engine {
    limits: Limits,
    kv: KvCache,
    /// By arrival.
    waiting: VecDeque<Request>,
    /// Preempted, the oldest first; they go before `waiting`.
    preempted: VecDeque<Active>,
    running: Vec<Active>,
    /// Where the step under way began, or the idle engine stands.
    now_ns: u64,
    step_end_ns: Option<u64>,
    pub(crate) tally: Tally,
}

// === impl Engine ===

impl Engine {
    /// An idle engine that starts at `now_ns`, without a zero among its limits.
    pub(crate) fn new(limits: Limits, prefixes: u16, bounds: &Bounds, now_ns: u64) -> Self {
        let limits = Limits {
            num_gpu_blocks: limits.num_gpu_blocks.max(1),
            block_size: limits.block_size.max(1),
            max_num_seqs: limits.max_num_seqs.max(1),
            max_num_batched_tokens: limits.max_num_batched_tokens.max(1),
            ..limits
        };
        Self {
            kv: KvCache::new(limits.num_gpu_blocks, prefixes),
            limits,
            waiting: VecDeque::new(),
            preempted: VecDeque::new(),
            running: Vec::new(),
            now_ns,
            step_end_ns: None,
            tally: Tally::new(bounds),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn kv(&self) -> &KvCache {
        &self.kv
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() + self.preempted.len()
    }

    /// Running and waiting requests of `priority`.
    pub(crate) fn of_priority(&self, priority: u8) -> (usize, usize) {
        let count = |requests: &mut dyn Iterator<Item = &Request>| {
            requests.filter(|request| request.priority == priority).count()
        };
        let running = count(&mut self.running.iter().map(|active| &active.request));
        let preempted = self.preempted.iter().map(|active| &active.request);
        (running, count(&mut preempted.chain(&self.waiting)))
    }

    /// Tokens that the cache has room for.
    pub(crate) fn capacity_tokens(&self) -> u32 {
        self.kv.total().saturating_mul(self.limits.block_size)
    }

    /// Tokens in the blocks that are used.
    pub(crate) fn used_tokens(&self) -> u32 {
        self.kv.used().saturating_mul(self.limits.block_size)
    }

    /// Share of the blocks that is used. *Unit*: 0–1.
    pub(crate) fn usage_ratio(&self) -> f64 {
        f64::from(self.kv.used()) / f64::from(self.kv.total())
    }

    /// Queues a request; its `arrived_ns` may lie ahead, and never before that of the one before.
    pub(crate) fn push(&mut self, mut request: Request) {
        // What no cache could ever hold is cut, as the server's `max_model_len` would refuse it.
        let capacity = self.capacity_tokens().max(2);
        request.prompt = request.prompt.clamp(1, capacity - 1);
        request.output = request.output.clamp(1, capacity - request.prompt);
        let whole_blocks = (request.prompt - 1) / self.limits.block_size * self.limits.block_size;
        request.prefix = request.prefix.filter(|&(_, tokens)| tokens <= whole_blocks);
        self.tally.arrived += 1;
        self.waiting.push_back(request);
    }

    /// Lets the time pass up to `until_ns`.
    pub(crate) fn advance(&mut self, until_ns: u64) {
        loop {
            if let Some(end) = self.step_end_ns {
                if end > until_ns {
                    return;
                }
                self.finish_step(end);
                self.step_end_ns = None;
                self.now_ns = end;
            }
            self.expire();
            let tokens = self.schedule();
            if let Some(duration) = tokens {
                self.step_end_ns = Some(self.now_ns.saturating_add(duration));
                continue;
            }
            // Nothing to do until somebody comes.
            match self.waiting.front() {
                Some(next) if next.arrived_ns > self.now_ns && next.arrived_ns <= until_ns => {
                    self.now_ns = next.arrived_ns;
                }
                _ => {
                    self.now_ns = self.now_ns.max(until_ns);
                    return;
                }
            }
        }
    }

    /// Clients that have waited too long go away.
    fn expire(&mut self) {
        while let Some(first) = self.waiting.front() {
            if first.deadline_ns() >= self.now_ns {
                return;
            }
            self.waiting.pop_front();
            self.tally.aborted += 1;
        }
    }

    /// Chooses the tokens of the next step; its duration, or `None` if there is nothing to do.
    fn schedule(&mut self) -> Option<u64> {
        let mut budget = self.limits.max_num_batched_tokens;
        let (mut prefilled, mut preempting) = (0, false);
        let mut index = 0;
        while index < self.running.len() {
            let active = &mut self.running[index];
            let taken = active.missing().min(budget);
            let blocks = active.blocks_after(taken, self.limits.block_size);
            let grow = blocks - active.blocks;
            if self.kv.allocate(grow) {
                active.blocks = blocks;
                active.taken = taken;
                budget -= taken;
                prefilled += if taken > 1 { taken } else { 0 };
                index += 1;
            } else {
                // The youngest goes, which has no tokens of this step yet; it may be the very one that asks.
                preempting = true;
                self.preempt_youngest();
            }
        }
        while !preempting && budget > 0 && self.running.len() < self.limits.max_num_seqs as usize {
            match self.admit(budget) {
                Some(taken) => {
                    budget -= taken;
                    prefilled += taken;
                }
                None => break,
            }
        }
        if self.running.is_empty() {
            return None;
        }
        let tokens = self.limits.max_num_batched_tokens - budget;
        self.tally.step_tokens.observe(f64::from(tokens));
        let seconds = self.limits.step_seconds
            + self.limits.step_seconds_per_seq * self.running.len() as f64
            + self.limits.step_seconds_per_prefill_token * f64::from(prefilled);
        // At least a microsecond, so that the time passes whatever the limits say.
        Some(((seconds * 1e9) as u64).max(1_000))
    }

    fn preempt_youngest(&mut self) {
        let Some(mut victim) = self.running.pop() else {
            return;
        };
        self.kv.free(victim.blocks);
        victim.leave_prefix(&mut self.kv);
        (victim.blocks, victim.computed, victim.taken) = (0, 0, 0);
        self.tally.preemptions += 1;
        self.preempted.push_front(victim);
    }

    /// Admits the next request that waits, if its first chunk fits; how many tokens it takes.
    fn admit(&mut self, budget: u32) -> Option<u32> {
        let (mut active, again) = match self.preempted.pop_front() {
            Some(active) => (active, true),
            None => {
                if self.waiting.front()?.arrived_ns > self.now_ns {
                    return None;
                }
                (Active::new(self.waiting.pop_front()?, self.now_ns), false)
            }
        };
        if let Some((prefix, _)) = active.request.prefix {
            active.shared_blocks = self.kv.join(prefix);
            active.computed = active.shared_blocks * self.limits.block_size;
        }
        let hit = active.computed;
        let taken = active.missing().min(budget);
        let blocks = active.blocks_after(taken, self.limits.block_size);
        if !self.kv.allocate(blocks) {
            active.leave_prefix(&mut self.kv);
            active.computed = 0;
            match again {
                true => self.preempted.push_front(active),
                false => self.waiting.push_front(active.request),
            }
            return None;
        }
        (active.blocks, active.taken) = (blocks, taken);
        if !again {
            active.hit = hit;
            self.tally.prefix_queries += u64::from(active.request.prompt);
            self.tally.prefix_hits += u64::from(hit);
        }
        self.running.push(active);
        Some(taken)
    }

    fn finish_step(&mut self, end: u64) {
        let started = self.now_ns;
        self.tally.busy_ns += end - started;
        let (mut in_rhythm, mut done) = (0, false);
        for active in &mut self.running {
            active.computed += active.taken;
            if active.taken == 0 || active.missing() > 0 {
                continue;
            }
            active.generated += 1;
            self.tally.generation_tokens += 1;
            match active.first_token_ns {
                None => {
                    active.first_token_ns = Some(end);
                    self.tally.prompt_tokens += u64::from(active.request.prompt);
                    let waited = end - active.request.arrived_ns;
                    self.tally.first_token_seconds.observe(seconds(waited));
                    active.offer_prefix(&mut self.kv, self.limits.block_size);
                }
                // Nearly all of them: they are counted together below.
                Some(_) if active.last_token_ns == started => in_rhythm += 1,
                Some(_) => {
                    let pause = end - active.last_token_ns;
                    self.tally.inter_token_seconds.observe(seconds(pause));
                }
            }
            active.last_token_ns = end;
            done |= active.generated >= active.request.output;
        }
        if in_rhythm > 0 {
            self.tally
                .inter_token_seconds
                .observe_n(seconds(end - started), in_rhythm);
        }
        if done {
            self.running.retain_mut(|active| {
                let done = active.generated >= active.request.output;
                if done {
                    self.kv.free(active.blocks);
                    active.leave_prefix(&mut self.kv);
                    self.tally.ended(active);
                }
                !done
            });
        }
    }
}

// === impl Active ===

impl Active {
    fn new(request: Request, now_ns: u64) -> Self {
        Self {
            request,
            scheduled_ns: now_ns,
            first_token_ns: None,
            last_token_ns: now_ns,
            generated: 0,
            computed: 0,
            taken: 0,
            blocks: 0,
            shared_blocks: 0,
            hit: 0,
        }
    }

    /// Tokens to compute before the next one can be sampled.
    fn missing(&self) -> u32 {
        self.request.prompt + self.generated - self.computed
    }

    /// Own blocks needed once `taken` more tokens are computed.
    fn blocks_after(&self, taken: u32, block_size: u32) -> u32 {
        (self.computed + taken).div_ceil(block_size) - self.shared_blocks
    }

    /// Lets others use the blocks of the prefix that this one has just computed.
    fn offer_prefix(&mut self, kv: &mut KvCache, block_size: u32) {
        if let (Some((prefix, tokens)), 0) = (self.request.prefix, self.shared_blocks) {
            let blocks = tokens / block_size;
            if kv.share(prefix, blocks) {
                self.blocks -= blocks;
                self.shared_blocks = blocks;
            }
        }
    }

    fn leave_prefix(&mut self, kv: &mut KvCache) {
        if let (Some((prefix, _)), 1..) = (self.request.prefix, self.shared_blocks) {
            kv.leave(prefix);
            self.shared_blocks = 0;
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Counts a request that left the batch for good.
    fn ended(&mut self, active: &Active) {
        match active.request.ending {
            Ending::Stop => self.stopped += 1,
            Ending::Length => self.cut_at_length += 1,
            Ending::Abort => {
                self.aborted += 1;
                return;
            }
        }
        let (arrived, scheduled, last) = (
            active.request.arrived_ns,
            active.scheduled_ns,
            active.last_token_ns,
        );
        let first = active.first_token_ns.unwrap_or(last);
        let (whole, decode) = (seconds(last - arrived), seconds(last - first));
        self.request_seconds.observe(whole);
        self.request_queue_seconds.observe(seconds(scheduled - arrived));
        self.request_inference_seconds.observe(seconds(last - scheduled));
        self.request_prefill_seconds.observe(seconds(first - scheduled));
        self.request_decode_seconds.observe(decode);
        let gaps = active.generated.saturating_sub(1);
        self.request_token_mean_seconds
            .observe(if gaps == 0 { 0.0 } else { decode / f64::from(gaps) });
        self.request_prompt_tokens
            .observe(f64::from(active.request.prompt));
        self.request_output_tokens.observe(f64::from(active.generated));
        self.request_max_tokens
            .observe(f64::from(active.request.max_tokens));
        self.request_computed_tokens
            .observe(f64::from(active.request.prompt - active.hit));
        self.http_fine_seconds.observe(whole);
        self.http_seconds[usize::from(active.request.handler & 1)].observe(whole);
    }
}

/// Nanoseconds as the seconds that are exposed.
pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 * 1e-9
}

#[cfg(test)]
mod tests;
