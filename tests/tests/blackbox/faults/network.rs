//! Every mode over a network that loses and reorders frames, and over one that is cut.

use server::mode::Mode;

use super::extent::NETWORK_SECONDS;
use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        network::{Network, hosts},
    },
};

group! {
    in every mode {
        lost_and_reordered_frames_spoil_no_reply needs hosts,
        clients_behind_a_cut_network_are_closed_at_the_timeout needs hosts,
    }
}

fn lost_and_reordered_frames_spoil_no_reply(mode: &'static Mode) {
    let network = Network::of(&[("generator", ""), ("server", "delay=5ms,loss=1%,reorder=20%")]);
    let server = network.host("server").serve(mode);
    let seconds = NETWORK_SECONDS.count();
    let args =
        format!("-t 1 -c 20 -r 200 -w 0s -d {seconds}s -s 5000 --requests-per-connection 10 --fail-on never");
    network.host("generator").load(server.address(), &args).any_report().expect_replies_verified();
}

fn clients_behind_a_cut_network_are_closed_at_the_timeout(mode: &'static Mode) {
    let mut network = Network::of(&[("generator", ""), ("server", "")]);
    let host = network.host("server");
    let args = ["--idle-timeout", "1s", "--write-timeout", "1s"];
    let address = format!("{}:7000", host.address());
    let server =
        ServerCommand::new(mode).args(&args).listen(address).within(|command| host.run(command)).start();
    let load = network.host("generator").load(server.address(), "-t 1 -c 30 -w 0s -d 1h -i 100ms");
    let load = load.start();
    load.stderr.wait_for("p50");
    assert!(server.descriptors() >= 30);
    network.cut("generator");
    // Everything of the clients is gone, although no end of a stream arrived.
    server.log().wait_for("timeout");
    server.expect_descriptors(20);
    drop(load);
    server.stop();
}
