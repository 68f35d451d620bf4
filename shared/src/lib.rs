//! What both services must agree on, and nothing else.
