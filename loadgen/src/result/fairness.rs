//! How evenly the server served its clients: Jain's index, and Little's law. Pure.

/// Jain's index of the clients' shares (Jain, Chiu, Hawe 1984): 1 if all clients have the same share, 1/n if one client has
/// everything. None if all shares are 0.
pub(crate) fn jain(shares: impl Iterator<Item = u64>) -> Option<f64> {
    let (mut count, mut sum, mut squares) = (0, 0.0, 0.0);
    for share in shares.map(|share| share as f64) {
        count += 1;
        sum += share;
        squares += share * share;
    }
    jain_of_sums(count, sum, squares)
}

/// Jain's index from the number of clients, the sum of their shares and the sum of the squares. These can be added up over
/// several groups of clients.
pub(crate) fn jain_of_sums(clients: u64, sum: f64, squares: f64) -> Option<f64> {
    (squares > 0.0).then(|| sum * sum / (clients as f64 * squares))
}

/// The mean number of requests in progress, by Little's law: the rate times the mean time.
pub(crate) fn effective_concurrency(rate_per_s: f64, mean_ns: f64) -> f64 {
    rate_per_s * mean_ns / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_one_for_equal_shares_and_falls_with_each_starved_client() {
        assert_eq!(jain([5, 5, 5, 5].into_iter()), Some(1.0));
        assert_eq!(jain([8, 0, 0, 0].into_iter()), Some(0.25));
        assert_eq!(jain([1, 1, 0, 0].into_iter()), Some(0.5));
        assert_eq!(jain([0, 0].into_iter()), None);
        assert_eq!(jain(std::iter::empty()), None);
    }

    #[test]
    fn a_thousand_per_second_of_ten_milliseconds_each_are_ten_at_once() {
        assert!((effective_concurrency(1000.0, 10e6) - 10.0).abs() < 1e-9);
    }
}
