//! The plans of NLSQ's memory manager, number by number.

use bridge_core::Result;
use serde::Serialize;

use super::plan::{ChunkPlan, some_items};
use crate::arguments::invalid;

impl ChunkPlan {
    /// The plan of NLSQ's `estimate_chunking_strategy`: as many items as `limit` holds, each at the
    /// cost of a single one, but in at most about a hundred chunks where more would fit. `cost` says
    /// what so many items take. [`exact`](Self::exact) uses the limit better, since what is needed
    /// once is counted here with every item.
    ///
    /// # Errors
    ///
    /// For no items, and for a limit below the cost of one, where NLSQ divides by zero.
    pub fn compatible(items: usize, limit: u64, cost: impl Fn(u64) -> u64) -> Result<Self> {
        let items = some_items(items)?;
        let one = cost(1);
        let most = limit
            .checked_div(one)
            .map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        if most == 0 {
            let expected = format!("one item alone takes {one} bytes: raise the limit above that");
            return Err(invalid("the memory limit in bytes", &limit, &expected));
        }
        let chunk = if most >= items { items } else { most.min((items / 100).max(100)) };
        Ok(Self::of_size(items, chunk)?.taking(cost(chunk.min(items) as u64)))
    }

    /// The plan under the names that NLSQ gives its numbers.
    pub fn strategy(&self) -> Strategy {
        Strategy {
            needs_chunking: self.is_chunked(),
            chunk_size: self.chunk(),
            n_chunks: self.count(),
            memory_per_chunk_gb: self.bytes_per_chunk() as f64 / 1e9,
            total_points: self.is_chunked().then_some(self.items()),
        }
    }
}

/// A [`ChunkPlan`] as NLSQ's `estimate_chunking_strategy` returns it; GB are 10⁹ bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Strategy {
    /// Whether there is more than one chunk.
    pub needs_chunking: bool,
    /// Items of a chunk.
    pub chunk_size: usize,
    /// The number of chunks.
    pub n_chunks: usize,
    /// What a chunk takes.
    pub memory_per_chunk_gb: f64,
    /// All items, where they are divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_points: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a least-squares fit by "trf" takes, in f64, times 1.2.
    fn trf(parameters: u64) -> impl Fn(u64) -> u64 {
        move |n| {
            let least = n.min(parameters);
            let elements = n * (parameters + 5) + 6 * parameters + least * least;
            ((elements * 8) as f64 * 1.2) as u64
        }
    }

    #[test]
    fn the_numbers_are_those_of_nlsq() {
        let strategy = |n, p, limit| ChunkPlan::compatible(n, limit, trf(p)).unwrap().strategy();
        let large = strategy(100_000_000, 5, 4_000_000_000);
        assert_eq!(
            serde_json::to_string(&large).unwrap(),
            "{\"needs_chunking\":true,\"chunk_size\":1000000,\"n_chunks\":100,\
             \"memory_per_chunk_gb\":0.096000528,\"total_points\":100000000}"
        );
        let wide = strategy(1_000_000, 100, 10_000_000);
        assert_eq!((wide.chunk_size, wide.n_chunks), (1475, 678));
        assert_eq!(wide.memory_per_chunk_gb, 0.001_588_56);
        let small = strategy(1000, 5, 4_000_000_000);
        assert_eq!(
            serde_json::to_string(&small).unwrap(),
            format!(
                "{{\"needs_chunking\":false,\"chunk_size\":1000,\"n_chunks\":1,\
                 \"memory_per_chunk_gb\":{}}}",
                trf(5)(1000) as f64 / 1e9
            )
        );
    }

    #[test]
    fn a_limit_below_one_item_is_an_error() {
        // Ten bytes, for which NLSQ divides by zero.
        let error = ChunkPlan::compatible(1000, 10, trf(5)).unwrap_err().to_string();
        assert!(error.contains(&format!("takes {} bytes", trf(5)(1))), "{error}");
        assert!(ChunkPlan::compatible(0, 1 << 30, trf(5)).is_err());
    }
}
