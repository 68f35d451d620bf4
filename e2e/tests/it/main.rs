//! Black-box tests: the stack as a user runs it.

mod servers;
