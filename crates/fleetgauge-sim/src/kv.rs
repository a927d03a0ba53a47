//! The KV cache of one engine: blocks in use, blocks free, and free blocks that still hold a shared prefix.
//!
//! As in vLLM, a prefix's blocks stay readable after their last user and are given away only when blocks
//! run short, the longest unused first; until then they count as free. Blocks are only counted, not
//! numbered: nothing that is exposed depends on which one it is.

/// A prefix that requests may share: an index into the engine's list.
pub(crate) type Prefix = u16;

/// The block ledger.
#[derive(Debug)]
pub(crate) struct KvCache {
    total: u32,
    /// Blocks that belong to one request each.
    private: u32,
    /// Blocks of prefixes that someone uses now.
    shared: u32,
    /// Blocks of prefixes that nobody uses now: free, but worth keeping.
    idle: u32,
    prefixes: Vec<Shared>,
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Shared {
    /// Zero while the prefix isn't cached.
    blocks: u32,
    users: u32,
    last_used: u64,
}

// === impl KvCache ===

impl KvCache {
    pub(crate) fn new(total: u32, prefixes: u16) -> Self {
        let prefixes = vec![Shared::default(); usize::from(prefixes)];
        Self {
            total,
            private: 0,
            shared: 0,
            idle: 0,
            prefixes,
            clock: 0,
        }
    }

    /// Blocks that requests use now.
    pub(crate) fn used(&self) -> u32 {
        self.private + self.shared
    }

    /// Blocks there are.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// Takes `blocks` for one request; false, and nothing taken, if there aren't as many.
    pub(crate) fn allocate(&mut self, blocks: u32) -> bool {
        if blocks > self.total - self.used() {
            return false;
        }
        self.private += blocks;
        while self.used() + self.idle > self.total {
            self.evict();
        }
        true
    }

    /// Gives `blocks` of one request back.
    pub(crate) fn free(&mut self, blocks: u32) {
        self.private -= blocks;
    }

    /// Joins the users of a cached prefix: the blocks that need not be computed; 0 if it isn't cached.
    pub(crate) fn join(&mut self, prefix: Prefix) -> u32 {
        self.clock += 1;
        let Some(entry) = self.prefixes.get_mut(usize::from(prefix)) else {
            return 0;
        };
        if entry.blocks == 0 {
            return 0;
        }
        entry.last_used = self.clock;
        if entry.users == 0 {
            self.idle -= entry.blocks;
            self.shared += entry.blocks;
        }
        entry.users += 1;
        entry.blocks
    }

    /// Shares the first `blocks` of a request's own as `prefix`, with that request as the first user; false
    /// if another was faster (the request then keeps its copy, as in vLLM).
    pub(crate) fn share(&mut self, prefix: Prefix, blocks: u32) -> bool {
        self.clock += 1;
        let Some(entry) = self.prefixes.get_mut(usize::from(prefix)) else {
            return false;
        };
        if entry.blocks > 0 || blocks == 0 {
            return false;
        }
        *entry = Shared {
            blocks,
            users: 1,
            last_used: self.clock,
        };
        self.private -= blocks;
        self.shared += blocks;
        true
    }

    /// Leaves the users of `prefix`.
    pub(crate) fn leave(&mut self, prefix: Prefix) {
        self.clock += 1;
        let entry = &mut self.prefixes[usize::from(prefix)];
        entry.users -= 1;
        entry.last_used = self.clock;
        if entry.users == 0 {
            self.shared -= entry.blocks;
            self.idle += entry.blocks;
        }
    }

    fn evict(&mut self) {
        let unused = self.prefixes.iter_mut().filter(|p| p.users == 0 && p.blocks > 0);
        if let Some(oldest) = unused.min_by_key(|p| p.last_used) {
            self.idle -= oldest.blocks;
            oldest.blocks = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_prefix_counts_once_and_outlives_its_users() {
        let mut kv = KvCache::new(10, 2);
        assert_eq!(kv.join(0), 0);
        assert!(kv.allocate(6));
        assert!(kv.share(0, 4));
        assert!(!kv.share(0, 4));
        assert_eq!(kv.join(0), 4);
        assert_eq!(kv.used(), 6);
        kv.leave(0);
        kv.leave(0);
        kv.free(2);
        assert_eq!(kv.used(), 0);
        assert_eq!(kv.join(0), 4);
        assert_eq!(kv.used(), 4);
    }

    #[test]
    fn the_longest_unused_prefix_makes_room() {
        let mut kv = KvCache::new(10, 2);
        for prefix in [0, 1] {
            assert!(kv.allocate(4) && kv.share(prefix, 4));
        }
        assert!(!kv.allocate(3));
        kv.leave(1);
        kv.leave(0);
        assert!(kv.allocate(3));
        assert_eq!((kv.join(1), kv.join(0)), (0, 4));
        assert_eq!(kv.used(), 7);
    }
}
