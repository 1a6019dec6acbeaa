//! How evenly the server served its clients.

/// Jain's index of the clients' shares (Jain, Chiu, Hawe 1984): 1 when all got the same, 1/n when one got
/// everything. None when nobody got anything.
pub fn jain(shares: impl Iterator<Item = u64>) -> Option<f64> {
    let (mut count, mut sum, mut squares) = (0, 0.0, 0.0);
    for share in shares.map(|share| share as f64) {
        count += 1;
        sum += share;
        squares += share * share;
    }
    jain_of_sums(count, sum, squares)
}

/// The same from the number of clients, the sum of their shares and that of the shares' squares: what can be added up
/// over several groups of clients.
pub fn jain_of_sums(clients: u64, sum: f64, squares: f64) -> Option<f64> {
    (squares > 0.0).then(|| sum * sum / (clients as f64 * squares))
}

/// How many requests were under way on average, by Little's law: the rate times the mean time.
pub fn effective_concurrency(rate_per_s: f64, mean_ns: f64) -> f64 {
    rate_per_s * mean_ns / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_one_when_all_got_the_same_and_falls_with_each_that_starves() {
        assert_eq!(jain([5, 5, 5, 5].into_iter()), Some(1.0));
        assert_eq!(jain([8, 0, 0, 0].into_iter()), Some(0.25));
        assert_eq!(jain([1, 1, 0, 0].into_iter()), Some(0.5));
        assert_eq!(jain([0, 0].into_iter()), None);
        assert_eq!(jain(std::iter::empty()), None);
    }

    #[test]
    fn a_thousand_a_second_of_ten_milliseconds_are_ten_at_once() {
        assert!((effective_concurrency(1000.0, 10e6) - 10.0).abs() < 1e-9);
    }
}
