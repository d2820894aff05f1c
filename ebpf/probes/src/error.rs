//! Every way in which a program can fail.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::debug;
use podscope_abi::Loss;

use crate::maps;

/// Why a hook stopped early.
#[derive(Clone, Copy)]
pub(crate) enum Error {
    /// The task is not ours to count: idle, or older than the agent and not yet seen.
    NotCounted,
    /// Something did not fit or was not there, and is counted.
    Lost(Loss),
}

/// What every hook does with the result of its `try_…` function.
#[inline(always)]
pub(crate) fn settle(ctx: &impl EbpfContext, result: Result<(), Error>) -> i32 {
    if let Err(Error::Lost(loss)) = result {
        lose(loss);
        debug!(ctx, "lost: {}", loss as u32);
    }
    0
}

/// [`settle`] without a word: for the hot path, and where there is no hook's context.
#[inline(always)]
pub(crate) fn settle_quietly(result: Result<(), Error>) -> i32 {
    if let Err(Error::Lost(loss)) = result {
        lose(loss);
    }
    0
}

/// Counts a loss without stopping.
#[inline(always)]
pub(crate) fn lose(loss: Loss) {
    if let Some(count) = maps::LOSSES.get_ptr_mut(loss as u32) {
        crate::books::add(count, 1);
    }
}
