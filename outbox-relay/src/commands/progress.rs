//! How far long work is, for whoever watches: on standard error, and only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Output;

/// Between two turns of the spinner, which shows that the work goes on.
const TICK: Duration = Duration::from_millis(120);
/// Shards, all of which long work passes over.
pub(super) const SHARDS: u64 = 64;

/// A bar over the shards, with a message beside it; nothing for programs.
pub(super) fn over_shards(output: Output) -> ProgressBar {
    // Hidden by itself where standard error is no terminal.
    let target = if output.json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(SHARDS), target);
    let style = "{spinner} {elapsed_precise} [{bar:24}] {pos}/{len} shards, {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(TICK);
    bar
}
