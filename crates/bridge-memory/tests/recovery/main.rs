//! Recovery from out of memory, as a user sees it.

mod allocations;
mod caches;
mod classify;
mod events;
mod fallback;
mod ladder;
mod scenes;
mod split;
mod support;
mod turns;
