//! Nothing: what a Rust program costs that is started and ends.

fn main() {}
