//! What `--help` says beyond one line.

use std::fmt::Write as _;

/// The table of variables, as it stands in the documentation of [`crate::config`].
const VARIABLES: &str = include_str!("../variables.md");

/// Behind the help of every command.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  done; nothing needs an operator
   1  it could not be done, with a sentence on standard error
   2  an argument that cannot be used
   3  done, and somebody should look: dead letters, shards that nobody publishes
      or that are not verified, events in the stream that the database lacks
  64  a variable is missing or cannot be used; the sentence names it
  78  the server or the stream is not fit to be published to; the sentence names
      the line to change, and starting again does not help";

/// What `--help` of the program says of its commands.
pub const EXAMPLES: &str = "\
Examples:
  outbox-relay                              relay until SIGTERM
  outbox-relay status --shards              who publishes what, and how far
  outbox-relay dead list                    what could not be published, and why
  outbox-relay dead retry 0199…             put one back, at its old place
  outbox-relay replay --key invoice.4711    send a key's events again, marked so
  outbox-relay verify                       compare stream and database

Commands read the same variables as the relay does; `outbox-relay run --help`
lists them. docs/runbook.md says what to do when something fails.";

/// The variables, in lines of at most 80 characters.
#[must_use]
pub fn variables() -> String {
    let mut text = String::from("Variables:\n");
    for line in VARIABLES.lines().skip(2) {
        let mut cells = line.split('|').map(|cell| cell.trim().replace('`', ""));
        let (_, Some(name), Some(what), Some(default), Some(range)) = (
            cells.next(),
            cells.next(),
            cells.next(),
            cells.next(),
            cells.next(),
        ) else {
            continue;
        };
        let default = match default.as_str() {
            "required" | "unset" => default,
            _ => format!("default {default}"),
        };
        let range = if range.is_empty() {
            String::new()
        } else {
            format!(", {range}")
        };
        let _ = writeln!(text, "  {name}\n      {what}\n      ({default}{range})");
    }
    text.push_str(
        "  RUST_LOG, LOG_FORMAT, OTEL_*\n      what is logged, text or json, and the standard \
         variables of OpenTelemetry\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_there_and_no_line_is_too_long() {
        let text = variables();
        assert!(text.contains(
            "  OUTBOX_LEASE_MS\n      ms a lease lasts without renewal\n      \
             (default 1500, 500–60000)\n"
        ));
        assert!(text.contains("  DATABASE_URL\n"));
        assert_eq!(text.matches("\n  OUTBOX_").count(), 13);
        for line in [text.as_str(), EXIT_CODES, EXAMPLES]
            .iter()
            .flat_map(|text| text.lines())
        {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
