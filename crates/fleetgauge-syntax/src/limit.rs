//! What a query may take of its reader.

/// How long a query may be, as a regular expression may list thousands of pods. *Unit*: bytes.
pub const MAX_LENGTH: usize = 256 * 1024;
/// How deep a tree may be. The parser, the evaluator and `Drop` walk it down, on threads with 2 MiB of stack.
pub const MAX_DEPTH: usize = 128;
/// How many operators, functions and aggregations a query may have.
pub const MAX_OPERATIONS: usize = 2_000;
