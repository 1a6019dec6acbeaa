//! The addresses that both programs accept.

use common::Address;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        load::Loadgen,
        machine::{ipv6, kernel_settings, link_local},
    },
};

group! {
    in every mode {
        a_name_with_two_addresses_is_served_on_one_port needs two_addresses,
    }
    once {
        a_link_local_address_is_reached_through_its_zone needs link_local,
        a_zone_without_an_interface_is_named_in_the_error,
    }
}

/// The name has several addresses.
fn two_addresses() -> Result<(), String> {
    ipv6().and_then(|()| kernel_settings())
}

fn a_name_with_two_addresses_is_served_on_one_port(mode: &'static Mode) {
    let server = ServerCommand::new(mode)
        .with_kernel_setting("/etc/hosts", "127.0.0.1 twofold\n::1 twofold\n127.0.0.1 twofold")
        .args(&["--listen", "twofold:0"])
        .expect_listeners(2)
        .start();
    let mut addresses: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    addresses.sort_unstable();
    let port = addresses[0].strip_prefix("127.0.0.1:").expect("one of them is IPv4").to_owned();
    assert_eq!(addresses[1], format!("[::1]:{port}"));
    for address in server.addresses() {
        let report = Loadgen::run(Some(address), "-c 2 -n 20 -w 0s").any_report();
        assert_eq!(report.errors(), 0, "{address}");
    }
}

fn a_link_local_address_is_reached_through_its_zone() {
    let mut server = ServerCommand::bare().with_link_local().listen("[fe80::1%lo]:0").start();
    let network = server.process().id();
    let printed = server.address().to_string();
    let port = printed.strip_prefix("[fe80::1%lo]:").unwrap_or_else(|| panic!("{printed}"));
    for zone in ["lo", "1"] {
        let address: Address = format!("[fe80::1%{zone}]:{port}").parse().unwrap();
        let report = Loadgen::run(Some(&address), "-c 2 -n 20 -w 0s").in_network_of(network).any_report();
        assert_eq!((report.errors(), report.count("requests.completed")), (0, 20), "{address}");
        assert_eq!(report.at("plan.targets")[0], address.to_string());
        let talk = Loadgen::new(&["talk", &address.to_string()]).in_network_of(network);
        assert!(talk.finish_with(b"hello\n").expect_code(0).stdout.contains("HELLO"), "{address}");
    }
}

fn a_zone_without_an_interface_is_named_in_the_error() {
    let none = "there is no network interface 'nowhere0' here";
    ServerCommand::bare().listen("[fe80::1%nowhere0]:0").fail().expect_code(1).expect_stderr(&[none]);
    let target = "[fe80::1%nowhere0]:80".parse().unwrap();
    Loadgen::run(Some(&target), "-d 1s").finish().expect_code(1).expect_stderr(&[none]);
}
