//! loadgen against real servers of other projects: not one request more or less than these servers count themselves.

use crate::behaviour::Group;

mod http;
mod memcached;
mod redis;

pub(crate) fn groups() -> Vec<Group> {
    vec![redis::group(), memcached::group(), http::group()]
}
