//! Black-box tests: the stack as a user runs it, each test with a stack of its own.

mod bad_input;
mod batch;
mod broker_away;
mod challenges;
mod database_away;
mod gate;
mod gateways;
mod harness;
mod jaeger;
mod kills;
mod relays;
mod servers;
mod supervision;
mod tournament;
mod trace;
