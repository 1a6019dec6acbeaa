//! `compare` and `sweep` with servers on another host.

use crate::behaviour::group;

group! {
    once {}
}
