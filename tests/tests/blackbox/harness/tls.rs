//! Certificates, and servers with TLS: a small one inside the test, stunnel and nginx in front of a real server.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use common::Address;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tempfile::TempDir;

use super::{load::Peer, machine::NGINX_STREAM, process::Running, wait::wait_until};

/// An authority, and the files of the certificates that it has issued.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("there are random numbers");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the parameters are valid");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("the folder is ours");
        Self { folder, issuer }
    }

    /// The file with its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for these hosts and IP addresses.
    pub(crate) fn issue(&self, name: &str, hosts: &[&str]) -> Certificate {
        self.issue_with(name, hosts, |_| {})
    }

    /// A certificate that expired in 2021.
    pub(crate) fn issue_expired(&self, name: &str, hosts: &[&str]) -> Certificate {
        self.issue_with(name, hosts, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 2, 3);
        })
    }

    /// A certificate for a client.
    pub(crate) fn issue_to_client(&self, name: &str) -> Certificate {
        self.issue_with(name, &[], |params| {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        })
    }

    fn issue_with(
        &self,
        name: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("they are names or addresses");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().expect("there are random numbers");
        let issued = params.signed_by(&key, &self.issuer).expect("the parameters are valid");
        let files = Certificate {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        };
        fs::write(&files.certificate, issued.pem()).expect("the folder is ours");
        fs::write(&files.key, key.serialize_pem()).expect("the folder is ours");
        files
    }
}

/// How a server inside the test speaks TLS.
#[derive(Default)]
pub(crate) struct TlsPeer<'a> {
    /// The authority that must have issued a client's certificate.
    pub(crate) client_authority: Option<&'a Path>,
    /// The application protocols that it speaks.
    pub(crate) alpn: &'a [&'a str],
    /// It remembers no session.
    pub(crate) forgets_sessions: bool,
}

/// A name that a client has sent (SNI).
type Names = Arc<Mutex<Vec<Option<String>>>>;

/// A proxy inside the test that ends TLS in front of a server.
pub(crate) struct TlsProxy {
    peer: Peer,
    names: Names,
}

impl TlsPeer<'_> {
    /// A proxy in front of this server, which shows this certificate.
    pub(crate) fn start(&self, certificate: &Certificate, server: &Address) -> TlsProxy {
        let config = Arc::new(self.config(certificate));
        let server = server.resolve().expect("it is an IP address")[0];
        let names = Names::default();
        let peer = Peer::start({
            let names = names.clone();
            move |_, client| proxy(&config, client, TcpStream::connect(server)?, &names)
        });
        TlsProxy { peer, names }
    }

    fn config(&self, certificate: &Certificate) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has them");
        let builder = match self.client_authority {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(file).expect("it is a certificate")).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
            }
        };
        let chain =
            vec![CertificateDer::from_pem_file(&certificate.certificate).expect("it is a certificate")];
        let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("it is a key");
        let mut config = builder.with_single_cert(chain, key).expect("they belong together");
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        if self.forgets_sessions {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config
    }
}

impl TlsProxy {
    pub(crate) fn address(&self) -> &Address {
        self.peer.address()
    }

    /// The names that the clients have sent, one for each connection.
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        self.names.lock().unwrap().clone()
    }
}

/// Takes one read of the client to the server, and its reply back, until the client ends. The reply is as long as the
/// request.
fn proxy(
    config: &Arc<ServerConfig>,
    client: TcpStream,
    mut server: TcpStream,
    names: &Names,
) -> io::Result<()> {
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let connection = ServerConnection::new(config.clone()).expect("the configuration is valid");
    let mut client = StreamOwned::new(connection, client);
    while client.conn.is_handshaking() {
        if let Err(error) = client.conn.complete_io(&mut client.sock) {
            // The alert must arrive although the client's bytes are not all read.
            _ = client.sock.shutdown(Shutdown::Write);
            _ = io::copy(&mut client.sock, &mut io::sink());
            return Err(error);
        }
    }
    names.lock().unwrap().push(client.conn.server_name().map(str::to_owned));
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            length => {
                server.write_all(&buffer[..length])?;
                server.read_exact(&mut buffer[..length])?;
                client.write_all(&buffer[..length])?;
            }
        }
    }
}

/// A running program that ends TLS in front of a server.
pub(crate) struct Terminator {
    // Ends before its folder is removed.
    running: Running,
    address: Address,
    _folder: TempDir,
}

impl Terminator {
    /// stunnel, with further lines of its configuration.
    #[track_caller]
    pub(crate) fn stunnel(certificate: &Certificate, server: &Address, more: &str) -> Self {
        Self::start("stunnel.conf", Command::new("stunnel4"), |address, _| {
            format!(
                "foreground = yes\npid =\nsyslog = no\ndebug = 5\n[echo]\naccept = {address}\nconnect = {server}\n\
                 cert = {}\nkey = {}\n{more}\n",
                certificate.certificate.display(),
                certificate.key.display()
            )
        })
    }

    /// nginx, with further lines for its server.
    #[track_caller]
    pub(crate) fn nginx(certificate: &Certificate, server: &Address, more: &str) -> Self {
        let mut command = Command::new("nginx");
        command.arg("-e").arg("stderr").arg("-c");
        Self::start("nginx.conf", command, |address, folder| {
            format!(
                "load_module {NGINX_STREAM};\ndaemon off;\npid {0}/nginx.pid;\nerror_log stderr notice;\n\
                 worker_processes 1;\nevents {{ worker_connections 4096; }}\nstream {{\n server {{\n\
                 listen {address} ssl;\nproxy_pass {server};\nssl_certificate {1};\nssl_certificate_key {2};\n\
                 {more}\n }}\n}}\n",
                folder.display(),
                certificate.certificate.display(),
                certificate.key.display()
            )
        })
    }

    /// The certificates are in a folder that only its owner may enter, so the workers of a program that root starts read them
    /// before they change the user.
    #[track_caller]
    fn start(file: &str, mut command: Command, configure: impl Fn(&Address, &Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let path = folder.path().join(file);
        // Neither program can take a listener or choose a port itself.
        let address: Address = free_port().into();
        fs::write(&path, configure(&address, folder.path())).expect("the folder is ours");
        let running = Running::start(command.arg(&path));
        let mut terminator = Self { running, address, _folder: folder };
        wait_until("the program accepts connections", || {
            assert!(terminator.running.is_running(), "{}", terminator.running.stderr.so_far());
            super::Client::try_connect(&terminator.address).is_ok()
        });
        terminator
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

fn free_port() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound")
}
