//! `ringside`: arguments, configuration, start. It only wires.

fn main() {}
